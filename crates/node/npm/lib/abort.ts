/** Aborts of requests and of attempts, which most requests never need. */

/** What is read of an `AbortSignal`. */
export interface Signal extends Pick<AbortSignal, 'aborted' | 'reason' | 'throwIfAborted'> {
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/**
 * An `AbortController` and its signal in one. An `AbortSignal` costs each request several
 * microseconds, so there is none until a host's function needs it.
 */
export class Abort implements Signal {
  aborted = false;
  reason: unknown;
  readonly #listeners: (() => void)[] = [];
  #controller: AbortController | undefined;

  /** A signal that aborts with this. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.aborted) {
        this.#controller.abort(this.reason);
      }
    }
    return this.#controller.signal;
  }

  /** Further calls change nothing. */
  abort(reason: unknown = OVER): void {
    if (this.aborted) {
      return;
    }
    this.aborted = true;
    this.reason = reason;
    this.#controller?.abort(reason);
    // A listener may remove others, which are not called then.
    for (let listener = this.#listeners.shift(); listener !== undefined; listener = this.#listeners.shift()) {
      listener();
    }
  }

  throwIfAborted(): void {
    if (this.aborted) {
      throw this.reason;
    }
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.push(listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) {
      this.#listeners.splice(at, 1);
    }
  }
}

/** The signal for a function of the host or of Node. */
export function abortSignal(signal: Signal): AbortSignal {
  return signal instanceof Abort ? signal.signal : (signal as AbortSignal);
}

/** The default reason. Made once: each error of `abort` has a trace, which costs much. */
const OVER = new DOMException('This operation was aborted', 'AbortError');
