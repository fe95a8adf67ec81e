/**
 * `Scheduler.forward`: the exchange over web-standard `Response` and `ReadableStream`.
 */
import { NoAnswer, type EngineAnswer, type Reply } from './engine_answer.js';
import { serve } from './serve.js';
import { abandonedStreams } from './finalization.js';
import type { Abort } from './abort.js';
import { RawHeaders } from './headers.js';
import type { AcquireOptions, HttpRequest } from './request.js';
import type { Scheduler } from './scheduler.js';
import type { TrackOptions } from './stream.js';

/**
 * Sends the request to one endpoint, given its name, a URL. Resolves with the engine's response
 * once its headers arrive; rejects if the endpoint is unreachable. `fetch` with `redirect:
 * 'manual'` is such a function. The signal aborts when the client disconnects, or when no token
 * arrives in time.
 */
export type Send = (url: string, signal: AbortSignal, call: Call) => Promise<Response>;

/** What an endpoint is sent: the client's request, unless `connector` or `addUsage` changes it. */
export interface Call {
  /** Headers to add: names and values. */
  readonly headers: [string, string][];
  /** The body for this endpoint; undefined without `connector` and `addUsage`. */
  readonly body: ReturnType<Uint8Array['slice']> | undefined;
}

/** How a request is served. */
export interface ForwardOptions extends AcquireOptions, TrackOptions {
  /** Maximum number of endpoints to try. Default: 3. */
  attempts?: number | undefined;
  /**
   * How the KV caches of disaggregated requests move: `nixl` is vLLM's connector, `bootstrap`
   * SGLang's, and `sidecar` that of llm-d. With one, `send` uses the body and the headers of its
   * third argument.
   */
  connector?: Connector | undefined;
  /** The client's name of the model, which replaces the engine's in the answer. */
  answersAs?: string | null | undefined;
  /**
   * Whether streams report their usage also if the client did not request it. `send` then sends the
   * body of its third argument. The client gets the usage only if it requested it; the lease has it
   * in any case. Default: false.
   */
  addUsage?: boolean | undefined;
  /**
   * Aborts when the time of the whole request is over, as `AbortSignal.timeout(60_000)` does.
   * Before the reply, the promise rejects with its reason. A stream that has begun ends with an
   * error event of the client's API; where none can follow, the body rejects with the reason.
   */
  expires?: AbortSignal | undefined;
  /** The port of SGLang's bootstrap servers. Default: 8998. */
  bootstrapPort?: number | undefined;
  /** The port that receives the requests of all data-parallel ranks of a host. */
  primaryPort?: number | undefined;
}

/** How the KV caches of disaggregated requests move. */
export type Connector = 'sidecar' | 'nixl' | 'bootstrap';

/** See `Scheduler.forward`. */
export async function forward(
  scheduler: Scheduler,
  send: Send,
  request: HttpRequest,
  options: ForwardOptions,
): Promise<Response> {
  const ask = async (url: string, { signal }: Abort, call: Call) => answerOf(await send(url, signal, call));
  const reply = await serve(scheduler, ask, request, options);
  const { status, headers } = reply;
  if (BODILESS.includes(status)) {
    reply.end();
    return new Response(null, { status, headers });
  }
  return new Response(streamOf(reply), { status, headers });
}

/** An engine's response, read chunk by chunk. */
function answerOf(response: Response): EngineAnswer {
  const [{ status, body }, headers] = checkedResponse(response);
  const reader = body?.getReader();
  return {
    status,
    headers: new RawHeaders(headers.flat()),
    async read() {
      const step = await reader?.read();
      return step?.done === false ? step.value : undefined;
    },
    cancel() {
      reader?.cancel().catch(() => undefined);
    },
  };
}

function checkedResponse(response: Response): [Response, [string, string][]] {
  try {
    return [response, [...response.headers]];
  } catch (cause) {
    throw new NoAnswer('send resolved to no Response', { cause });
  }
}

/** The body of a reply, as it is asked for. The end of the stream ends the request. */
export function streamOf(reply: Pick<Reply, 'next'> & { end(error?: unknown): void }): ReadableStream<Uint8Array> {
  const token = {};
  const end = (error?: unknown) => {
    abandonedStreams.unregister(token);
    reply.end(error);
  };
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const chunk = await reply.next();
          if (chunk !== undefined) {
            controller.enqueue(chunk);
            return;
          }
        } catch (error) {
          end(error);
          throw error;
        }
        end();
        controller.close();
      },
      cancel: () => end(),
    },
    { highWaterMark: 0 },
  );
  // The reply must not refer to the stream, which would keep it alive.
  abandonedStreams.register(stream, { end: () => reply.end(), close: () => undefined }, token);
  return stream;
}

/** Statuses whose responses have no body. */
const BODILESS = [204, 205, 304];
