/// <reference lib="esnext.disposable" preserve="true" />
/**
 * A request that goes, from its dispatch to its one end.
 *
 * ```text
 *  pending ──firstToken──► running ──complete / fail / cancel──► over
 *     │ ▲                                                          ▲
 *     │ └ redirect                                                 │
 *     └──────────complete / fail / cancel / dispose────────────────┘
 * ```
 */
import type { Dispatch } from './answers.js';
import { SlotwiseError } from './errors.js';
import type { Failure, Usage } from './options.js';
import { ResponseReader, type Answer, type Close, type Outcome, type Progress } from './response.js';
import type { Scheduler } from './scheduler.js';
import { trackIterable, trackStream } from './track.js';

const NO_PROGRESS: Progress = Object.freeze({ firstToken: false, tokens: 0, ended: false });

/**
 * A reservation on an endpoint. It ends once: the first end counts, and later ones do nothing. One that never ends keeps
 * its endpoint busy for ever.
 */
export class Lease {
  /** The decision that it comes from. */
  readonly dispatch: Dispatch;
  readonly #scheduler: Scheduler;
  #endpoint: number;
  #name: string;
  #over = false;
  #reader: ResponseReader | null = null;
  #outcome: Outcome | null = null;

  private constructor(scheduler: Scheduler, dispatch: Dispatch) {
    this.#scheduler = scheduler;
    this.dispatch = dispatch;
    this.#endpoint = dispatch.endpoint;
    this.#name = dispatch.name;
  }

  /** @internal */
  static of(scheduler: Scheduler, dispatch: Dispatch): Lease {
    return new Lease(scheduler, dispatch);
  }

  /** The number of the request. */
  get request(): number {
    return this.dispatch.request;
  }

  /** Where it goes, also after a redirect. */
  get endpoint(): number {
    return this.#endpoint;
  }

  /** The name of that endpoint. */
  get name(): string {
    return this.#name;
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#over;
  }

  /** The first token arrived. Saying so again changes nothing, nor does it after the end. */
  firstToken(): void {
    if (this.#live()) {
      this.#scheduler.handleFirstToken(this.request);
    }
  }

  /** The answer grew by so many tokens. Optional: it makes the account of long answers more exact. */
  tokens(count: number): void {
    if (this.#live()) {
      this.#scheduler.handleTokens(this.request, count);
    }
  }

  /** It is done. Returns whether this call ended it, as the other ends do. */
  complete(usage?: Usage): boolean {
    return this.#end(() => this.#scheduler.complete(this.request, usage));
  }

  /** It failed, through no fault of the client's. `'engine'` unless told. */
  fail(failure: Failure = 'engine'): boolean {
    return this.#end(() => this.#scheduler.fail(this.request, failure));
  }

  /** The client went away. */
  cancel(): boolean {
    return this.#end(() => this.#scheduler.cancel(this.request));
  }

  /**
   * The endpoint answers, with this status and `Content-Type`: from now on the lease can be fed. Said again, of the next endpoint's answer,
   * it begins anew.
   */
  begin(status: number, contentType: string | null = null): void {
    const reader = new ResponseReader(status, contentType);
    if (this.#outcome === null) {
      this.#reader = reader;
    }
  }

  /**
   * A chunk of the answer's body: its first token and its tokens go to the scheduler. Feeding a lease that is over does nothing.
   */
  feed(chunk: Uint8Array): Progress {
    return this.#live() ? this.#scheduler.readAnswer(this.request, this.#begun(), chunk) : NO_PROGRESS;
  }

  /**
   * Nothing more comes: ends the lease as the answer did, unless it is over, and says how that was. An answer that has
   * not begun has no such end: `fail` or `cancel` it.
   */
  finish(close: Close = 'clean'): Outcome {
    const reader = this.#begun();
    if (this.#outcome === null) {
      let outcome: Outcome | undefined;
      this.#end(() => {
        outcome = this.#scheduler.settle(this.request, reader, close);
      });
      this.#outcome = outcome ?? reader.finish(close);
    }
    return this.#outcome;
  }

  /** What is known of the answer so far; null before it has begun. */
  get reader(): Answer | null {
    return this.#reader;
  }

  /** It goes to another endpoint, say the first of the alternatives after a refused connection. Not after a first token. */
  redirect(endpoint: number): void {
    this.#scheduler.redirect(this.request, endpoint);
    this.#endpoint = endpoint;
    this.#name = this.#scheduler.nameOf(endpoint);
  }

  /** Cancels it, unless it has ended, or what it was fed is a whole answer: for `using`. */
  [Symbol.dispose](): void {
    if (this.#live()) {
      this.left('client_left');
    }
  }

  /**
   * Passes an answer's stream on and follows it. If the answer has begun (`begin`), it is read on its way: `feed` for each chunk and
   * `finish` at its end, with all that they tell. If not, its first chunk is the first token, its end completes the request, an
   * error fails it, and a reader that goes away cancels it. Returns the same kind of stream.
   */
  track<T>(stream: ReadableStream<T>): ReadableStream<T>;
  track<T>(stream: AsyncIterable<T>): AsyncIterableIterator<T>;
  track<T>(stream: ReadableStream<T> | AsyncIterable<T>): ReadableStream<T> | AsyncIterableIterator<T> {
    return 'getReader' in stream ? trackStream(this, stream) : trackIterable(this, stream);
  }

  /** @internal A chunk went by. */
  passed(chunk: unknown): void {
    if (this.#reader === null) {
      this.firstToken();
    } else {
      // Whoever passes on text has decoded it.
      this.feed(typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Uint8Array));
    }
  }

  /** @internal The stream that is followed came to its end. */
  left(close: 'clean' | 'broken' | 'client_left'): void {
    if (this.#reader !== null) {
      this.finish(close);
    } else if (close === 'clean') {
      this.complete();
    } else if (close === 'broken') {
      this.fail('engine');
    } else {
      this.cancel();
    }
  }

  #begun(): ResponseReader {
    if (this.#reader === null) {
      throw new SlotwiseError('the answer has not begun: call begin first', 'not_begun');
    }
    return this.#reader;
  }

  #live(): boolean {
    return !this.#over && !this.#scheduler.closed;
  }

  /** An end that throws, because of what it was given, is none. */
  #end(end: () => unknown): boolean {
    if (!this.#live()) {
      return false;
    }
    end();
    this.#over = true;
    return true;
  }
}
