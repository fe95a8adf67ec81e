/** Promises that resolve when an endpoint has no request in flight. */

/** One call of `drained`. */
interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The gateway crate's watch of drained endpoints. */
export interface DrainWatch {
  readonly inFlightOn: (endpointId: number) => number;
  readonly watch: (endpointId: number) => void;
  readonly unwatch: (endpointId: number) => void;
  /** The next endpoint that has no request in flight, or has left the pool. */
  readonly poll: () => number | null;
}

/** The calls that wait, by endpoint. */
export class Draining {
  readonly #pool: DrainWatch;
  readonly #waiters = new Map<number, Set<Waiter>>();

  constructor(pool: DrainWatch) {
    this.#pool = pool;
  }

  /** Endpoints that calls wait for. */
  get size(): number {
    return this.#waiters.size;
  }

  /**
   * Resolves once the endpoint has no request in flight. Rejects if the endpoint is not in the
   * pool, or leaves it, or if `signal` aborts.
   */
  wait(endpointId: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#pool.inFlightOn(endpointId) === 0) {
        resolve();
        return;
      }
      const stop = () => {
        signal?.removeEventListener('abort', onAbort);
        const waiters = this.#waiters.get(endpointId);
        waiters?.delete(waiter);
        if (waiters?.size === 0) {
          this.#waiters.delete(endpointId);
          this.#pool.unwatch(endpointId);
        }
      };
      const waiter: Waiter = {
        resolve: () => (stop(), resolve()),
        reject: (error) => (stop(), reject(error)),
      };
      const onAbort = () => waiter.reject(signal?.reason);
      signal?.addEventListener('abort', onAbort);
      const waiters = this.#waiters.get(endpointId) ?? new Set();
      this.#waiters.set(endpointId, waiters.add(waiter));
      this.#pool.watch(endpointId);
    });
  }

  /** Settles the calls of all endpoints that the wake-up reports. */
  deliver(): void {
    for (let endpoint = this.#pool.poll(); endpoint !== null; endpoint = this.#pool.poll()) {
      const waiters = [...(this.#waiters.get(endpoint) ?? [])];
      try {
        this.#pool.inFlightOn(endpoint);
      } catch (error) {
        // The endpoint has left the pool.
        waiters.forEach(({ reject }) => reject(error));
        continue;
      }
      waiters.forEach(({ resolve }) => resolve());
    }
  }

  /** Rejects all calls. */
  close(error: Error): void {
    for (const waiters of [...this.#waiters.values()]) {
      [...waiters].forEach(({ reject }) => reject(error));
    }
  }
}
