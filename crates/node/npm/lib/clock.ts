/** The scheduler's time, in milliseconds on a monotonic clock. */
import { rangeError } from './errors.js';
import { number } from './validate.js';

/** The host's clock, or one that the host passed as `options.now`. */
export class Clock {
  readonly #clock: () => number;
  /** Whether the clock is `performance.now`. */
  readonly #isDefault: boolean;

  constructor(clock: (() => number) | undefined) {
    this.#clock = clock ?? (() => performance.now());
    this.#isDefault = clock === undefined;
  }

  /** The time of a call: its `now`, or the clock's. */
  at(now: number | undefined): number {
    if (now === undefined || !this.#isDefault) {
      return number('now', now === undefined ? this.#clock() : now);
    }
    const clock = this.#clock();
    if (number('now', now) > clock + MAX_AHEAD_MS) {
      throw rangeError(
        `now must be milliseconds on the clock of performance.now(), which shows ${Math.round(clock)}: `
        + `${now} is more than an hour ahead, and time never goes back. Pass performance.now() and `
        + 'not Date.now(), or make the scheduler with a clock of your own (options.now)',
      );
    }
    return now;
  }
}

/** The longest time in milliseconds that `setTimeout` accepts: 24 days. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Milliseconds that a `now` may be ahead of the default clock. A larger one is on another clock,
 * and would stop all timeouts for good: the scheduler's time never goes back.
 */
const MAX_AHEAD_MS = 3_600_000;
