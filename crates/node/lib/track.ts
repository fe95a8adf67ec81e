/** Follows the stream of an answer on its way to the client. */
import { typeError } from './errors.js';
import { dropped } from './forgotten.js';
import type { Lease } from './lease.js';
import { describe } from './shape.js';

/** A stream of the same kind that passes on what `source` has, and ends `lease` when it ends. */
export function track<T>(
  lease: Lease,
  source: ReadableStream<T> | AsyncIterable<T>,
): ReadableStream<T> | AsyncIterableIterator<T> {
  if (typeof source === 'object' && source !== null) {
    if ('getReader' in source && typeof source.getReader === 'function') {
      return trackStream(lease, source);
    }
    if (Symbol.asyncIterator in source && typeof source[Symbol.asyncIterator] === 'function') {
      return trackIterable(lease, source as AsyncIterable<T>);
    }
  }
  const hint =
    source === null || source === undefined
      ? 'an answer without a body is ended by finish() after begin(), or by complete()'
      : "pass a response's body, not the response";
  throw typeError(`stream must be a ReadableStream or an async iterable, got ${describe(source)}: ${hint}`);
}

function trackStream<T>(lease: Lease, source: ReadableStream<T>): ReadableStream<T> {
  const reader = source.getReader();
  const token = {};
  const end = (close: 'clean' | 'broken' | 'client_left') => {
    dropped.unregister(token);
    lease.left(close);
  };
  const tracked = new ReadableStream<T>(
    {
      async pull(controller) {
        let step: Awaited<ReturnType<typeof reader.read>>;
        try {
          step = await reader.read();
        } catch (error) {
          end('broken');
          throw error;
        }
        if (step.done) {
          end('clean');
          controller.close();
          return;
        }
        try {
          lease.passed(step.value);
        } catch (error) {
          // The host's mistake, a chunk that is not bytes: no fault of the endpoint's.
          end('client_left');
          reader.cancel(error).catch(() => {});
          throw error;
        }
        controller.enqueue(step.value);
      },
      cancel(reason) {
        end('client_left');
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
function trackIterable<T>(lease: Lease, source: AsyncIterable<T>): AsyncIterableIterator<T> {
  const inner = source[Symbol.asyncIterator]();
  const token = {};
  const end = (close: 'clean' | 'broken' | 'client_left') => {
    dropped.unregister(token);
    lease.left(close);
  };
  const tracked: AsyncIterableIterator<T> = {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      let step: IteratorResult<T>;
      try {
        step = await inner.next();
      } catch (error) {
        end('broken');
        throw error;
      }
      if (step.done) {
        end('clean');
        return step;
      }
      try {
        lease.passed(step.value);
      } catch (error) {
        // The host's mistake, a chunk that is not bytes: no fault of the endpoint's.
        end('client_left');
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
      end('client_left');
      await inner.return?.(value);
      return { done: true, value: undefined };
    },
    async throw(error?: unknown) {
      end('client_left');
      await inner.return?.();
      throw error;
    },
  };
  dropped.register(tracked, { lease, close: () => inner.return?.() }, token);
  return tracked;
}
