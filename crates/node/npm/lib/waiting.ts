/**
 * The promises of queued requests. Flow control decides about the requests.
 *
 * ```text
 *  enter ──► waiting ──deliver──► granted      flow control dispatched it
 *                    ──deliver──► refused      flow control evicted it
 *                    ──abort────► withdrawn    its signal aborted
 * ```
 *
 * Each input delivers, and so does one timer for all requests.
 */
import type { Signal } from './abort.js';
import { LONGEST_TIMER_MS } from './clock.js';
import type { Dispatch, Evicted } from './values.js';
import { RejectedError } from './errors.js';

/** The calls of flow control. */
export interface Flow {
  /** The next decision, if there is one. */
  readonly poll: (now: number) => Dispatch | Evicted | undefined;
  /** When to poll even without an input. */
  readonly nextTimeout: () => number | undefined;
  /** Cancels requests whose signal aborted. */
  readonly withdraw: (requests: readonly number[]) => void;
  readonly clock: () => number;
}

/** The promise of one request. */
export interface Waiter {
  readonly requestId: number;
  readonly signal: Signal | undefined;
  readonly grant: (dispatch: Dispatch) => void;
  readonly refuse: (error: unknown) => void;
}

/** The waiters of one signal. They share a listener: signals warn of more than ten. */
interface Audience {
  readonly waiters: Set<Waiter>;
  readonly onAbort: () => void;
}

/** The queued requests of one scheduler. One timer serves them all, and keeps the process alive. */
export class Waiting {
  readonly #flow: Flow;
  readonly #waiters = new Map<number, Waiter>();
  readonly #audiences = new Map<Signal, Audience>();
  /** Decisions about requests of `submit`, until `pollDecision` returns them. */
  readonly #foreign: (Dispatch | Evicted)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  /** The number of waiting requests. */
  get size(): number {
    return this.#waiters.size;
  }

  /**
   * Adds a submitted request, and settles it at once if it is already decided. A decision that was
   * polled before comes first.
   */
  enter(waiter: Waiter, now: number, polled: Dispatch | Evicted | undefined): void {
    this.#waiters.set(waiter.requestId, waiter);
    try {
      if (polled !== undefined && !this.#tell(polled)) {
        this.#foreign.push(polled);
      }
      this.deliver(now);
      if (this.#waiters.has(waiter.requestId)) {
        this.#listen(waiter);
      }
    } catch (error) {
      // A signal of the host's own making may throw. Nothing of the request stays behind.
      if (this.#waiters.has(waiter.requestId)) {
        this.#leave(waiter);
        this.#flow.withdraw([waiter.requestId]);
      }
      waiter.refuse(error);
    }
  }

  /** Polls all decisions, and settles their promises. */
  deliver(now: number): void {
    if (this.#waiters.size === 0) {
      return;
    }
    let decision = this.#flow.poll(now);
    for (; decision !== undefined; decision = this.#flow.poll(now)) {
      if (!this.#tell(decision)) {
        this.#foreign.push(decision);
      }
    }
    this.#arm();
  }

  /** The next decision about a request of `submit`. */
  next(now: number): Dispatch | Evicted | undefined {
    this.deliver(now);
    return this.#foreign.shift() ?? this.#flow.poll(now);
  }

  /** Drops the decision about a request that ended before `pollDecision` returned it. */
  forget(requestId: number): void {
    const at = this.#foreign.findIndex((decision) => decision.requestId === requestId);
    if (at >= 0) {
      this.#foreign.splice(at, 1);
    }
  }

  /** Whether `pollDecision` has a decision ready. */
  get overdue(): boolean {
    return this.#foreign.length > 0;
  }

  /** Rejects all. */
  close(error: Error): void {
    for (const waiter of [...this.#waiters.values()]) {
      this.#leave(waiter);
      waiter.refuse(error);
    }
    this.#foreign.length = 0;
  }

  #tell(decision: Dispatch | Evicted): boolean {
    const waiter = this.#waiters.get(decision.requestId);
    if (waiter === undefined) {
      return false;
    }
    this.#leave(waiter);
    if (decision.kind === 'dispatch') {
      waiter.grant(decision);
    } else {
      waiter.refuse(new RejectedError(decision));
    }
    return true;
  }

  #leave(waiter: Waiter): void {
    this.#waiters.delete(waiter.requestId);
    this.#stopListening(waiter);
    if (this.#waiters.size === 0) {
      this.#disarm();
    }
  }

  #listen(waiter: Waiter): void {
    const { signal } = waiter;
    if (signal === undefined) {
      return;
    }
    let audience = this.#audiences.get(signal);
    if (audience === undefined) {
      const waiters = new Set<Waiter>();
      const onAbort = () => {
        const gone = [...waiters];
        const reason = reasonOf(signal);
        for (const one of gone) {
          this.#leave(one);
          one.refuse(reason);
        }
        this.#flow.withdraw(gone.map(({ requestId }) => requestId));
      };
      signal.addEventListener('abort', onAbort);
      audience = { waiters, onAbort };
      this.#audiences.set(signal, audience);
    }
    audience.waiters.add(waiter);
  }

  #stopListening(waiter: Waiter): void {
    const { signal } = waiter;
    const audience = signal && this.#audiences.get(signal);
    if (signal === undefined || audience === undefined) {
      return;
    }
    audience.waiters.delete(waiter);
    if (audience.waiters.size === 0) {
      this.#audiences.delete(signal);
      try {
        signal.removeEventListener('abort', audience.onAbort);
      } catch {
        // What it calls later finds no waiters.
      }
    }
  }

  /** Sets the timer to the next timeout, unless it fires earlier. */
  #arm(): void {
    if (this.#waiters.size === 0) {
      return;
    }
    const at = this.#flow.nextTimeout() ?? Infinity;
    if (at >= this.#timerAt && this.#timer !== undefined) {
      return;
    }
    this.#disarm();
    this.#timerAt = at;
    const delay = Math.ceil(at - this.#flow.clock());
    // The timer keeps the process alive, also for requests without a TTL: otherwise Node would exit
    // during an `await`.
    this.#timer = setTimeout(() => this.#ring(), Math.min(Math.max(1, delay), LONGEST_TIMER_MS));
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerAt = Infinity;
  }

  #ring(): void {
    this.#disarm();
    this.deliver(this.#flow.clock());
  }
}

/** The reason of a signal, or what its getter throws. */
function reasonOf(signal: Signal): unknown {
  try {
    return signal.reason;
  } catch (error) {
    return error;
  }
}
