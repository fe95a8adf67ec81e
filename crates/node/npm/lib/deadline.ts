/** The idle limit of a stream, by one timer for all of its chunks. */
import { LONGEST_TIMER_MS } from './clock.js';
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
  readonly #time: { clock(): number };
  readonly #expire: () => void;
  #since: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Whether the limit of the current wait stays as it is. */
  #isFixed = false;
  /** Whether the timer was set for longer than a later limit may be. */
  #isLong = false;

  /** `expire` ends the wait that took too long. */
  constructor(waiter: Waiter, time: { clock(): number }, expire: () => void) {
    this.#waiter = waiter;
    this.#time = time;
    this.#expire = expire;
  }

  /** A wait begins, of which the limit may stay as it is. Waits do not overlap. */
  start(since: number, isFixed = false): void {
    this.#since = since;
    this.#isFixed = isFixed;
    this.isOver = false;
    if (this.#timer === undefined) {
      this.#look(since);
    }
  }

  /** The wait has ended. */
  end(): void {
    this.#since = undefined;
    if (this.#isLong) {
      this.close();
    }
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
    const left = allowed - (now - since);
    if (left < RESOLUTION_MS) {
      this.isOver = true;
      this.#since = undefined;
      this.#expire();
      return;
    }
    // The limit may fall while the timer is set, but not below this time.
    const delay = this.#isFixed ? Math.min(left, LONGEST_TIMER_MS) : Math.min(left, SHORTEST_MS);
    this.#isLong = delay > SHORTEST_MS;
    // A clock of the host's may stand still while timers run.
    this.#timer = setTimeout(() => this.#look(Math.max(this.#time.clock(), now + delay)), delay);
  }
}

/** Sums of times are exact to this. */
const RESOLUTION_MS = 0.001;

/** The shortest limit in milliseconds that a longer one may become. */
const SHORTEST_MS = 30_000;
