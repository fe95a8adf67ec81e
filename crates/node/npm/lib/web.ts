/**
 * A gateway behind servers of web-standard `Request` and `Response`, such as Hono.
 *
 * ```ts
 * const gateway = new Gateway(configuration, { address: null });
 * await gateway.start();
 * const handle = webHandler(gateway);
 * app.all('/v1/*', (context) => handle(context.req.raw));
 * ```
 *
 * @packageDocumentation
 */
import { streamOf } from './forward.js';
import { RawHeaders } from './headers.js';
import { BodyTooLarge, isWhole, type Incoming } from './gateway/answer.js';
import type { Gateway } from './gateway/gateway.js';

/** Facts about a request beside the `Request`. */
export interface WebContext {
  /** The client's address: clients without a key have limits of their own by it. */
  readonly client?: string | undefined;
  /** The path and the query, if they differ from those of the request's URL. */
  readonly target?: string | undefined;
}

/**
 * A function that answers a request. It never rejects. A client that leaves is noticed by the
 * request's signal, and by its cancelling the body.
 */
export function webHandler(gateway: Gateway): (request: Request, context?: WebContext) => Promise<Response> {
  return async (request, context = {}) => {
    const { status, headers, body } = await gateway.answer(new WebIncoming(request, context));
    const pairs = headers.map(([name, value]): [string, string] => [name, value]);
    if (BODILESS.includes(status) || request.method === 'HEAD') {
      if (!isWhole(body)) {
        body.end();
      }
      return new Response(null, { status, headers: pairs });
    }
    return new Response(isWhole(body) ? Uint8Array.from(body) : streamOf(body), { status, headers: pairs });
  };
}

/** A web-standard request. */
class WebIncoming implements Incoming {
  readonly method: string;
  readonly target: string;
  readonly path: string;
  readonly headers: RawHeaders;
  readonly client: string | undefined;
  readonly signal: AbortSignal;
  readonly #request: Request;

  constructor(request: Request, { client, target }: WebContext) {
    const { pathname, search } = new URL(target ?? request.url, request.url);
    this.method = request.method;
    this.target = pathname + search;
    this.path = pathname;
    this.headers = new RawHeaders([...request.headers].flat());
    this.client = client;
    this.signal = request.signal;
    this.#request = request;
  }

  async read(limit: number): Promise<Uint8Array> {
    if (Number(this.#request.headers.get('content-length') ?? 0) > limit) {
      throw new BodyTooLarge();
    }
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.#request.body ?? []) {
      length += chunk.length;
      if (length > limit) {
        throw new BodyTooLarge();
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }
}

/** Statuses whose responses have no body. */
const BODILESS = [204, 205, 304];
