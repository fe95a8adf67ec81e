/** Follows the stream of an answer on its way to the client. */
import type { NativeLease } from '../native/index.js';
import { LONGEST_TIMER_MS } from './clock.js';
import type { Waiter } from './deadline.js';
import { IdleTimeoutError, rangeError, typeError } from './errors.js';
import { abandonedStreams } from './finalization.js';
import type { Lease } from './lease.js';
import type { CloseReason } from './response.js';
import { checkFields, describe, number, type FieldsOf } from './validate.js';

/** How a stream is followed. */
export interface TrackOptions {
  /**
   * The longest time in milliseconds without a token, before the first and between later ones.
   * Default: 30 s or ten times the predicted time to the first token, whichever is longer, and then
   * 60 s; before a whole answer, 600 s. `null` for no limit.
   */
  idleTimeoutMs?: number | null | undefined;
}

const OPTIONS = { idleTimeoutMs: true } satisfies FieldsOf<TrackOptions>;

/** Validates options of `track`. */
export function readIdle(native: NativeLease, clock: () => number, options: TrackOptions): Idle {
  checkFields('options', OPTIONS, options);
  const limit = idleLimit(options);
  if (limit !== undefined) {
    native.setIdleLimit(limit);
  }
  return new Idle(native, clock);
}

/** The limit in milliseconds, Infinity for none; undefined for the default. */
export function idleLimit({ idleTimeoutMs }: TrackOptions): number | undefined {
  if (idleTimeoutMs === undefined) {
    return undefined;
  }
  const limit = idleTimeoutMs === null ? Infinity : number('idleTimeoutMs', idleTimeoutMs);
  if (!(limit > 0)) {
    throw rangeError(`idleTimeoutMs must be milliseconds above 0, or null, got ${limit}`);
  }
  return limit;
}

/** The timer of an endpoint that sends nothing. Only time spent waiting for the endpoint counts. */
export class Idle {
  readonly #native: Waiter;
  readonly #clock: () => number;

  constructor(native: Waiter, clock: () => number) {
    this.#native = native;
    this.#clock = clock;
  }

  /** What `step` resolves to, or undefined if the limit passes first. */
  async wait<T>(step: Promise<T>): Promise<T | undefined> {
    const left = this.#native.startWait(this.#clock());
    if (left === null || left > LONGEST_TIMER_MS) {
      return step;
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(resolve, left, undefined);
    });
    try {
      return await Promise.race([step, late]);
    } finally {
      clearTimeout(timer);
      this.#native.endWait(this.#clock());
    }
  }

  /** The error of a stream whose limit passed. */
  error(): IdleTimeoutError {
    return new IdleTimeoutError(this.#native.idleLimit, this.#native.started);
  }
}

/** A stream of the same kind as `source`, which ends `lease` when it ends. */
export function track<T>(
  lease: Lease,
  source: ReadableStream<T> | AsyncIterable<T>,
  idle: Idle,
): ReadableStream<T> | AsyncIterableIterator<T> {
  if (typeof source === 'object' && source !== null) {
    if ('getReader' in source && typeof source.getReader === 'function') {
      return trackStream(lease, source, idle);
    }
    if (Symbol.asyncIterator in source && typeof source[Symbol.asyncIterator] === 'function') {
      return trackIterable(lease, source as AsyncIterable<T>, idle);
    }
  }
  const hint =
    source === null || source === undefined
      ? 'an answer without a body is ended by finish() after begin(), or by complete()'
      : "pass a response's body, not the response";
  throw typeError(`stream must be a ReadableStream or an async iterable, got ${describe(source)}: ${hint}`);
}

function trackStream<T>(lease: Lease, source: ReadableStream<T>, idle: Idle): ReadableStream<T> {
  const reader = source.getReader();
  const token = {};
  const end = (close: CloseReason) => {
    abandonedStreams.unregister(token);
    lease.close(close);
  };
  const abandon = () => lease.close('client_disconnected');
  const tracked = new ReadableStream<T>(
    {
      async pull(controller) {
        let step: Awaited<ReturnType<typeof reader.read>> | undefined;
        try {
          step = await idle.wait(reader.read());
        } catch (error) {
          end('broken');
          throw error;
        }
        if (step === undefined) {
          const error = idle.error();
          end('timed_out');
          const whole = lease.outcome?.complete ?? false;
          reader.cancel(error).catch(() => {});
          if (!whole) {
            throw error;
          }
          controller.close();
          return;
        }
        if (step.done) {
          end('clean');
          controller.close();
          return;
        }
        try {
          lease.pass(step.value);
        } catch (error) {
          // A chunk that is not bytes is the host's mistake, so the endpoint has not failed.
          end('client_disconnected');
          reader.cancel(error).catch(() => {});
          throw error;
        }
        controller.enqueue(step.value);
      },
      cancel(reason) {
        end('client_disconnected');
        return reader.cancel(reason);
      },
    },
    // Reads on demand only.
    { highWaterMark: 0 },
  );
  abandonedStreams.register(tracked, { end: abandon, close: () => reader.cancel() }, token);
  return tracked;
}

/** Not a generator: `return` has no effect on a generator that was never started. */
function trackIterable<T>(lease: Lease, source: AsyncIterable<T>, idle: Idle): AsyncIterableIterator<T> {
  const inner = source[Symbol.asyncIterator]();
  const token = {};
  const end = (close: CloseReason) => {
    abandonedStreams.unregister(token);
    lease.close(close);
  };
  const abandon = () => lease.close('client_disconnected');
  const tracked: AsyncIterableIterator<T> = {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      let step: IteratorResult<T> | undefined;
      try {
        step = await idle.wait(inner.next());
      } catch (error) {
        end('broken');
        throw error;
      }
      if (step === undefined) {
        const error = idle.error();
        end('timed_out');
        const whole = lease.outcome?.complete ?? false;
        // A generator handles `return` only after its pending `next`, so it is not awaited.
        inner.return?.().catch(() => {});
        if (!whole) {
          throw error;
        }
        return { done: true, value: undefined };
      }
      if (step.done) {
        end('clean');
        return step;
      }
      try {
        lease.pass(step.value);
      } catch (error) {
        // A chunk that is not bytes is the host's mistake, so the endpoint has not failed.
        end('client_disconnected');
        try {
          await inner.return?.();
        } catch {
          // The reader gets the first error.
        }
        throw error;
      }
      return step;
    },
    async return(value?: unknown) {
      end('client_disconnected');
      await inner.return?.(value);
      return { done: true, value: undefined };
    },
    async throw(error?: unknown) {
      end('client_disconnected');
      await inner.return?.();
      throw error;
    },
  };
  abandonedStreams.register(tracked, { end: abandon, close: () => inner.return?.() }, token);
  return tracked;
}
