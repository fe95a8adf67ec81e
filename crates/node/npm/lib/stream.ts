/** Follows the stream of an answer on its way to the client. */
import { idleLimit } from '../native/index.js';
import type { Dispatch } from './values.js';
import { IdleTimeoutError, guarded, rangeError, typeError } from './errors.js';
import { dropped } from './finalization.js';
import type { Lease } from './lease.js';
import { describe, checkFields, number, type FieldsOf } from './validate.js';

/** How a stream is followed. */
export interface TrackOptions {
  /**
   * The longest time in milliseconds to wait for the first token, and then for each further one. Unless given, 30 s or ten times the
   * predicted time to the first token, whichever is longer, and then 60 s. `null` waits without a limit.
   */
  idleTimeoutMs?: number | null | undefined;
}

const OPTIONS = { idleTimeoutMs: true } satisfies FieldsOf<TrackOptions>;

/** Reads options of `track`. */
export function readIdle(dispatch: Dispatch, clock: () => number, options: TrackOptions): Idle {
  checkFields('options', OPTIONS, options);
  const { idleTimeoutMs } = options;
  if (idleTimeoutMs === undefined) {
    return new Idle(clock, (started) => guarded(() => idleLimit(dispatch.firstTokenIn, started)));
  }
  const limit = idleTimeoutMs === null ? Infinity : number('idleTimeoutMs', idleTimeoutMs);
  if (!(limit > 0)) {
    throw rangeError(`idleTimeoutMs must be milliseconds above 0, or null, got ${limit}`);
  }
  return new Idle(clock, () => limit);
}

/** How long an endpoint may still send nothing. Only the time counts in which it is waited for. */
export class Idle {
  readonly #clock: () => number;
  readonly #limit: (started: boolean) => number;
  #started = false;
  #left: number;

  constructor(clock: () => number, limit: (started: boolean) => number) {
    this.#clock = clock;
    this.#limit = limit;
    this.#left = limit(false);
  }

  /** What `step` resolves to, or `undefined` if that takes too long. */
  async wait<T>(step: Promise<T>): Promise<T | undefined> {
    if (this.#left > LONGEST_TIMER) {
      return step;
    }
    const asked = this.#clock();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(resolve, this.#left, undefined);
    });
    try {
      return await Promise.race([step, late]);
    } finally {
      clearTimeout(timer);
      this.#left = Math.max(this.#left - (this.#clock() - asked), 0);
    }
  }

  /** A token came: the time begins anew. */
  token(): void {
    this.#started = true;
    this.#left = this.#limit(true);
  }

  error(): IdleTimeoutError {
    return new IdleTimeoutError(this.#limit(this.#started), this.#started);
  }
}

/** A stream of the same kind that passes on what `source` has, and ends `lease` when it ends. */
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
  const end = (close: 'clean' | 'broken' | 'client_disconnected') => {
    dropped.unregister(token);
    lease.left(close);
  };
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
          dropped.unregister(token);
          const whole = lease.timedOut();
          const error = idle.error();
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
          if (lease.passed(step.value)) {
            idle.token();
          }
        } catch (error) {
          // The host's mistake, a chunk that is not bytes: no fault of the endpoint's.
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
    // Nothing is read before the client asks for it.
    { highWaterMark: 0 },
  );
  dropped.register(tracked, { lease, close: () => reader.cancel() }, token);
  return tracked;
}

/** Not a generator: one that was never begun would not notice its end. */
function trackIterable<T>(lease: Lease, source: AsyncIterable<T>, idle: Idle): AsyncIterableIterator<T> {
  const inner = source[Symbol.asyncIterator]();
  const token = {};
  const end = (close: 'clean' | 'broken' | 'client_disconnected') => {
    dropped.unregister(token);
    lease.left(close);
  };
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
        dropped.unregister(token);
        const whole = lease.timedOut();
        // A generator that waits ends only when that is over, so its end is not awaited.
        inner.return?.().catch(() => {});
        if (!whole) {
          throw idle.error();
        }
        return { done: true, value: undefined };
      }
      if (step.done) {
        end('clean');
        return step;
      }
      try {
        if (lease.passed(step.value)) {
          idle.token();
        }
      } catch (error) {
        // The host's mistake, a chunk that is not bytes: no fault of the endpoint's.
        end('client_disconnected');
        try {
          await inner.return?.();
        } catch {
          // The first error is the one that the reader gets.
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
  dropped.register(tracked, { lease, close: () => inner.return?.() }, token);
  return tracked;
}

/** What `setTimeout` can wait for: 24 days. */
const LONGEST_TIMER = 2 ** 31 - 1;
