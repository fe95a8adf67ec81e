/// <reference lib="esnext.disposable" preserve="true" />
/**
 * A dispatched request, until its one end: I/O around the gateway crate's state machine.
 *
 * ```text
 *  dispatched ──firstToken──► running ──complete / fail / cancel / finish──► ended
 *     │ ▲                                                                     ▲
 *     │ └ redirect                                                            │
 *     └──────────complete / fail / cancel / finish / dispose──────────────────┘
 * ```
 *
 * The chapter "Leases" of the manual lists what each call does in each state. Python's leases have
 * the same states.
 */
import { NativeLease } from '../native/index.js';
import { guarded } from './errors.js';
import { abandonedLeases, type LeaseRecord } from './finalization.js';
import { readWire } from './prompt.js';
import { readUsage, type Usage } from './reports.js';
import type { Failure } from './request.js';
import { unpacked, type Answer, type CloseReason, type Outcome, type Progress } from './response.js';
import type { Scheduler } from './scheduler.js';
import { readIdle, track, type TrackOptions } from './stream.js';
import { checkEndpointId, number, string } from './validate.js';
import type { Dispatch } from './values.js';
import { warnOnce } from './warn_once.js';

/**
 * A reservation on an endpoint. Only the first call to `complete`, `fail`, `cancel` or `finish`
 * takes effect. If such a call throws because of its arguments, the lease stays open.
 *
 * A lease that is never ended keeps its reservation until it is garbage collected. Then its request
 * is cancelled, and the process warns once.
 *
 * ```ts
 * using lease = await scheduler.acquire(prompt, { model });
 * const response = await fetch(lease.endpointName + path, { method: 'POST', body });
 * lease.begin(response.status, response.headers.get('content-type'));
 * return lease.track(response.body);
 * ```
 */
export class Lease {
  /** The decision that it comes from. */
  readonly dispatch: Dispatch;
  /** The usage that `complete` reports without an argument. */
  usage: Usage = {};
  readonly #scheduler: Scheduler;
  readonly #native: NativeLease;
  /** What the finalizer needs. It does not refer to the lease. */
  readonly #record: LeaseRecord;
  #reader: Answer | null = null;
  #outcome: Outcome | null = null;

  private constructor(scheduler: Scheduler, dispatch: Dispatch) {
    const { requestId, endpointId, firstTokenIn, streams } = dispatch;
    this.#scheduler = scheduler;
    this.dispatch = dispatch;
    this.#native = guarded(() =>
      new NativeLease(scheduler.native, requestId, endpointId, firstTokenIn, streams));
    this.#record = { scheduler, native: this.#native, requestId, tracked: false };
    abandonedLeases.register(this, this.#record, this.#record);
  }

  /** @internal */
  static of(scheduler: Scheduler, dispatch: Dispatch): Lease {
    return new Lease(scheduler, dispatch);
  }

  /** The id of the request. */
  get requestId(): number {
    return this.dispatch.requestId;
  }

  /** The id of the endpoint that has the request, or had it last. A redirect changes it. */
  get endpointId(): number {
    return this.#native.locate();
  }

  /** The name of that endpoint. */
  get endpointName(): string {
    return this.#native.locateName();
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return this.#native.ended;
  }

  /** The same as `ended`. */
  get over(): boolean {
    return this.ended;
  }

  /** The first token arrived. A second call changes nothing, nor does one after the end. */
  firstToken(): void {
    this.#call((native, now) => native.firstToken(now));
  }

  /**
   * The answer grew by `count` tokens. Optional: makes the accounting of long answers more exact.
   */
  tokens(count: number): void {
    const tokens = this.#isOpen() ? number('tokens', count) : 0;
    this.#call((native, now) => native.tokens(now, tokens));
  }

  /**
   * The answer is complete. Returns whether this call ended the lease, as `fail` and `cancel` do.
   * Implausible token counts are dropped, with one warning.
   */
  complete(usage: Usage | null = this.usage): boolean {
    if (!this.#isOpen()) {
      return false;
    }
    const { promptTokens, cachedTokens, completionTokens } = readUsage(usage ?? this.usage);
    const { ended, implausible, values } = this.#call((native, now) =>
      native.complete(now, promptTokens, cachedTokens, completionTokens));
    implausible.forEach((field, at) =>
      warnOnce(
        `usage.${field}`,
        `usage.${field} must be a number of tokens, got ${values[at]}: it is left out`,
      ));
    return ended;
  }

  /** The request failed at its endpoint. Default: `'engine'`. */
  fail(failure: Failure = 'engine'): boolean {
    if (!this.#isOpen()) {
      return false;
    }
    const why = string('failure', failure);
    return this.#call((native, now) => native.fail(now, why));
  }

  /** The client disconnected. */
  cancel(): boolean {
    this.#scheduler.forget(this.requestId);
    return this.#call((native, now) => native.cancel(now));
  }

  /**
   * The endpoint responds with this status and `Content-Type`: `feed` reads the body from now on. A
   * second call starts anew, with the answer of the next endpoint. Does nothing after the end.
   */
  begin(status: number, contentType: string | null = null): void {
    const code = number('status', status);
    const type = contentType === null ? '' : string('contentType', contentType);
    guarded(() => this.#native.begin(code, type));
    if (this.#isOpen()) {
      this.#reader = new LeaseAnswer(this.#native);
    }
  }

  /**
   * Reads a chunk of the answer's body, and records its first token and its tokens. Does nothing
   * after the end. Throws a `NotBegunError` before `begin`.
   */
  feed(chunk: Uint8Array): Progress {
    return this.#call((native, now) => {
      const bytes = this.#reads() ? readWire('chunk', chunk) : EMPTY;
      return unpacked(native.feed(now, bytes));
    });
  }

  /**
   * The answer's body has ended: ends the lease as the answer ended, and returns how. Throws a
   * `NotBegunError` before `begin`: without any answer, `fail` or `cancel` the lease.
   */
  finish(close: CloseReason = 'clean'): Outcome {
    this.#outcome ??= this.#call((native, now) => {
      const how = this.#reader === null ? 'clean' : string('close', close);
      return native.finish(now, how);
    });
    return this.#outcome;
  }

  /** The answer so far; null before `begin`. */
  get answer(): Answer | null {
    return this.#reader;
  }

  /** The same as `answer`. */
  get reader(): Answer | null {
    return this.#reader;
  }

  /** How the answer ended; null before `finish`. */
  get outcome(): Outcome | null {
    return (this.#outcome ??= this.#native.outcome);
  }

  /**
   * The request went to another endpoint, say the first of the alternatives after a refused
   * connection. Throws a `RedirectError` after the first token and after the end.
   */
  redirect(endpointId: number, failure: Failure = 'unreachable'): void {
    const [to, how] = [checkEndpointId('endpointId', endpointId), string('failure', failure)];
    this.#call((native, now) => native.redirect(now, to, how));
  }

  /** Ends it as `cancel` does, or as its answer did, for `using`. A tracked lease stays open. */
  [Symbol.dispose](): void {
    if (!this.#record.tracked) {
      this.close('client_disconnected');
    }
  }

  /**
   * Passes an answer's stream on and follows it. After `begin`, each chunk is fed and the end is
   * `finish`. Without it, the first chunk is the first token, the end completes the request, an
   * error fails it, and a reader that stops or drops the stream cancels it. Returns the same kind
   * of stream.
   *
   * If the endpoint sends no token within `idleTimeoutMs`, the request fails with `'timeout'`, the
   * source is closed, and the stream errors with an `IdleTimeoutError`.
   */
  track<T>(stream: ReadableStream<T>, options?: TrackOptions): ReadableStream<T>;
  track<T>(stream: AsyncIterable<T>, options?: TrackOptions): AsyncIterableIterator<T>;
  track<T>(
    stream: ReadableStream<T> | AsyncIterable<T>,
    options: TrackOptions = {},
  ): ReadableStream<T> | AsyncIterableIterator<T> {
    const idle = readIdle(this.#native, () => this.#scheduler.clock(), options);
    const tracked = track(this, stream, idle);
    this.#record.tracked = true;
    return tracked;
  }

  /** @internal A chunk passes on its way to the client. */
  pass(chunk: unknown): void {
    this.#call((native, now) => {
      const bytes = this.#reads() ? bytesOf(chunk) : EMPTY;
      native.pass(now, bytes);
    });
  }

  /** @internal The stream ended, or the host gave it up. */
  close(close: CloseReason): void {
    this.#call((native, now) => native.close(now, close));
  }

  /** Whether arguments count: after the end they are not even validated. */
  #isOpen(): boolean {
    return !this.ended && !this.#scheduler.closed;
  }

  /** Whether a chunk's bytes are read. */
  #reads(): boolean {
    return this.#isOpen() && this.#reader !== null;
  }

  /** Calls the state machine, then delivers what that changed. */
  #call<T>(call: (native: NativeLease, now: number) => T): T {
    const now = this.#scheduler.clock();
    try {
      return guarded(() => call(this.#native, now));
    } finally {
      if (this.ended) {
        abandonedLeases.unregister(this.#record);
      }
      this.#scheduler.wakeAt(now);
    }
  }
}

/** The answer of a lease so far. */
class LeaseAnswer implements Answer {
  readonly #native: NativeLease;

  constructor(native: NativeLease) {
    this.#native = native;
  }

  get begun(): boolean {
    return this.#native.begun;
  }

  get tokens(): number {
    return this.#native.answerTokens;
  }

  get exact(): boolean {
    return this.#native.exact;
  }

  get usage(): Usage {
    return this.#native.usage;
  }

  get finishReason(): Outcome['finishReason'] {
    return this.#native.finishReason;
  }
}

/** The bytes of a chunk. Text has been decoded, so it is encoded again. */
function bytesOf(chunk: unknown): Uint8Array {
  return readWire('chunk', typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
}

const EMPTY = new Uint8Array(0);
