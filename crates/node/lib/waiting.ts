/**
 * Requests that wait while all endpoints are at their limit.
 *
 * ```text
 *  enter ──► waiting ──wake──► granted      somebody left, or the pool changed, and the request could go
 *                    ──wake──► refused      it could not, for another reason than a full pool
 *                    ─timer──► refused      its time is over
 *                    ─abort──► withdrawn    nobody wants it any more
 * ```
 *
 * Requests for the same model, role and labels form a line: while its first cannot go, none of it can. So one wake asks
 * the scheduler once for each line, and once more for each request that leaves.
 */
import type { Decision, Dispatch, Rejected } from './answers.js';
import { RejectedError } from './errors.js';
import type { PickOptions } from './options.js';
import type { Prompt } from './prompt.js';

/** What waits: a request and what is to be told to whom. */
export interface Ticket {
  readonly prompt: Prompt;
  readonly options: PickOptions;
  readonly signal: AbortSignal | undefined;
  /** When it gives up, in milliseconds on the scheduler's clock; never, if infinite. */
  readonly until: number;
  readonly grant: (dispatch: Dispatch) => void;
  readonly refuse: (error: unknown) => void;
}

interface Waiter extends Ticket {
  readonly arrival: number;
  readonly priority: number;
  readonly line: Line;
  /** Why it could not go when it last tried. */
  last: Rejected;
  /** Its place among the deadlines; -1 if it has none. */
  place: number;
}

/** Requests that can go, or cannot, alike: by priority, then in the order of their arrival. */
interface Line {
  readonly key: string;
  /** From the highest priority down; none of the sets is empty. */
  readonly bands: { readonly priority: number; readonly waiters: Set<Waiter> }[];
}

/** Those who listen to one signal: it warns of more than ten listeners, so they share one. */
interface Audience {
  readonly waiters: Set<Waiter>;
  readonly onAbort: () => void;
}

/** The requests that wait on one scheduler. One timer serves them all, and it keeps no process alive. */
export class Waiting {
  readonly #pick: (prompt: Prompt, options: PickOptions) => Decision;
  readonly #clock: () => number;
  readonly #lines = new Map<string, Line>();
  readonly #deadlines = new Deadlines();
  readonly #audiences = new Map<AbortSignal, Audience>();
  #arrivals = 0;
  #size = 0;
  /** When to try without having heard anything. */
  #retryAt = Infinity;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;
  #waking = false;
  #wakeAgain = false;

  constructor(pick: (prompt: Prompt, options: PickOptions) => Decision, clock: () => number) {
    this.#pick = pick;
    this.#clock = clock;
  }

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /** Lets a request wait that was refused with `last`. */
  enter(ticket: Ticket, last: Rejected): void {
    const { model, role, labels } = ticket.options;
    const priority = ticket.options.priority ?? 0;
    const key = JSON.stringify([model ?? '', role ?? 'unified', Object.entries(labels ?? {}).sort()]);
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = { key, bands: [] };
      this.#lines.set(key, line);
    }
    const waiter: Waiter = { ...ticket, arrival: this.#arrivals++, priority, line, last, place: -1 };
    let at = line.bands.findIndex((band) => band.priority <= priority);
    at = at < 0 ? line.bands.length : at;
    if (line.bands[at]?.priority !== priority) {
      line.bands.splice(at, 0, { priority, waiters: new Set() });
    }
    line.bands[at]?.waiters.add(waiter);
    this.#size += 1;
    if (waiter.until < Infinity) {
      this.#deadlines.add(waiter);
    }
    this.#listen(waiter);
    this.#tryAgainAfter(last);
    this.#arm();
  }

  /** Something has changed: whoever can go now goes. */
  wake(): void {
    if (this.#waking) {
      // A scorer has ended a request while it was asked about another.
      this.#wakeAgain = true;
      return;
    }
    this.#waking = true;
    try {
      do {
        this.#wakeAgain = false;
        this.#wakeOnce();
      } while (this.#wakeAgain);
    } finally {
      this.#waking = false;
    }
    this.#arm();
  }

  /** Refuses all. */
  close(error: Error): void {
    for (const line of [...this.#lines.values()]) {
      for (const band of [...line.bands]) {
        for (const waiter of [...band.waiters]) {
          this.#leave(waiter);
          waiter.refuse(error);
        }
      }
    }
  }

  #wakeOnce(): void {
    const lines = new Set(this.#lines.values());
    for (let first = next(lines); first !== undefined; first = next(lines)) {
      const waiter = first;
      let answer: Decision;
      try {
        answer = this.#pick(waiter.prompt, waiter.options);
      } catch (error) {
        this.#leave(waiter);
        waiter.refuse(error);
        continue;
      }
      if (answer.kind === 'dispatch') {
        this.#leave(waiter);
        waiter.grant(answer);
      } else if (answer.reason !== 'saturated') {
        this.#leave(waiter);
        waiter.refuse(new RejectedError(answer));
      } else {
        waiter.last = answer;
        this.#tryAgainAfter(answer);
        lines.delete(waiter.line);
      }
    }
  }

  #tryAgainAfter({ retryAfterMs }: Rejected): void {
    if (retryAfterMs !== null) {
      this.#retryAt = Math.min(this.#retryAt, this.#clock() + Math.max(1, retryAfterMs));
    }
  }

  #leave(waiter: Waiter): void {
    const { line, priority } = waiter;
    const at = line.bands.findIndex((band) => band.priority === priority);
    if (!line.bands[at]?.waiters.delete(waiter)) {
      return;
    }
    this.#stopListening(waiter);
    this.#deadlines.remove(waiter);
    this.#size -= 1;
    if (line.bands[at]?.waiters.size === 0) {
      line.bands.splice(at, 1);
    }
    if (line.bands.length === 0) {
      this.#lines.delete(line.key);
    }
    if (this.#size === 0) {
      this.#retryAt = Infinity;
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
        for (const one of [...waiters]) {
          this.#leave(one);
          one.refuse(signal.reason);
        }
      };
      audience = { waiters, onAbort };
      this.#audiences.set(signal, audience);
      signal.addEventListener('abort', onAbort);
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
      signal.removeEventListener('abort', audience.onAbort);
      this.#audiences.delete(signal);
    }
  }

  /** Sets the timer to what comes first, if it is not set so already. */
  #arm(): void {
    const at = Math.min(this.#deadlines.first?.until ?? Infinity, this.#retryAt);
    if (this.#size === 0 || at >= this.#timerAt) {
      return;
    }
    this.#disarm();
    if (at < Infinity) {
      this.#timerAt = at;
      const delay = Math.ceil(at - this.#clock());
      this.#timer = setTimeout(() => this.#ring(), Math.min(Math.max(1, delay), LONGEST_TIMER));
      this.#timer.unref();
    }
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timerAt = Infinity;
  }

  #ring(): void {
    this.#timerAt = Infinity;
    const now = this.#clock();
    for (let first = this.#deadlines.first; first !== undefined && first.until <= now; first = this.#deadlines.first) {
      this.#leave(first);
      first.refuse(new RejectedError(first.last));
    }
    if (this.#retryAt <= now) {
      this.#retryAt = Infinity;
      this.wake();
    }
    this.#arm();
  }
}

/** What `setTimeout` can wait for: 24 days. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Of the first of each line, the one that goes first. */
function next(lines: Set<Line>): Waiter | undefined {
  let best: Waiter | undefined;
  for (const line of lines) {
    const band = line.bands[0];
    if (band === undefined) {
      lines.delete(line);
      continue;
    }
    const [first] = band.waiters;
    if (first !== undefined && (best === undefined || before(first, best))) {
      best = first;
    }
  }
  return best;
}

function before(a: Waiter, b: Waiter): boolean {
  return a.priority > b.priority || (a.priority === b.priority && a.arrival < b.arrival);
}

/** A heap of those who give up some time, the next of them on top. */
class Deadlines {
  readonly #heap: Waiter[] = [];

  get first(): Waiter | undefined {
    return this.#heap[0];
  }

  add(waiter: Waiter): void {
    this.#heap.push(waiter);
    this.#up(waiter, this.#heap.length - 1);
  }

  remove(waiter: Waiter): void {
    const last = this.#heap.at(-1);
    if (waiter.place < 0 || last === undefined) {
      return;
    }
    this.#heap.pop();
    if (last !== waiter) {
      this.#up(last, waiter.place);
      this.#down(last, last.place);
    }
    waiter.place = -1;
  }

  #up(waiter: Waiter, from: number): void {
    let at = from;
    while (at > 0) {
      const parent = this.#heap[(at - 1) >> 1] as Waiter;
      if (parent.until <= waiter.until) {
        break;
      }
      this.#put(parent, at);
      at = (at - 1) >> 1;
    }
    this.#put(waiter, at);
  }

  #down(waiter: Waiter, from: number): void {
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      const right = this.#heap[child + 1];
      if (right !== undefined && right.until < (this.#heap[child] as Waiter).until) {
        child += 1;
      }
      const least = this.#heap[child];
      if (least === undefined || least.until >= waiter.until) {
        break;
      }
      this.#put(least, at);
      at = child;
    }
    this.#put(waiter, at);
  }

  #put(waiter: Waiter, at: number): void {
    this.#heap[at] = waiter;
    waiter.place = at;
  }
}
