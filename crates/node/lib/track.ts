/** Follows the stream of an answer on its way to the client. */
import type { Lease } from './lease.js';

/** A stream that passes on what `source` has, when it is asked for. */
export function trackStream<T>(lease: Lease, source: ReadableStream<T>): ReadableStream<T> {
  const reader = source.getReader();
  return new ReadableStream<T>(
    {
      async pull(controller) {
        let step: Awaited<ReturnType<typeof reader.read>>;
        try {
          step = await reader.read();
        } catch (error) {
          lease.left('broken');
          throw error;
        }
        if (step.done) {
          lease.left('clean');
          controller.close();
        } else {
          lease.passed(step.value);
          controller.enqueue(step.value);
        }
      },
      cancel(reason) {
        lease.left('client_left');
        return reader.cancel(reason);
      },
    },
    // Nothing is read before the client asks for it.
    { highWaterMark: 0 },
  );
}

/** An iterator that passes on what `source` has. Not a generator: one that was never begun would not notice its end. */
export function trackIterable<T>(lease: Lease, source: AsyncIterable<T>): AsyncIterableIterator<T> {
  const inner = source[Symbol.asyncIterator]();
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      let step: IteratorResult<T>;
      try {
        step = await inner.next();
      } catch (error) {
        lease.left('broken');
        throw error;
      }
      if (step.done) {
        lease.left('clean');
      } else {
        lease.passed(step.value);
      }
      return step;
    },
    async return(value?: unknown) {
      lease.left('client_left');
      await inner.return?.(value);
      return { done: true, value: undefined };
    },
    async throw(error?: unknown) {
      lease.left('client_left');
      await inner.return?.();
      throw error;
    },
  };
}
