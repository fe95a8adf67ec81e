/** The idle limit of a stream, by one timer for all of its chunks. */
import type { NativeLease } from '../native/index.js';

/** A lease or an exchange, as the timer uses it. */
export type Waiter = Pick<NativeLease, 'startWait' | 'endWait' | 'idleLimit' | 'started'>;

/**
 * Ends the wait for an endpoint that sends nothing. A timer for each chunk would take more time
 * than the chunk. This one stays set between waits, and looks at the current wait when it fires.
 */
export class Deadline {
  /** Whether the latest wait took too long. */
  isOver = false;
  readonly #waiter: Waiter;
  readonly #clock: () => number;
  readonly #expire: () => void;
  #since: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `expire` ends the wait that took too long. */
  constructor(waiter: Waiter, clock: () => number, expire: () => void) {
    this.#waiter = waiter;
    this.#clock = clock;
    this.#expire = expire;
  }

  /** A wait begins. Waits do not overlap. */
  start(since: number): void {
    this.#since = since;
    if (this.#timer === undefined) {
      this.#look(since);
    }
  }

  /** The wait has ended. */
  end(): void {
    this.#since = undefined;
  }

  /** Clears the timer. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#since = undefined;
  }

  /** Ends the current wait, or sets the timer for it. */
  #look(now: number): void {
    this.#timer = undefined;
    const since = this.#since;
    const allowed = since === undefined ? null : this.#waiter.startWait(since);
    if (since === undefined || allowed === null) {
      return;
    }
    const left = since + allowed - now;
    if (left <= 0) {
      this.isOver = true;
      this.#since = undefined;
      this.#expire();
      return;
    }
    // The limit may fall while the timer is set, but not below this time.
    const delay = Math.min(left, SHORTEST_MS);
    this.#timer = setTimeout(() => this.#look(this.#clock()), delay);
  }
}

/** The shortest limit in milliseconds that a longer one may become. */
const SHORTEST_MS = 30_000;
