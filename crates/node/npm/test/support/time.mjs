// Time that passes only when a test says so, and only once all that is due has been done.
import { setImmediate } from 'node:timers/promises';

export class Time {
  now = 1_000_000;
  #sleepers = [];

  /** The clock of a scheduler. */
  clock = () => this.now;

  /** `Sleep` of `slotwise/engines`. */
  sleep = (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const sleeper = { at: this.now + Math.max(ms, 0), resolve };
      this.#sleepers.push(sleeper);
      const onAbort = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      sleeper.resolve = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      return undefined;
    });

  /** Sleepers that wait. */
  get sleeping() {
    return this.#sleepers.length;
  }

  /** Lets so many milliseconds pass. */
  async pass(ms) {
    const until = this.now + ms;
    // All that can go on without time does so first.
    await setImmediate();
    for (;;) {
      this.#sleepers.sort((one, other) => one.at - other.at);
      const next = this.#sleepers[0];
      if (next === undefined || next.at > until) break;
      this.#sleepers.shift();
      this.now = Math.max(this.now, next.at);
      next.resolve();
      await setImmediate();
    }
    this.now = until;
  }
}

/** A log that keeps its messages. */
export class Messages {
  lines = [];

  info(message) {
    this.lines.push(['info', message]);
  }

  warn(message) {
    this.lines.push(['warn', message]);
  }

  error(message, error) {
    this.lines.push(['error', message, error]);
  }

  get levels() {
    return this.lines.map(([level]) => level);
  }
}
