/// <reference lib="esnext.disposable" preserve="true" />
/**
 * A request that goes, from its dispatch to its one end.
 *
 * ```text
 *  pending ──firstToken──► running ──complete / fail / cancel──► ended
 *     │ ▲                                                          ▲
 *     │ └ redirect                                                 │
 *     └──────────complete / fail / cancel / dispose────────────────┘
 * ```
 *
 * The chapter "Leases" of the manual has the table of what each call does in each state. Python's leases are the same.
 */
import type { Dispatch } from './values.js';
import { NotBegunError, RedirectError, UnknownRequestError } from './errors.js';
import { forgotten, type Forgotten } from './finalization.js';
import { possibleUsage, readUsage, type Usage } from './reports.js';
import type { Failure } from './request.js';
import { ResponseReader, type Answer, type CloseReason, type Outcome, type Progress } from './response.js';
import type { Scheduler } from './scheduler.js';
import { readIdle, track, type TrackOptions } from './stream.js';

const NO_PROGRESS: Progress = Object.freeze({ firstToken: false, tokens: 0, ended: false });

/**
 * A reservation on an endpoint. It ends once: the first end counts, and later ones do nothing. A lease that is never ended keeps
 * its endpoint busy until it is garbage collected: then it is cancelled, and the process warns once.
 */
export class Lease {
  /** The decision that it comes from. */
  readonly dispatch: Dispatch;
  /** What the engine said that the request used, for a `complete` that is not told. */
  usage: Usage = {};
  readonly #scheduler: Scheduler;
  /** What is left to do if the lease is forgotten. It does not refer to the lease. */
  readonly #account: Forgotten;
  #endpoint: number;
  #name: string;
  #reader: ResponseReader | null = null;
  #outcome: Outcome | null = null;

  private constructor(scheduler: Scheduler, dispatch: Dispatch) {
    this.#scheduler = scheduler;
    this.dispatch = dispatch;
    this.#endpoint = dispatch.endpointId;
    this.#name = dispatch.endpointName;
    this.#account = { scheduler, request: dispatch.requestId, ended: false, tracked: false };
    forgotten.register(this, this.#account, this.#account);
  }

  /** @internal */
  static of(scheduler: Scheduler, dispatch: Dispatch): Lease {
    return new Lease(scheduler, dispatch);
  }

  /** The number of the request. */
  get requestId(): number {
    return this.dispatch.requestId;
  }

  /** The endpoint that has the request, or had it last. A redirect changes it. */
  get endpointId(): number {
    this.#locate();
    return this.#endpoint;
  }

  /** The name of that endpoint. */
  get endpointName(): string {
    this.#locate();
    return this.#name;
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return this.#account.ended;
  }

  /** The same as `ended`. */
  get over(): boolean {
    return this.ended;
  }

  /** The first token arrived. Saying so again changes nothing, nor does it after the end. */
  firstToken(): void {
    if (this.#live()) {
      this.#tell(() => this.#scheduler.handleFirstToken(this.requestId));
    }
  }

  /** The answer grew by so many tokens. Optional: it makes the account of long answers more exact. */
  tokens(count: number): void {
    if (this.#live()) {
      this.#tell(() => this.#scheduler.handleTokens(this.requestId, count));
    }
  }

  /**
   * It is done. Returns whether this call ended it, as the other ends do. Numbers that no engine can mean are left out, with one
   * warning.
   */
  complete(usage: Usage | null = this.usage): boolean {
    return this.#end(() => this.#scheduler.complete(this.requestId, possibleUsage(readUsage(usage ?? this.usage))));
  }

  /** It failed, through no fault of the client's. `'engine'` unless told. */
  fail(failure: Failure = 'engine'): boolean {
    return this.#end(() => this.#scheduler.fail(this.requestId, failure));
  }

  /** The client went away. */
  cancel(): boolean {
    let was = false;
    return this.#end(() => (was = this.#scheduler.cancel(this.requestId))) && was;
  }

  /**
   * The endpoint answers, with this status and `Content-Type`: from now on the lease can be fed. Called again, with the next
   * endpoint's answer, it begins anew. After the end it does nothing.
   */
  begin(status: number, contentType: string | null = null): void {
    const reader = new ResponseReader(status, contentType);
    if (this.#live()) {
      this.#reader = reader;
    }
  }

  /**
   * A chunk of the answer's body: its first token and its tokens go to the scheduler. Feeding a lease that has ended does nothing.
   * Throws a `NotBegunError` before `begin`.
   */
  feed(chunk: Uint8Array): Progress {
    if (!this.#live()) {
      return NO_PROGRESS;
    }
    const reader = this.#begun();
    return this.#tell(() => this.#scheduler.readAnswer(this.requestId, reader, chunk)) ?? NO_PROGRESS;
  }

  /**
   * Nothing more comes: ends the lease as the answer did, unless it has ended, and returns how the answer ended. Throws a
   * `NotBegunError` before `begin`: without any answer, `fail` or `cancel` it.
   */
  finish(close: CloseReason = 'clean'): Outcome {
    const reader = this.#begun();
    if (this.#outcome === null) {
      let outcome: Outcome | undefined;
      this.#end(() => {
        outcome = this.#scheduler.settle(this.requestId, reader, close);
      });
      this.#outcome = outcome ?? reader.finish(close);
    }
    return this.#outcome;
  }

  /** What is known of the answer so far; null before it has begun. */
  get answer(): Answer | null {
    return this.#reader;
  }

  /** The same as `answer`. */
  get reader(): Answer | null {
    return this.#reader;
  }

  /** How the answer ended; null before `finish`. */
  get outcome(): Outcome | null {
    return this.#outcome;
  }

  /** It goes to another endpoint, say the first of the alternatives after a refused connection. Not after a first token. */
  redirect(endpoint: number, failure: Failure = 'unreachable'): void {
    try {
      this.#scheduler.redirect(this.requestId, endpoint, undefined, failure);
    } catch (error) {
      if (error instanceof RedirectError && error.code === 'unknown_request') {
        this.#over();
      }
      throw error;
    }
    this.#locate();
  }

  /** Cancels it, unless it has ended, or what it was fed is a whole answer: for `using`. A tracked lease ends with its stream. */
  [Symbol.dispose](): void {
    if (!this.#account.tracked) {
      this.left('client_disconnected');
    }
  }

  /**
   * Passes an answer's stream on and follows it. If the answer has begun (`begin`), it is read on its way: `feed` for each chunk and
   * `finish` at its end, with all that they tell. If not, its first chunk is the first token, its end completes the request, an
   * error fails it, and a reader that goes away, or drops the stream unread, cancels it. Returns the same kind of stream.
   *
   * An endpoint that sends no first token, or no further one, within `idleTimeoutMs` is given up: the request fails with
   * `'timeout'`, the source is closed, and the stream errors with an `IdleTimeoutError`.
   */
  track<T>(stream: ReadableStream<T>, options?: TrackOptions): ReadableStream<T>;
  track<T>(stream: AsyncIterable<T>, options?: TrackOptions): AsyncIterableIterator<T>;
  track<T>(
    stream: ReadableStream<T> | AsyncIterable<T>,
    options: TrackOptions = {},
  ): ReadableStream<T> | AsyncIterableIterator<T> {
    const idle = readIdle(this.dispatch, () => this.#scheduler.clock(), options);
    const tracked = track(this, stream, idle);
    this.#account.tracked = true;
    return tracked;
  }

  /** @internal A chunk went by. Whether it brought a token, as far as that can be told. */
  passed(chunk: unknown): boolean {
    if (this.#reader === null) {
      this.firstToken();
      return true;
    }
    // Text has been decoded, so it is encoded again.
    const progress = this.feed(typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Uint8Array));
    // Comments and empty events keep a connection open, but they are no tokens.
    return progress.firstToken || progress.tokens > 0 || !this.#reader.isStream;
  }

  /** @internal The endpoint was given up. Whether the answer is whole, and only its connection did not end. */
  timedOut(): boolean {
    this.left('timed_out');
    return this.#outcome?.complete ?? false;
  }

  /** @internal The stream that is followed came to its end. */
  left(close: CloseReason): void {
    if (!this.#live()) {
      return;
    }
    if (this.#reader !== null) {
      this.finish(close);
    } else if (close === 'clean') {
      this.complete();
    } else if (close === 'broken') {
      this.fail('engine');
    } else if (close === 'timed_out') {
      this.fail('timeout');
    } else {
      this.cancel();
    }
  }

  #begun(): ResponseReader {
    if (this.#reader === null) {
      throw new NotBegunError('the answer has not begun: call begin first', 'not_begun');
    }
    return this.#reader;
  }

  #live(): boolean {
    return !this.#account.ended && !this.#scheduler.closed;
  }

  /** Where the request is now; where it was, once it is over. */
  #locate(): void {
    const endpoint = this.#live() ? this.#scheduler.endpointOf(this.requestId) : null;
    if (endpoint !== null && endpoint !== this.#endpoint) {
      this.#endpoint = endpoint;
      this.#name = this.#scheduler.nameOf(endpoint);
    }
  }

  /** Tells the scheduler something of the request; undefined if it was ended behind the lease's back. */
  #tell<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      if (error instanceof UnknownRequestError) {
        this.#over();
        return undefined;
      }
      throw error;
    }
  }

  /** Ends it unless it has ended: whether this call did. An end that throws, because of what it was given, is none. */
  #end(end: () => unknown): boolean {
    if (!this.#live()) {
      return false;
    }
    this.#tell(end);
    // By now it may have been found to be over: then this call ended nothing.
    const ended = !this.#account.ended;
    this.#over();
    return ended;
  }

  #over(): void {
    this.#account.ended = true;
    forgotten.unregister(this.#account);
  }
}
