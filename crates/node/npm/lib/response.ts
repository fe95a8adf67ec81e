/** Readers of engines' answers, fed in chunks of any size. */
import { NativeAnswerFilter, NativeModelFilter, NativeResponseReader, type Outcome } from '../native/index.js';
import { guarded } from './errors.js';
import type { Usage } from './reports.js';
import { readWire, type OwnBytes } from './prompt.js';
import { checkFields, number, optionalBoolean, optionalString, string, type FieldsOf } from './validate.js';

export type { Outcome, WireProblem } from '../native/index.js';

/**
 * How a connection ended: complete, broken, timed out by the gateway, closed by the client, or at
 * the end of the whole request's time.
 */
export type CloseReason = 'clean' | 'broken' | 'timed_out' | 'client_disconnected' | 'expired';

/** The progress of one chunk. The progress of several chunks adds up. */
export interface Progress {
  /**
   * Whether it held the first token. Always false for a body that is no stream: its last token
   * arrives at the same time.
   */
  readonly firstToken: boolean;
  /** Tokens that came with it. */
  readonly tokens: number;
  /** The answer is at its end: nothing that comes after it counts. */
  readonly ended: boolean;
}

/** The state of an answer so far. A body that is no stream yields most of it at its end. */
export interface Answer {
  /**
   * Whether a stream has had any payload other than an error: then it is never retried. Always
   * false for a body that is no stream.
   */
  readonly begun: boolean;
  /** Tokens of the answer. */
  readonly tokens: number;
  /** Whether the engine has reported the count. */
  readonly exact: boolean;
  /** Usage that the engine has reported. */
  readonly usage: Usage;
  /** Why the engine stopped, if it has reported a reason. */
  readonly finishReason: Outcome['finishReason'];
}

/**
 * Reads a response chunk by chunk and reports its outcome. Reads streams and bodies of OpenAI's
 * completions, chat completions and responses, of Anthropic's messages and of SGLang's `generate`.
 * It takes decoded bytes: the HTTP client handles chunked transfer and compression.
 */
export class ResponseReader implements Answer {
  /** @internal */
  readonly native: NativeResponseReader;

  /** Before the body of a response with this status and `Content-Type`; null if it has none. */
  constructor(status: number, contentType: string | null = null) {
    const [code, type] = [number('status', status), contentType === null ? '' : string('contentType', contentType)];
    this.native = guarded(() => new NativeResponseReader(code, type));
  }

  /**
   * Reads a chunk and returns its progress. Events count once complete; after the end of the
   * answer, nothing counts.
   */
  feed(chunk: Uint8Array): Progress {
    return unpacked(this.native.feed(readWire('chunk', chunk)));
  }

  /** Nothing more comes: how the answer ended. */
  finish(close: CloseReason = 'clean'): Outcome {
    const how = string('close', close);
    return guarded(() => this.native.finish(how));
  }

  get begun(): boolean {
    return this.native.begun;
  }

  /** Whether the body is read as a stream of events. */
  get isStream(): boolean {
    return this.native.isStream;
  }

  get tokens(): number {
    return this.native.tokens;
  }

  get exact(): boolean {
    return this.native.exact;
  }

  get usage(): Usage {
    return this.native.usage;
  }

  get finishReason(): Outcome['finishReason'] {
    return this.native.finishReason;
  }
}

/**
 * Passes a response through and replaces the engine's model name by the client's. The length
 * changes: do not forward `Content-Length`.
 */
export class ModelFilter {
  readonly #native: NativeModelFilter;

  /** Before a body of this `Content-Type`, for a client that asked for the model by this name. */
  constructor(contentType: string, name: string) {
    const [type, model] = [string('contentType', contentType), string('name', name)];
    this.#native = guarded(() => new NativeModelFilter(type, model));
  }

  /** What the client is to get of this chunk. */
  feed(chunk: Uint8Array): OwnBytes {
    return this.#native.feed(readWire('chunk', chunk)) as OwnBytes;
  }
}

/** What the client's request and the engine's differ in. */
export interface AnswerFilterOptions {
  /** The client's name for the model. Default: the engine's name stays. */
  model?: string | null | undefined;
  /** Whether the gateway asked for usage and its client did not. Default: false. */
  dropUsage?: boolean | null | undefined;
}

const FILTER = { model: true, dropUsage: true } satisfies FieldsOf<AnswerFilterOptions>;

/**
 * Passes a response through as if the engine had received the client's own request. It restores the
 * client's model name. With `dropUsage`, it removes the usage that the gateway added to a stream:
 * the chunk without choices, and `"usage":null` in the others. One event is held back until it is
 * complete. Do not forward `Content-Length`.
 */
export class AnswerFilter {
  readonly #native: NativeAnswerFilter;

  /** Before a body of this `Content-Type`. */
  constructor(contentType: string, options: AnswerFilterOptions = {}) {
    checkFields('options', FILTER, options);
    const [type, model] = [string('contentType', contentType), optionalString('model', options.model)];
    const dropUsage = optionalBoolean('dropUsage', options.dropUsage) ?? false;
    this.#native = guarded(() => new NativeAnswerFilter(type, model, dropUsage));
  }

  /** What the client is to get by now. */
  feed(chunk: Uint8Array): OwnBytes {
    return this.#native.feed(readWire('chunk', chunk)) as OwnBytes;
  }

  /** Nothing more comes: what was held back. */
  finish(): OwnBytes {
    return this.#native.finish() as OwnBytes;
  }
}

/** A chunk's progress, of the one number that the native part makes of it. */
export function unpacked(progress: number): Progress {
  return { firstToken: progress % 2 === 1, tokens: Math.floor(progress / 4), ended: progress % 4 >= 2 };
}
