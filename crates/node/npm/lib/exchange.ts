/**
 * One request, from its body to the reply that its client gets: I/O around the native exchange,
 * which Python and Rust share. The exchange decides which endpoint is asked, when another one is
 * asked, and what the client gets.
 *
 * ```text
 * dispatch ──► send ──► look ahead to the first token ──► reply: the rest is passed on
 *    ▲          │ unreachable, refused, failed, broken off or timed out
 *    └──────────┘ another endpoint, while nothing has been sent to the client
 * ```
 */
import { NativeExchange, addUsage as addUsageTo, type ExchangeOutput, type ReportedUsage } from '../native/index.js';
import { Deadline } from './deadline.js';
import { guarded, RejectedError } from './errors.js';
import type { Call, ForwardOptions } from './forward.js';
import { readWire } from './prompt.js';
import { refused } from './refused.js';
import type { AcquireOptions, Failure, HttpRequest } from './request.js';
import type { CloseReason } from './response.js';
import type { Scheduler } from './scheduler.js';
import { Idle, idleLimit } from './stream.js';
import { checkSignal, number, numbers, optionalBoolean, optionalString } from './validate.js';
import type { Dispatch } from './values.js';

/** An engine's answer, from its head on. */
export interface EngineAnswer {
  readonly status: number;
  /** Pairs of name and value. */
  readonly headers: [string, string][];
  /** The next chunk of the body; undefined at its end. Rejects if the connection breaks. */
  read(): Promise<Uint8Array | undefined>;
  /** Nothing more is read: closes the connection, unless the body has ended. */
  cancel(): void;
}

/** What a host's function returned is no answer: its mistake, not that of the endpoint. */
export class NoAnswer extends Error {}

/** Asks one endpoint. Rejects if it is unreachable, or if the signal aborts. */
export type Ask = (url: string, signal: AbortSignal, call: Call) => Promise<EngineAnswer>;

/** What the client gets: an engine's answer, or a refusal. */
export interface Reply {
  readonly status: number;
  /** Pairs of name and value. */
  readonly headers: [string, string][];
  /** The decision about the endpoint that answers; undefined for a refusal of the gateway. */
  readonly dispatch: Dispatch | undefined;
  /** The usage so far; null for a refusal of the gateway. */
  readonly usage: ReportedUsage | null;
  /** Why the answer is not whole, after its end; undefined if it is, and for a refusal. */
  readonly failure: unknown;
  /** The next chunk for the client; undefined at the end. Rejects where the answer breaks off. */
  next(): Promise<Uint8Array | undefined>;
  /** The client has the whole answer, or has left. Further calls change nothing. */
  end(): void;
}

/** Serves a request. See `Scheduler.forward`. */
export async function exchange(
  scheduler: Scheduler,
  ask: Ask,
  request: HttpRequest,
  options: ForwardOptions,
): Promise<Reply> {
  const {
    attempts = 3, exclude, answersAs, addUsage, connector, bootstrapPort, primaryPort, idleTimeoutMs, expires,
    ...others
  } = options;
  const limit = idleLimit({ idleTimeoutMs });
  const exclusions = exclude === undefined ? [] : numbers('exclude', exclude);
  checkSignal(options.signal);
  checkSignal(expires);
  const stages =
    connector === undefined ? null : { connector, bootstrapPort, primaryPort, roomSalt: randomSalt() };
  const path = String(request.path ?? '');
  const model = optionalString('answersAs', answersAs);
  const addsUsage = optionalBoolean('addUsage', addUsage) ?? false;
  const asking = addsUsage
    ? guarded(() => addUsageTo(readWire('body', request.body), undefined, path))
    : null;
  const asked = asking === null ? request : { ...request, body: asking };
  const native = guarded(() =>
    new NativeExchange(path, number('attempts', attempts), exclusions, stages, model, asking !== null, limit));
  const changes = stages !== null || addsUsage;
  const askEngine: AskEngine = (url, headers, signal) => {
    const body = changes ? native.callBody(path, readWire('body', asked.body)) : undefined;
    return ask(url, signal, { headers: headers as [string, string][], body });
  };
  return new Exchange(scheduler, native, options.signal, expires).run(askEngine, asked, others);
}

/** Rooms of other gateways must differ. */
function randomSalt(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 11) * 2 ** 32 + low;
}

/** Calls an endpoint with the body of the exchange's latest output. */
type AskEngine = (url: string, headers: string[][], signal: AbortSignal) => Promise<EngineAnswer>;

/** A prefill that has not ended. */
interface Prefilling {
  requestId: number;
  attempt: AbortController;
  /** Resolves to the whole answer, or to undefined after a failure. */
  ended: Promise<{ status: number; body: Uint8Array } | undefined>;
}

/** The failed prefill has ended the wait for the other endpoint. */
const SUPERSEDED = Symbol('superseded');

/** The request on its way, and then its reply. It refers to no stream of its client. */
class Exchange implements Reply {
  status = 0;
  headers: [string, string][] = [];
  dispatch: Dispatch | undefined;
  readonly #scheduler: Scheduler;
  readonly #native: NativeExchange;
  readonly #signal: AbortSignal | undefined;
  readonly #idle: Idle;
  readonly #deadline: Deadline;
  readonly #expires: AbortSignal | undefined;
  /** Ends the wait for a decision as soon as one of the two signals aborts. */
  readonly #over: AbortController | undefined;
  readonly #leave = (): void => {
    this.#over?.abort(this.#signal?.reason);
    this.end();
  };
  readonly #expire = (): void => {
    const [answer, reason] = [this.#answer, this.#expires?.reason];
    this.#over?.abort(reason);
    if (this.#hasReplied) {
      this.#close('expired', reason);
      answer?.cancel();
    } else {
      this.end();
    }
  };
  /** Aborts the attempt. */
  #attempt = new AbortController();
  /** Ends the wait for the head of the attempt. */
  #leaveHead: ((reason: unknown) => void) | undefined;
  #answer: EngineAnswer | undefined;
  #dispatched: Dispatch | undefined;
  /** Why the latest answer broke, or ended before its time. */
  #error: unknown;
  #hasReplied = false;
  /** Whether a chunk comes next, and no output. */
  #flows = false;
  #hasEnded = false;
  #prefilling: Prefilling | undefined;
  /** Whether the headers of the endpoint that answers have come. */
  #hasAnswer = false;

  constructor(
    scheduler: Scheduler,
    native: NativeExchange,
    signal: AbortSignal | undefined,
    expires: AbortSignal | undefined,
  ) {
    this.#scheduler = scheduler;
    this.#native = native;
    this.#signal = signal;
    this.#expires = expires;
    const clock = () => scheduler.clock();
    this.#idle = new Idle(native, clock);
    this.#deadline = new Deadline(native, clock, () => this.#answer?.cancel());
    signal?.addEventListener('abort', this.#leave);
    if (expires === undefined) {
      return;
    }
    this.#over = new AbortController();
    expires.addEventListener('abort', this.#expire);
    const aborted = [signal, expires].find((one) => one?.aborted);
    if (aborted !== undefined) {
      this.#over.abort(aborted.reason);
    }
  }

  /** Polls until there is a response for the client. */
  async run(ask: AskEngine, request: HttpRequest, options: AcquireOptions): Promise<Reply> {
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
            this.#hasReplied = true;
            this.status = output.status ?? 0;
            this.headers = output.headers ?? [];
            // From here on, it is always the same.
            this.dispatch = this.#native.hasLease ? this.#dispatched : undefined;
            return this;
          default:
            await this.#read();
        }
        this.#until?.throwIfAborted();
      }
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** Aborts when no reply is awaited any more. */
  get #until(): AbortSignal | undefined {
    return this.#over?.signal ?? this.#signal;
  }

  async #dispatch(request: HttpRequest, options: AcquireOptions): Promise<void> {
    const { native } = this.#scheduler;
    try {
      const exclude = this.#native.excluded;
      const dispatch = await this.#scheduler.decide(request, { ...options, exclude, signal: this.#until });
      const { requestId, endpointId, firstTokenIn, streams } = dispatch;
      this.#dispatched = dispatch;
      this.#input((now) =>
        this.#native.handleDispatch(native, now, requestId, endpointId, firstTokenIn, streams));
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
  #prefill(ask: AskEngine, { requestId = 0, url = '', headers = [] }: ExchangeOutput): void {
    this.#abort();
    const attempt = new AbortController();
    const left = new Promise<undefined>((resolve) => {
      attempt.signal.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    const answer = whole(() => ask(url, headers, attempt.signal), this.#native.prefillAnswer);
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

  async #send(ask: AskEngine, output: ExchangeOutput): Promise<void> {
    this.#abortAnswer();
    this.#error = undefined;
    const attempt = (this.#attempt = new AbortController());
    const left = new Promise<never>((_, reject) => {
      this.#leaveHead = reject;
    });
    left.catch(() => undefined);
    let sent: Promise<EngineAnswer> | undefined;
    let arrived: { answer: EngineAnswer } | typeof SUPERSEDED | undefined;
    try {
      sent = ask(output.url ?? '', output.headers ?? [], attempt.signal);
      const head = Promise.race([sent, left]).then((answer) => ({ answer }));
      arrived = await this.#wait(head);
    } catch (error) {
      if (error instanceof NoAnswer) {
        throw error.cause;
      }
      discard(sent);
      this.#until?.throwIfAborted();
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
    const { status, headers } = (this.#answer = arrived.answer);
    this.#leaveHead = undefined;
    this.#hasAnswer = true;
    guarded(() => this.#native.handleHead(status, headers));
  }

  /** Reads on in the answer. Resolves to a chunk that the client gets as it is. */
  async #read(): Promise<Uint8Array | undefined> {
    if (this.#prefilling !== undefined && !this.#hasAnswer) {
      await this.#awaitPrefill(this.#prefilling);
      return undefined;
    }
    if (this.#hasReplied && this.#prefilling === undefined && this.#answer !== undefined) {
      return this.#readOn(this.#answer);
    }
    let step: { value: Uint8Array | undefined } | typeof SUPERSEDED | undefined;
    try {
      step = await this.#wait(this.#answer?.read().then(boxed) ?? END);
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
    if (step.value === undefined) {
      this.#close('clean', undefined);
      return undefined;
    }
    const chunk = readWire('chunk', step.value);
    const { native } = this.#scheduler;
    const isPassedOn = this.#input((now) => this.#native.handleChunk(native, undefined, now, chunk));
    return isPassedOn ? chunk : undefined;
  }

  /** Reads a chunk after the reply, in one native call. */
  async #readOn(answer: EngineAnswer): Promise<Uint8Array | undefined> {
    this.#flows = false;
    const since = this.#scheduler.clock();
    this.#deadline.start(since);
    let read: Uint8Array | undefined;
    try {
      read = await answer.read();
    } catch (error) {
      this.#endRead('broken', error);
      return undefined;
    }
    this.#deadline.end();
    if (read === undefined) {
      this.#endRead('clean', undefined);
      return undefined;
    }
    const chunk = readWire('chunk', read);
    const { native } = this.#scheduler;
    // What is passed on leaves no output behind, so the next chunk may follow at once.
    this.#flows = this.#input((now) => this.#native.handleChunk(native, since, now, chunk));
    return this.#flows ? chunk : undefined;
  }

  /** The answer has ended, by itself or by the deadline. */
  #endRead(close: CloseReason, error: unknown): void {
    if (this.#deadline.isOver) {
      this.#close('timed_out', this.#idle.error());
    } else {
      this.#close(close, error);
    }
  }

  get failure(): unknown {
    return this.dispatch === undefined ? undefined : this.#error;
  }

  get usage(): ReportedUsage | null {
    return this.#native.usage;
  }

  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const output = this.#flows ? undefined : this.#native.poll();
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
          if (!this.#flows && this.#native.ended) {
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
    this.#deadline.close();
    if (this.#hasEnded || this.#native.ended) {
      return;
    }
    const { native } = this.#scheduler;
    const isWhole = this.#input((now) => this.#native.handleClose(native, now, close));
    this.#error = isWhole ? undefined : (error ?? new Error('the engine did not finish its answer'));
  }

  end(): void {
    this.#hasEnded = true;
    this.#signal?.removeEventListener('abort', this.#leave);
    this.#expires?.removeEventListener('abort', this.#expire);
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
    this.#flows = false;
    this.#deadline.close();
    this.#answer?.cancel();
    this.#answer = undefined;
    this.#leaveHead?.(this.#signal?.reason);
    this.#leaveHead = undefined;
    this.#attempt.abort(this.#signal?.reason ?? OVER);
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
  ask: () => Promise<EngineAnswer>,
  limit: number,
): Promise<{ status: number; body: Uint8Array }> {
  const answer = await ask();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let chunk = await answer.read(); chunk !== undefined; chunk = await answer.read()) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > limit) {
      answer.cancel();
      throw new Error('the answer to the prefill is too long');
    }
  }
  return { status: answer.status, body: Buffer.concat(chunks) };
}

/** Of an answer that comes too late, nothing is read. */
function discard(sent: Promise<EngineAnswer> | undefined): void {
  Promise.resolve(sent).then((late) => late?.cancel()).catch(() => undefined);
}

/** A chunk may be undefined, and so may a step that took too long. */
const boxed = (value: Uint8Array | undefined) => ({ value });

/** Why an attempt has ended. Made once: each error of `abort` has a trace, which costs much. */
const OVER = new DOMException('This operation was aborted', 'AbortError');

/** The end of a body that does not exist. */
const END = Promise.resolve({ value: undefined });
