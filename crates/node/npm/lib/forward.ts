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
import { NativeExchange, addUsage as addUsageTo, type ExchangeOutput } from '../native/index.js';
import { guarded, RejectedError } from './errors.js';
import { abandonedStreams } from './finalization.js';
import { readWire } from './prompt.js';
import { refused } from './refused.js';
import type { AcquireOptions, Failure, HttpRequest } from './request.js';
import type { CloseReason } from './response.js';
import type { Scheduler } from './scheduler.js';
import { Idle } from './stream.js';
import { checkSignal, number, numbers, optionalBoolean, optionalString } from './validate.js';

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
export interface ForwardOptions extends AcquireOptions {
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
  const { attempts = 3, exclude, answersAs, addUsage, connector, bootstrapPort, primaryPort, ...others } = options;
  const exclusions = numbers('exclude', exclude ?? []);
  checkSignal(options.signal);
  // Rooms of other gateways must differ.
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  const roomSalt = (high >>> 11) * 2 ** 32 + low;
  const stages = connector === undefined ? null : { connector, bootstrapPort, primaryPort, roomSalt };
  const path = String(request.path ?? '');
  const model = optionalString('answersAs', answersAs);
  const addsUsage = optionalBoolean('addUsage', addUsage) ?? false;
  const asking = addsUsage
    ? guarded(() => addUsageTo(readWire('body', request.body), undefined, path))
    : null;
  const asked = asking === null ? request : { ...request, body: asking };
  const native = guarded(() =>
    new NativeExchange(path, number('attempts', attempts), exclusions, stages, model, asking !== null));
  const ask = (url: string, headers: string[][], signal: AbortSignal) => {
    const pairs = headers as [string, string][];
    const changes = stages !== null || addsUsage;
    const sent = changes ? native.callBody(path, readWire('body', asked.body)) : undefined;
    return send(url, signal, { headers: pairs, body: sent });
  };
  return new Forwarding(scheduler, native, options.signal).run(ask, asked, others);
}

/** Calls an endpoint with the body of the exchange's latest output. */
type Ask = (url: string, headers: string[][], signal: AbortSignal) => Promise<Response>;

/** A prefill that has not ended. */
interface Prefilling {
  requestId: number;
  attempt: AbortController;
  /** Resolves to the whole answer, or to undefined after a failure. */
  ended: Promise<{ status: number; body: Uint8Array } | undefined>;
}

/** The failed prefill has ended the wait for the other endpoint. */
const SUPERSEDED = Symbol('superseded');

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
  #prefilling: Prefilling | undefined;
  /** Whether the headers of the endpoint that answers have come. */
  #hasAnswer = false;

  constructor(scheduler: Scheduler, native: NativeExchange, signal: AbortSignal | undefined) {
    this.#scheduler = scheduler;
    this.#native = native;
    this.#signal = signal;
    this.#idle = new Idle(native, () => scheduler.clock());
    signal?.addEventListener('abort', this.#leave);
  }

  /** Polls until there is a response for the client. */
  async run(ask: Ask, request: HttpRequest, options: AcquireOptions): Promise<Response> {
    try {
      for (;;) {
        const output = this.#native.poll();
        switch (output?.kind) {
          case 'dispatch':
            await this.#dispatch(request, options);
            break;
          case 'prefill':
            this.#prefill(ask, output);
            break;
          case 'send':
            await this.#send(ask, output);
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

  /** Sends the request to the prefilling endpoint. */
  #prefill(ask: Ask, { requestId = 0, url = '', headers = [] }: ExchangeOutput): void {
    this.#abort();
    const attempt = new AbortController();
    const signals = this.#signal === undefined ? [attempt.signal] : [attempt.signal, this.#signal];
    const ends = AbortSignal.any(signals);
    const left = new Promise<undefined>((resolve) => {
      ends.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    const answer = whole(() => ask(url, headers, ends), this.#native.prefillAnswer);
    const ended = Promise.race([answer.catch(() => undefined), left]);
    this.#prefilling = { requestId, attempt, ended };
  }

  /** Waits for the prefill, before which the endpoint is not asked. */
  async #awaitPrefill({ requestId, attempt, ended }: Prefilling): Promise<void> {
    const step = await this.#idle.wait(ended.then((answer) => ({ answer })));
    if (step !== undefined) {
      this.#endPrefill(requestId, step.answer);
      return;
    }
    attempt.abort();
    this.#prefilling = undefined;
    const { native } = this.#scheduler;
    this.#input((now) => this.#native.handlePrefillFailure(native, now, requestId, 'timeout'));
  }

  #endPrefill(requestId: number, answer: { status: number; body: Uint8Array } | undefined): void {
    this.#prefilling = undefined;
    const { native } = this.#scheduler;
    this.#input((now) => {
      if (answer === undefined) {
        this.#native.handlePrefillFailure(native, now, requestId, 'unreachable');
      } else {
        this.#native.handlePrefilled(native, now, requestId, answer.status, answer.body);
      }
    });
  }

  /**
   * Waits for the endpoint, and reports the end of the prefill meanwhile. Resolves to undefined
   * after the idle limit.
   */
  async #wait<T>(step: Promise<T>): Promise<T | typeof SUPERSEDED | undefined> {
    if (this.#prefilling === undefined) {
      return this.#idle.wait(step);
    }
    const value = step.then((value) => ({ value }));
    while (this.#prefilling !== undefined) {
      const { requestId, ended }: Prefilling = this.#prefilling;
      const prefill = ended.then((answer) => ({ answer }));
      const first = await this.#idle.wait(Promise.race([value, prefill]));
      if (first === undefined || 'value' in first) {
        return first?.value;
      }
      if (this.#prefilling?.requestId === requestId) {
        this.#endPrefill(requestId, first.answer);
      }
      if (this.#native.ended || !this.#native.hasLease) {
        value.catch(() => undefined);
        return SUPERSEDED;
      }
    }
    return (await this.#idle.wait(value))?.value;
  }

  async #send(ask: Ask, output: ExchangeOutput): Promise<void> {
    this.#abortAnswer();
    const attempt = (this.#attempt = new AbortController());
    const signals = this.#signal === undefined ? [attempt.signal] : [attempt.signal, this.#signal];
    const ends = AbortSignal.any(signals);
    const left = new Promise<never>((_, reject) => {
      ends.addEventListener('abort', () => reject(ends.reason), { once: true });
    });
    let sent: Promise<Response> | undefined;
    let arrived: { answer: Response } | typeof SUPERSEDED | undefined;
    try {
      sent = ask(output.url ?? '', output.headers ?? [], ends);
      const head = Promise.race([sent, left]).then((answer) => ({ answer }));
      arrived = await this.#wait(head);
    } catch {
      discard(sent);
      this.#signal?.throwIfAborted();
      this.#unreachable('unreachable');
      return;
    }
    if (arrived === undefined || arrived === SUPERSEDED) {
      discard(sent);
      attempt.abort();
      if (arrived === undefined) {
        this.#unreachable('timeout');
      }
      return;
    }
    const { status, headers, body } = arrived.answer;
    this.#reader = body?.getReader();
    this.#hasAnswer = true;
    guarded(() => this.#native.handleHead(status, [...headers]));
  }

  /** Reads on in the answer. Resolves to a chunk that the client gets as it is. */
  async #read(): Promise<Uint8Array | undefined> {
    if (this.#prefilling !== undefined && !this.#hasAnswer) {
      await this.#awaitPrefill(this.#prefilling);
      return undefined;
    }
    let step: { done: boolean; value?: Uint8Array | undefined } | typeof SUPERSEDED | undefined;
    try {
      step = this.#reader === undefined ? { done: true } : await this.#wait(this.#reader.read());
    } catch (error) {
      this.#close('broken', error);
      return undefined;
    }
    if (step === SUPERSEDED) {
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

  /** Closes the connections to the endpoints. */
  #abort(): void {
    this.#prefilling?.attempt.abort();
    this.#prefilling = undefined;
    this.#abortAnswer();
  }

  /** Closes the connection to the endpoint that answers. */
  #abortAnswer(): void {
    this.#hasAnswer = false;
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

/** The whole answer of a prefilling endpoint, of at most `limit` bytes. */
async function whole(
  send: () => Promise<Response>,
  limit: number,
): Promise<{ status: number; body: Uint8Array }> {
  const response = await send();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > limit) {
      throw new Error('the answer to the prefill is too long');
    }
  }
  return { status: response.status, body: Buffer.concat(chunks) };
}

/** Of a response that comes too late, nothing is read. */
function discard(sent: Promise<Response> | undefined): void {
  Promise.resolve(sent).then((late) => late?.body?.cancel()).catch(() => undefined);
}

/** Statuses whose responses have no body. */
const BODILESS = [204, 205, 304];
