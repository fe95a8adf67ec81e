/** Promises that resolve when an endpoint has nothing in flight. Ends of requests resolve them, without a timer. */
import { UnknownEndpointError } from './errors.js';

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** What waits on one scheduler, by endpoint. */
export class Draining {
  readonly #inFlightOn: (endpoint: number) => number;
  readonly #waiters = new Map<number, Set<Waiter>>();

  constructor(inFlightOn: (endpoint: number) => number) {
    this.#inFlightOn = inFlightOn;
  }

  /** Resolves when nothing is in flight on the endpoint; rejects if it is not in the pool, leaves it, or `signal` aborts. */
  wait(endpoint: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#inFlightOn(endpoint) === 0) {
        resolve();
        return;
      }
      const stop = () => {
        signal?.removeEventListener('abort', onAbort);
        const waiters = this.#waiters.get(endpoint);
        waiters?.delete(waiter);
        if (waiters?.size === 0) {
          this.#waiters.delete(endpoint);
        }
      };
      const waiter: Waiter = {
        resolve: () => (stop(), resolve()),
        reject: (error) => (stop(), reject(error)),
      };
      const onAbort = () => waiter.reject(signal?.reason);
      signal?.addEventListener('abort', onAbort);
      const waiters = this.#waiters.get(endpoint) ?? new Set();
      this.#waiters.set(endpoint, waiters.add(waiter));
    });
  }

  /** A request may have ended, or an endpoint left. */
  deliver(): void {
    for (const [endpoint, waiters] of [...this.#waiters]) {
      try {
        if (this.#inFlightOn(endpoint) === 0) {
          [...waiters].forEach(({ resolve }) => resolve());
        }
      } catch (error) {
        if (!(error instanceof UnknownEndpointError)) {
          throw error;
        }
        [...waiters].forEach(({ reject }) => reject(error));
      }
    }
  }

  /** Refuses all. */
  close(error: Error): void {
    for (const waiters of [...this.#waiters.values()]) {
      [...waiters].forEach(({ reject }) => reject(error));
    }
  }
}
