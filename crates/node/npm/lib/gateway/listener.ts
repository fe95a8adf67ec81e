/** A listening socket and its open connections, and answers over `node:http`. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getSystemErrorMap } from 'node:util';
import { Abort, type Signal } from '../abort.js';
import { RawHeaders } from '../headers.js';
import { BodyTooLarge, isWhole, type Answer, type Incoming } from './answer.js';
import type { Address } from './settings.js';

/** What answers requests. It never rejects. */
export type Handler = (incoming: Incoming) => Promise<Answer>;

/** A function for `node:http`. Its promise resolves when the answer has ended; it never rejects. */
export function overHttp(handle: Handler): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    const client = new Abort();
    response.on('close', () => {
      if (!response.writableFinished) {
        client.abort();
      }
    });
    const answer = await handle(new HttpIncoming(request, response, client));
    await send(answer, response);
  };
}

/** A listening socket and its open connections. */
export class Listener {
  readonly #address: Address;
  readonly #exclusive: boolean;
  readonly #server: Server;

  /** An exclusive listener is not shared by the workers of `node:cluster`. */
  constructor(address: Address, handle: Handler, exclusive = false) {
    this.#address = address;
    this.#exclusive = exclusive;
    const serve = overHttp(handle);
    // Streams last as long as they last; Node's limit for heads of requests stays.
    this.#server = createServer({ keepAlive: true, requestTimeout: 0 }, (request, response) => void serve(request, response));
    // The client is asked for its body once it is known.
    this.#server.on('checkContinue', (request, response) => void serve(request, response));
  }

  /** Listens, and returns where. Rejects with what is wrong with the address. */
  async start(): Promise<string> {
    const { host, port } = this.#address;
    this.#server.listen({ host, port, backlog: 1_024, exclusive: this.#exclusive });
    try {
      await once(this.#server, 'listening');
    } catch (error) {
      throw new Error(`cannot listen on ${host}:${port}: ${reasonOf(error)}`, { cause: error });
    }
    const { address, family, port: bound } = this.#server.address() as AddressInfo;
    return family === 'IPv6' ? `http://[${address}]:${bound}` : `http://${address}:${bound}`;
  }

  /** Refuses new connections. Open ones go on. */
  stopListening(): void {
    if (this.#server.listening) {
      this.#server.close();
    }
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined;
    this.stopListening();
    this.#server.closeAllConnections();
    await closed;
  }
}

/** A request of `node:http`. */
class HttpIncoming implements Incoming {
  readonly method: string;
  readonly target: string;
  readonly path: string;
  readonly headers: RawHeaders;
  readonly signal: Signal;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse, signal: Signal) {
    const { method = 'GET', url = '/', rawHeaders } = request;
    this.method = method;
    this.target = url;
    const query = url.indexOf('?');
    this.path = query < 0 ? url : url.slice(0, query);
    this.headers = new RawHeaders(rawHeaders);
    this.signal = signal;
    this.#request = request;
    this.#response = response;
  }

  get client(): string | undefined {
    return this.#request.socket.remoteAddress;
  }

  read(limit: number): Promise<Uint8Array> {
    const request = this.#request;
    if (request.readableEnded) {
      return Promise.reject(new Error('the body was read before: put the gateway before parsers of bodies'));
    }
    if (Number(request.headers['content-length'] ?? 0) > limit) {
      return Promise.reject(new BodyTooLarge());
    }
    if (request.headers.expect?.toLowerCase() === '100-continue') {
      this.#response.writeContinue();
    }
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let length = 0;
      request.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > limit) {
          request.removeAllListeners('data').resume();
          reject(new BodyTooLarge());
        } else {
          chunks.push(chunk);
        }
      });
      request.on('end', () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)));
      request.on('error', reject);
      request.on('close', () => reject(new Error('the client disconnected')));
    });
  }
}

/** Sends an answer as it comes. Where it breaks off, so does the client's connection. */
async function send({ status, headers, body }: Answer, response: ServerResponse): Promise<void> {
  const flat: string[] = [];
  for (const [name, value] of headers) {
    flat.push(name, value);
  }
  if (isWhole(body)) {
    flat.push('content-length', String(body.length));
    response.writeHead(status, flat).end(body);
    return;
  }
  let broken: unknown;
  try {
    response.writeHead(status, flat);
    for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) {
      if (!response.write(chunk) && !response.destroyed) {
        await drained(response);
      }
    }
    response.end();
  } catch (error) {
    broken = error;
    response.destroy();
  } finally {
    body.end(broken);
  }
}

/** The client has read on, or has left. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      response.off('drain', go);
      response.off('close', go);
      resolve();
    };
    response.on('drain', go);
    response.on('close', go);
  });
}

/** The words of the system for an error. */
export function reasonOf(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  return getSystemErrorMap().get(errno ?? 0)?.[1] ?? message;
}
