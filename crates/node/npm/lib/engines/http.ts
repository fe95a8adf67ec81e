/**
 * `GET` requests to engines.
 *
 * A client of their own keeps these requests apart from those of clients: a pool whose connections
 * are all in use would make healthy engines look dead.
 */
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';

/** A response to a `GET` request. */
export interface Page {
  readonly status: number;
  readonly body: Uint8Array;
}

/**
 * Requests a URL. Rejects if there is no response. It follows no redirect, need not limit the time,
 * and ends once the signal aborts.
 */
export type Get = (url: string, signal: AbortSignal) => Promise<Page>;

/** Bytes of a body above which a response is an error. */
export const MOST_BYTES = 1 << 24;

/** How `httpGet` requests. */
export interface HttpGetOptions {
  /** Headers of each request, such as an engine's key. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Bytes of a body above which a response is an error. Default: `MOST_BYTES`. */
  mostBytes?: number | undefined;
}

/**
 * Requests by `node:http` and `node:https`, with connections of their own that stay open. They keep
 * no process alive, not even during a request.
 */
export function httpGet({ headers, mostBytes = MOST_BYTES }: HttpGetOptions = {}): Get {
  const agents = { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) };
  return async (url, signal) => {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = url.startsWith('https:')
        ? httpsRequest(url, { agent: agents.https, headers, signal })
        : httpRequest(url, { agent: agents.http, headers, signal });
      sent.on('response', resolve).on('error', reject);
      sent.on('socket', (socket) => socket.unref());
      sent.end();
    });
    return { status: response.statusCode ?? 0, body: await whole(response, mostBytes) };
  };
}

/** How `fetchGet` requests. */
export type FetchGetOptions = HttpGetOptions;

/** Requests by a `fetch`: that of Node, or one with a proxy or with certificates of its own. */
export function fetchGet(
  fetch: typeof globalThis.fetch = globalThis.fetch,
  { headers, mostBytes = MOST_BYTES }: FetchGetOptions = {},
): Get {
  return async (url, signal) => {
    const init: RequestInit = { redirect: 'manual', signal };
    const response = await fetch(url, headers === undefined ? init : { ...init, headers });
    return { status: response.status, body: await whole(response.body ?? [], mostBytes) };
  };
}

async function whole(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  mostBytes: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > mostBytes) {
      throw new RangeError(`the body has more than ${mostBytes} bytes`);
    }
    parts.push(chunk);
  }
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}
