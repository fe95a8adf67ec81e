/** HTTP to engines by `node:http`, without `Response` and web streams, which cost more. */
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Signal } from '../abort.js';
import type { EngineAnswer } from '../engine_answer.js';
import { RawHeaders } from '../headers.js';

/** Bytes of an answer that wait for a slow client before the engine is stopped. */
const MOST_WAITING = 65_536;

/** The connections to engines. */
export class Upstream {
  // The scheduler limits the requests of each endpoint; the time of a stream is that of its idle
  // limit. So neither is limited here.
  readonly #agents = {
    'http:': new HttpAgent({ keepAlive: true, maxFreeSockets: 1_024, scheduling: 'lifo' }),
    'https:': new HttpsAgent({ keepAlive: true, maxFreeSockets: 1_024, scheduling: 'lifo' }),
  };
  readonly #connectTimeoutMs: number;
  readonly #origins = new Map<string, Origin>();

  constructor(connectTimeoutMs: number) {
    this.#connectTimeoutMs = connectTimeoutMs;
  }

  /**
   * Sends a request. Resolves when the head of the answer has arrived. `target` is the path and the
   * query as the client sent them; `headers` are names and values in turn.
   *
   * A redirect is an answer: one that is followed would hide which engine has the request.
   */
  post(
    engine: string,
    target: string,
    body: Uint8Array,
    headers: readonly string[],
    signal: Signal,
  ): Promise<EngineAnswer> {
    const origin = this.#origin(engine);
    const flat = ['host', origin.host, ...headers, 'content-length', String(body.length)];
    return new Promise((resolve, reject) => {
      const { protocol, hostname, port, base } = origin;
      const agent = this.#agents[protocol];
      const send = protocol === 'http:' ? httpRequest : httpsRequest;
      const options = { protocol, hostname, port, method: 'POST', path: base + target, headers: flat, agent };
      // Arrays of headers are sent as they are, which the types of Node 20 do not know.
      const request = send(options as unknown as Parameters<typeof httpRequest>[0]);
      let answer: MessageAnswer | undefined;
      const abort = () => request.destroy();
      signal.addEventListener('abort', abort);
      request.on('error', (error) => {
        // Of an answer that has begun, its own reader reports the error.
        answer?.fail(error);
        reject(error);
      });
      request.on('response', (message) => {
        answer = new MessageAnswer(request, message, () => signal.removeEventListener('abort', abort));
        resolve(answer);
      });
      this.#limitConnecting(request);
      request.end(body);
      if (signal.aborted) {
        abort();
      }
    });
  }

  /** Closes all connections. */
  close(): void {
    this.#agents['http:'].destroy();
    this.#agents['https:'].destroy();
  }

  #origin(engine: string): Origin {
    const known = this.#origins.get(engine);
    if (known !== undefined) {
      return known;
    }
    const { protocol, hostname, port, host, pathname } = new URL(engine);
    const origin: Origin = {
      protocol: protocol === 'https:' ? 'https:' : 'http:',
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port,
      host,
      base: pathname.replace(/\/+$/, ''),
    };
    if (this.#origins.size >= MOST_ORIGINS) {
      this.#origins.clear();
    }
    this.#origins.set(engine, origin);
    return origin;
  }

  /** An engine that accepts no connection is left for another one. */
  #limitConnecting(request: ClientRequest): void {
    request.once('socket', (socket) => {
      if (!socket.connecting) {
        return;
      }
      const late = setTimeout(() => request.destroy(new Error('the connection took too long')), this.#connectTimeoutMs);
      const connected = () => clearTimeout(late);
      socket.once('connect', connected);
      request.once('close', connected);
    });
  }
}

/** An engine's URL in parts. */
interface Origin {
  readonly protocol: 'http:' | 'https:';
  readonly hostname: string;
  readonly port: string;
  readonly host: string;
  /** The path before that of requests. */
  readonly base: string;
}

const MOST_ORIGINS = 4_096;

/** An answer, whose chunks wait here until they are read. */
class MessageAnswer implements EngineAnswer {
  readonly status: number;
  readonly headers: RawHeaders;
  readonly #request: ClientRequest;
  readonly #message: IncomingMessage;
  readonly #over: () => void;
  #chunks: Uint8Array[] = [];
  #waiting = 0;
  #ended = false;
  #error: Error | undefined;
  #reader: { resolve: (chunk: Uint8Array | undefined) => void; reject: (error: Error) => void } | undefined;

  constructor(request: ClientRequest, message: IncomingMessage, over: () => void) {
    this.#request = request;
    this.#message = message;
    this.#over = over;
    this.status = message.statusCode ?? 0;
    this.headers = new RawHeaders(message.rawHeaders);
    message.on('data', (chunk: Uint8Array) => this.#take(chunk));
    message.on('end', () => this.#end());
    message.on('error', (error) => this.fail(error));
    message.on('close', () => this.fail(new Error('the engine closed the connection')));
  }

  read(): Promise<Uint8Array | undefined> {
    if (this.#chunks.length > 0) {
      return Promise.resolve(this.#all());
    }
    if (this.#error !== undefined) {
      return Promise.reject(this.#error);
    }
    if (this.#ended) {
      return Promise.resolve(undefined);
    }
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  cancel(): void {
    if (!this.#ended) {
      this.#request.destroy();
    }
  }

  /** The connection has broken. */
  fail(error: Error): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    this.#error = error;
    this.#over();
    this.#reader?.reject(error);
    this.#reader = undefined;
  }

  #take(chunk: Uint8Array): void {
    const reader = this.#reader;
    this.#chunks.push(chunk);
    this.#waiting += chunk.length;
    if (reader !== undefined) {
      this.#reader = undefined;
      // Chunks that the socket had together come within this turn: they go on as one.
      queueMicrotask(() => reader.resolve(this.#all()));
    }
    if (this.#waiting >= MOST_WAITING) {
      this.#message.pause();
    }
  }

  /** The chunks that wait, as one. */
  #all(): Uint8Array {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#waiting = 0;
    if (this.#message.isPaused()) {
      this.#message.resume();
    }
    return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
  }

  #end(): void {
    this.#ended = true;
    this.#over();
    this.#reader?.resolve(undefined);
    this.#reader = undefined;
  }
}
