/**
 * One request, from its body to the response that its client gets: I/O around the native exchange,
 * which Python and Rust share. The exchange decides which endpoint is asked, when another one is
 * asked, and what the client gets.
 *
 * ```text
 * dispatch ──► send ──► look ahead to the first token ──► response: the rest is streamed
 *    ▲          │ unreachable, refused, failed, broken off or timed out
 *    └──────────┘ another endpoint, while nothing has been sent to the client
 * ```
 */
import { NativeExchange, type ExchangeOutput } from '../native/index.js';
import { guarded, RejectedError } from './errors.js';
import { abandonedStreams } from './finalization.js';
import { readWire } from './prompt.js';
import { refused } from './refused.js';
import type { AcquireOptions, Failure, HttpRequest } from './request.js';
import type { CloseReason } from './response.js';
import type { Scheduler } from './scheduler.js';
import { Idle } from './stream.js';
import { checkSignal, number, numbers } from './validate.js';

/**
 * Sends the request to one endpoint, given its name, a URL. Resolves with the engine's response
 * once its headers arrive; rejects if the endpoint is unreachable. `fetch` with `redirect:
 * 'manual'` is such a function. The signal aborts when the client disconnects, or when no token
 * arrives in time.
 */
export type Send = (url: string, signal: AbortSignal) => Promise<Response>;

/** How a request is served. */
export interface ForwardOptions extends AcquireOptions {
  /** Maximum number of endpoints to try. Default: 3. */
  attempts?: number | undefined;
}

/** See `Scheduler.forward`. */
export async function forward(
  scheduler: Scheduler,
  send: Send,
  request: HttpRequest,
  options: ForwardOptions,
): Promise<Response> {
  const { attempts = 3, exclude, ...others } = options;
  const exclusions = numbers('exclude', exclude ?? []);
  checkSignal(options.signal);
  const native = guarded(() =>
    new NativeExchange(String(request.path ?? ''), number('attempts', attempts), exclusions));
  return new Forwarding(scheduler, native, options.signal).run(send, request, others);
}

/** The request on its way. It refers to the response's stream nowhere. */
class Forwarding {
  readonly #scheduler: Scheduler;
  readonly #native: NativeExchange;
  readonly #signal: AbortSignal | undefined;
  readonly #idle: Idle;
  readonly #leave = (): void => this.#disconnect();
  /** Aborts the attempt. */
  #attempt = new AbortController();
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  /** Why the latest answer broke. */
  #error: unknown;

  constructor(scheduler: Scheduler, native: NativeExchange, signal: AbortSignal | undefined) {
    this.#scheduler = scheduler;
    this.#native = native;
    this.#signal = signal;
    this.#idle = new Idle(native, () => scheduler.clock());
    signal?.addEventListener('abort', this.#leave);
  }

  /** Polls until there is a response for the client. */
  async run(send: Send, request: HttpRequest, options: AcquireOptions): Promise<Response> {
    try {
      for (;;) {
        const output = this.#native.poll();
        switch (output?.kind) {
          case 'dispatch':
            await this.#dispatch(request, options);
            break;
          case 'send':
            await this.#send(send, output.url as string);
            break;
          case 'abort':
            this.#abort();
            break;
          case 'reply':
            return this.#respond(output);
          default:
            await this.#read();
        }
        this.#signal?.throwIfAborted();
      }
    } catch (error) {
      this.#disconnect();
      throw error;
    }
  }

  async #dispatch(request: HttpRequest, options: AcquireOptions): Promise<void> {
    const { native } = this.#scheduler;
    try {
      const exclude = this.#native.excluded;
      const dispatch = await this.#scheduler.decide(request, { ...options, exclude });
      const { requestId, endpointId, firstTokenIn } = dispatch;
      this.#input((now) =>
        this.#native.handleDispatch(native, now, requestId, endpointId, firstTokenIn));
    } catch (error) {
      if (!(error instanceof RejectedError)) {
        throw error;
      }
      const { code, evicted, retryAfterMs, sentence } = refused(error);
      this.#input((now) =>
        this.#native.handleRefusal(native, now, code, evicted, retryAfterMs, sentence));
    }
  }

  async #send(send: Send, url: string): Promise<void> {
    this.#abort();
    const attempt = (this.#attempt = new AbortController());
    const signals = this.#signal === undefined ? [attempt.signal] : [attempt.signal, this.#signal];
    const ends = AbortSignal.any(signals);
    const left = new Promise<never>((_, reject) => {
      ends.addEventListener('abort', () => reject(ends.reason), { once: true });
    });
    let sent: Promise<Response> | undefined;
    let arrived: { answer: Response } | undefined;
    try {
      sent = send(url, ends);
      const head = Promise.race([sent, left]).then((answer) => ({ answer }));
      arrived = await this.#idle.wait(head);
    } catch {
      discard(sent);
      this.#signal?.throwIfAborted();
      this.#unreachable('unreachable');
      return;
    }
    if (arrived === undefined) {
      discard(sent);
      attempt.abort();
      this.#unreachable('timeout');
      return;
    }
    const { status, headers, body } = arrived.answer;
    this.#reader = body?.getReader();
    guarded(() => this.#native.handleHead(status, [...headers]));
  }

  /** Reads on in the answer. Resolves to a chunk that the client gets as it is. */
  async #read(): Promise<Uint8Array | undefined> {
    let step: { done: boolean; value?: Uint8Array | undefined } | undefined;
    try {
      step = this.#reader === undefined ? { done: true } : await this.#idle.wait(this.#reader.read());
    } catch (error) {
      this.#close('broken', error);
      return undefined;
    }
    if (step === undefined) {
      this.#close('timed_out', this.#idle.error());
      return undefined;
    }
    if (step.done) {
      this.#close('clean', undefined);
      return undefined;
    }
    const chunk = readWire('chunk', step.value);
    const { native } = this.#scheduler;
    const isPassedOn = this.#input((now) => this.#native.handleChunk(native, now, chunk));
    return isPassedOn ? chunk : undefined;
  }

  #respond({ status = 0, headers = [] }: ExchangeOutput): Response {
    if (BODILESS.includes(status)) {
      this.#disconnect();
      return new Response(null, { status, headers });
    }
    const body = this.#body();
    return new Response(body, { status, headers });
  }

  /** The rest of the answer, as it is asked for. The end of the stream ends the request. */
  #body(): ReadableStream<Uint8Array> {
    const token = {};
    const end = () => {
      abandonedStreams.unregister(token);
      this.#disconnect();
    };
    const stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          try {
            const chunk = await this.#next();
            if (chunk !== undefined) {
              controller.enqueue(chunk);
              return;
            }
          } catch (error) {
            end();
            throw error;
          }
          end();
          controller.close();
        },
        cancel: end,
      },
      { highWaterMark: 0 },
    );
    abandonedStreams.register(stream, { end: this.#leave, close: () => undefined }, token);
    return stream;
  }

  /** The next chunk for the client; undefined at the end. */
  async #next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const output = this.#native.poll();
      switch (output?.kind) {
        case 'body':
          return output.body;
        case 'end':
          return undefined;
        case 'break':
          throw this.#error;
        case 'abort':
          this.#abort();
          break;
        default: {
          if (this.#native.ended) {
            this.#signal?.throwIfAborted();
            return undefined;
          }
          const chunk = await this.#read();
          if (chunk !== undefined) {
            return chunk;
          }
        }
      }
    }
  }

  #unreachable(failure: Failure): void {
    const { native } = this.#scheduler;
    this.#input((now) => this.#native.handleUnreachable(native, now, failure));
  }

  #close(close: CloseReason, error: unknown): void {
    this.#error = error;
    const { native } = this.#scheduler;
    this.#input((now) => this.#native.handleClose(native, now, close));
  }

  /** The client has its response, or has disconnected: nothing more is read. */
  #disconnect(): void {
    this.#signal?.removeEventListener('abort', this.#leave);
    const { closed, native } = this.#scheduler;
    if (!closed && !this.#native.ended) {
      this.#input((now) => this.#native.handleClientDisconnected(native, now));
    }
    this.#abort();
  }

  /** Closes the connection to the endpoint. */
  #abort(): void {
    this.#reader?.cancel().catch(() => undefined);
    this.#reader = undefined;
    this.#attempt.abort();
  }

  /** Calls the state machine, then delivers what that changed. */
  #input<T>(call: (now: number) => T): T {
    const now = this.#scheduler.clock();
    try {
      return guarded(() => call(now));
    } finally {
      this.#scheduler.wakeAt(now);
    }
  }
}

/** Of a response that comes too late, nothing is read. */
function discard(sent: Promise<Response> | undefined): void {
  Promise.resolve(sent).then((late) => late?.body?.cancel()).catch(() => undefined);
}

/** Statuses whose responses have no body. */
const BODILESS = [204, 205, 304];
