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
import type { ExchangeOutput, NativeExchange, Outcome, ReportedUsage } from '../native/index.js';
import { Abort, type Signal } from './abort.js';
import { NoAnswer, REPLY_HEADERS, type EngineAnswer, type Reply } from './engine_answer.js';
import { Deadline } from './deadline.js';
import { guarded, RejectedError } from './errors.js';
import { pairsOf } from './headers.js';
import { discard, prefilling, type Prefilling } from './prefill.js';
import { readWire, type OwnBytes } from './prompt.js';
import { refused } from './refused.js';
import type { AcquireOptions, Failure, HttpRequest } from './request.js';
import type { CloseReason } from './response.js';
import type { Scheduler } from './scheduler.js';
import { Idle } from './stream.js';
import type { Dispatch } from './values.js';

type DecideOptions = Omit<AcquireOptions, 'signal'> & { signal?: Signal | undefined };

/** Calls an endpoint with the body of the exchange's latest output. */
export type AskEngine = (url: string, headers: string[][], attempt: Abort) => Promise<EngineAnswer>;

/** The failed prefill has ended the wait for the other endpoint. */
const SUPERSEDED = Symbol('superseded');

/** The request on its way, and then its reply. It refers to no stream of its client. */
export class Exchange implements Reply {
  status = 0;
  headers: [string, string][] = [];
  dispatch: Dispatch | undefined;
  readonly #scheduler: Scheduler;
  readonly #native: NativeExchange;
  readonly #signal: Signal | undefined;
  readonly #deadline: Deadline;
  readonly #expires: Signal | undefined;
  /** Ends the wait for a decision as soon as one of the two signals aborts. */
  readonly #over: Abort | undefined;
  /** Of stages with endpoints of their own. */
  #idle: Idle | undefined;
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
  /** The attempt whose answer has not ended. */
  #attempt: Abort | undefined;
  /** Ends the wait for the head of the attempt. */
  #leaveHead: ((reason: unknown) => void) | undefined;
  #answer: EngineAnswer | undefined;
  /** The answer's status, and its headers that may reach the client: names and values in turn. */
  #head: readonly [number, readonly string[]] = [0, []];
  #dispatched: Dispatch | undefined;
  /** Why the latest answer broke, or ended before its time. */
  #error: unknown;
  #hasReplied = false;
  /** The next output; null if an input comes first, and undefined if it must be polled. */
  #next: ExchangeOutput | null | undefined = FIRST;
  #hasEnded = false;
  #prefilling: Prefilling | undefined;
  /** Whether the headers of the endpoint that answers have come. */
  #hasAnswer = false;
  /** The first bytes of the reply, if they came with its head. */
  #first: Uint8Array | undefined;
  /** The reply has ended, and no input changes anything. */
  #isOver = false;
  /** An answer has ended, so the exchange may have. */
  #mayHaveEnded = false;

  constructor(
    scheduler: Scheduler,
    native: NativeExchange,
    signal: Signal | undefined,
    expires: Signal | undefined,
  ) {
    this.#scheduler = scheduler;
    this.#native = native;
    this.#signal = signal;
    this.#expires = expires;
    this.#deadline = new Deadline(native, scheduler, () => this.#late());
    signal?.addEventListener('abort', this.#leave);
    if (expires === undefined) {
      return;
    }
    this.#over = new Abort();
    expires.addEventListener('abort', this.#expire);
    const aborted = [signal, expires].find((one) => one?.aborted);
    if (aborted !== undefined) {
      this.#over.abort(aborted.reason);
    }
  }

  /** Polls until there is a response for the client. */
  async run(ask: AskEngine, request: HttpRequest, options: DecideOptions): Promise<Reply> {
    const until = this.#over ?? this.#signal;
    options.signal = until;
    try {
      for (;;) {
        const output = this.#take();
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
            this.#reply(output);
            return this;
          default:
            await this.#read();
        }
        until?.throwIfAborted();
      }
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** The next output, unless an input comes first. */
  #take(): ExchangeOutput | null {
    const output = this.#next === undefined ? this.#native.poll() : this.#next;
    // What is polled last was the last one.
    this.#next = output === null ? null : undefined;
    return output;
  }

  #reply({ status = 0, headers = [], isAnswer = false, body, more = false }: ExchangeOutput): void {
    this.#hasReplied = true;
    this.status = status;
    this.headers = headers;
    // From here on, it is always the same.
    this.dispatch = isAnswer ? this.#dispatched : undefined;
    this.#first = body;
    this.#next = more ? undefined : null;
  }

  async #dispatch(request: HttpRequest, options: DecideOptions): Promise<void> {
    try {
      if (this.#dispatched !== undefined) {
        options.exclude = this.#native.excluded;
      }
      const decided = this.#scheduler.decide(request, options);
      const dispatch = decided instanceof Promise ? await decided : decided;
      const { requestId, endpointId, firstTokenIn, streams } = dispatch;
      this.#dispatched = dispatch;
      const next = this.#input((now) =>
        this.#native.handleDispatch(now, requestId, endpointId, firstTokenIn, streams));
      this.#next = typeof next === 'object' ? next : next ? { kind: 'send', url: dispatch.endpointName } : null;
    } catch (error) {
      if (!(error instanceof RejectedError)) {
        throw error;
      }
      const { code, evicted, retryAfterMs, sentence } = refused(error);
      this.#input((now) =>
        this.#native.handleRefusal(now, code, evicted, retryAfterMs, sentence));
    }
  }

  /** Sends the request to the prefilling endpoint. */
  #prefill(ask: AskEngine, { requestId = 0, url = '', headers = [] }: ExchangeOutput): void {
    this.#abort();
    this.#prefilling = prefilling(requestId, (attempt) => ask(url, headers, attempt), this.#native.prefillAnswer);
  }

  /** Waits for the prefill, before which the endpoint is not asked. */
  async #awaitPrefill({ requestId, attempt, ended }: Prefilling): Promise<void> {
    const step = await this.#waits.wait(ended.then((answer) => ({ answer })));
    if (step !== undefined) {
      this.#endPrefill(requestId, step.answer);
      return;
    }
    attempt.abort();
    this.#prefilling = undefined;
    this.#input((now) => this.#native.handlePrefillFailure(now, requestId, 'timeout'));
  }

  #endPrefill(requestId: number, answer: { status: number; body: Uint8Array } | undefined): void {
    this.#prefilling = undefined;
    this.#input((now) => {
      if (answer === undefined) {
        this.#native.handlePrefillFailure(now, requestId, 'unreachable');
      } else {
        this.#native.handlePrefilled(now, requestId, answer.status, answer.body);
      }
    });
  }

  /** Waits for stages, whose limit is the exchange's. */
  get #waits(): Idle {
    return (this.#idle ??= new Idle(this.#native, () => this.#scheduler.clock()));
  }

  /**
   * Waits for the endpoint, and reports the end of the prefill meanwhile. Resolves to undefined
   * after the idle limit.
   */
  async #wait<T>(step: Promise<T>): Promise<T | typeof SUPERSEDED | undefined> {
    const value = step.then((value) => ({ value }));
    while (this.#prefilling !== undefined) {
      const { requestId, ended }: Prefilling = this.#prefilling;
      const prefill = ended.then((answer) => ({ answer }));
      const first = await this.#waits.wait(Promise.race([value, prefill]));
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
    return (await this.#waits.wait(value))?.value;
  }

  async #send(ask: AskEngine, { url = '', headers: own = [] }: ExchangeOutput): Promise<void> {
    this.#abortAnswer();
    this.#error = undefined;
    const attempt = (this.#attempt = new Abort());
    const since = this.#scheduler.clock();
    const staged = this.#prefilling !== undefined;
    let sent: Promise<EngineAnswer> | undefined;
    let arrived: { answer: EngineAnswer } | typeof SUPERSEDED | undefined;
    try {
      sent = ask(url, own, attempt);
      const head = this.#headOf(sent);
      if (staged) {
        arrived = await this.#wait(head);
      } else {
        this.#deadline.start(since, true);
        arrived = await head;
        this.#deadline.end();
      }
    } catch (error) {
      this.#deadline.end();
      if (error instanceof NoAnswer) {
        throw error.cause;
      }
      discard(sent);
      (this.#over ?? this.#signal)?.throwIfAborted();
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
    this.#answer = arrived.answer;
    this.#leaveHead = undefined;
    this.#hasAnswer = true;
    const { status, headers: given } = arrived.answer;
    const now = this.#scheduler.clock();
    const headers = given.of(REPLY_HEADERS);
    this.#head = [status, headers];
    guarded(() => this.#native.handleHead(staged ? undefined : since, now, status, headers));
    this.#next = null;
  }

  /** The head of an answer; undefined if the wait for it takes too long. */
  #headOf(sent: Promise<EngineAnswer>): Promise<{ answer: EngineAnswer } | undefined> {
    return new Promise((resolve, reject) => {
      this.#leaveHead = (reason) => (reason === LATE ? resolve(undefined) : reject(reason));
      sent.then((answer) => resolve({ answer }), reject);
    });
  }

  /** The endpoint has taken too long. */
  #late(): void {
    this.#leaveHead?.(LATE);
    this.#answer?.cancel();
  }

  /** Reads on in the answer. Resolves to a chunk that the client gets as it is. */
  async #read(): Promise<Uint8Array | undefined> {
    this.#next = undefined;
    if (this.#prefilling !== undefined) {
      if (this.#hasAnswer) {
        return this.#readStaged();
      }
      await this.#awaitPrefill(this.#prefilling);
      return undefined;
    }
    const since = this.#scheduler.clock();
    this.#deadline.start(since);
    let read: Uint8Array | undefined;
    try {
      read = await this.#answer?.read();
    } catch (error) {
      this.#endRead('broken', error);
      return undefined;
    }
    this.#deadline.end();
    if (read === undefined) {
      this.#endRead('clean', undefined);
      return undefined;
    }
    return this.#chunk(since, read);
  }

  /** Reads on while the prefill has not ended. */
  async #readStaged(): Promise<Uint8Array | undefined> {
    let step: { value: Uint8Array | undefined } | typeof SUPERSEDED | undefined;
    try {
      step = await this.#wait(boxed(this.#answer));
    } catch (error) {
      this.#close('broken', error);
      return undefined;
    }
    if (step === SUPERSEDED) {
      return undefined;
    }
    if (step === undefined) {
      this.#close('timed_out', this.#waits.error());
    } else if (step.value === undefined) {
      this.#close('clean', undefined);
    } else {
      return this.#chunk(undefined, step.value);
    }
    return undefined;
  }

  /** Hands a chunk in. Returns it if the client gets it as it is. */
  #chunk(since: number | undefined, read: Uint8Array): Uint8Array | undefined {
    const chunk = readWire('chunk', read);
    const next = this.#input((now) => this.#native.handleChunk(since, now, chunk));
    this.#next = typeof next === 'object' ? next : next === BEGINS ? this.#begin(chunk) : null;
    return next === PASSED_ON ? chunk : undefined;
  }

  /** The reply with the head of the engine's answer, and its first chunk. */
  #begin(chunk: Uint8Array): ExchangeOutput {
    const [status, headers] = this.#head;
    return { kind: 'reply', status, headers: pairsOf(headers), isAnswer: true, body: chunk as OwnBytes };
  }

  /** The answer has ended, by itself or by the deadline. */
  #endRead(close: CloseReason, error: unknown): void {
    if (this.#deadline.isOver) {
      this.#close('timed_out', this.#waits.error());
    } else {
      this.#close(close, error);
    }
  }

  get failure(): unknown {
    return this.dispatch === undefined ? undefined : this.#error;
  }

  get outcome(): Outcome | null {
    return this.#native.outcome;
  }

  get usage(): ReportedUsage | null {
    return this.#native.usage;
  }

  async next(): Promise<Uint8Array | undefined> {
    const first = this.#first;
    if (first !== undefined) {
      this.#first = undefined;
      return first;
    }
    for (;;) {
      const output = this.#take();
      switch (output?.kind) {
        case 'body':
          return output.body;
        case 'end':
          this.#isOver = true;
          this.#next = null;
          return undefined;
        case 'break':
          this.#isOver = true;
          throw this.#error;
        case 'abort':
          this.#abort();
          break;
        default: {
          if (this.#isOver || this.#hasEnded || (this.#mayHaveEnded && this.#native.ended)) {
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
    this.#input((now) => this.#native.handleUnreachable(now, failure));
  }

  #close(close: CloseReason, error: unknown): void {
    this.#deadline.close();
    if (close === 'clean') {
      this.#attempt = undefined;
    }
    if (this.#hasEnded || this.#isOver || (this.#mayHaveEnded && this.#native.ended)) {
      return;
    }
    this.#mayHaveEnded = true;
    this.#isOver = this.#input((now) => this.#native.handleClose(now, close));
    // Nothing is left to poll.
    this.#next = this.#isOver ? null : this.#next;
    const isWhole = this.#isOver || this.#native.isWhole;
    this.#error = isWhole ? undefined : (error ?? new Error('the engine did not finish its answer'));
  }

  end(): void {
    this.#hasEnded = true;
    this.#signal?.removeEventListener('abort', this.#leave);
    this.#expires?.removeEventListener('abort', this.#expire);
    const { closed } = this.#scheduler;
    if (!closed && !this.#isOver && !this.#native.ended) {
      this.#input((now) => this.#native.handleClientDisconnected(now));
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
    this.#deadline.close();
    this.#answer?.cancel();
    this.#answer = undefined;
    this.#leaveHead?.(this.#signal?.reason);
    this.#leaveHead = undefined;
    this.#attempt?.abort(this.#signal?.reason);
    this.#attempt = undefined;
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

/** The next chunk of an answer, which may be undefined, and so may a step that took too long. */
async function boxed(answer: EngineAnswer | undefined): Promise<{ value: Uint8Array | undefined }> {
  return { value: await answer?.read() };
}

/** What a chunk of an answer may be, beside another output. */
const [PASSED_ON, BEGINS] = [1, 2];

/** What an exchange begins with. */
const FIRST: ExchangeOutput = { kind: 'dispatch' };

/** The wait for a head has ended because of the idle limit. */
const LATE = Symbol('late');
