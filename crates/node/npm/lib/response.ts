/** Readers of engines' answers, fed in chunks of any size. */
import { NativeAnswerFilter, NativeModelFilter, NativeResponseReader, type Outcome } from '../native/index.js';
import { guarded } from './errors.js';
import type { Usage } from './reports.js';
import { readWire, type OwnBytes } from './prompt.js';
import { checkFields, number, optionalBoolean, optionalString, string, type FieldsOf } from './validate.js';

export type { Outcome, WireProblem } from '../native/index.js';

/** How a connection ended: complete, broken, timed out by the gateway, or closed by the client. */
export type CloseReason = 'clean' | 'broken' | 'timed_out' | 'client_disconnected';

/** The progress of one chunk. The progress of several chunks adds up. */
export interface Progress {
  /** The first token came with it. Never said of a body that is no stream: when it comes, its last token has come too. */
  readonly firstToken: boolean;
  /** Tokens that came with it. */
  readonly tokens: number;
  /** The answer is at its end: nothing that comes after it counts. */
  readonly ended: boolean;
}

/** What is known of an answer so far. A body that is no stream says most of it when it ends. */
export interface Answer {
  /**
   * Whether a stream has brought any payload but an error: from there on it is never retried. Never true of a body that is no stream.
   */
  readonly begun: boolean;
  /** Tokens of the answer. */
  readonly tokens: number;
  /** Whether the engine has said how many. */
  readonly exact: boolean;
  /** What the engine has said that the request used. */
  readonly usage: Usage;
  /** Why the engine stopped, as far as it has said so. */
  readonly finishReason: Outcome['finishReason'];
}

/**
 * Reads a response as it comes, and tells how it ended: streams and bodies of OpenAI's completions, chat completions and responses, of
 * Anthropic's messages and of SGLang's `generate`. It looks at decoded bytes: chunked transfer and compression are the HTTP client's.
 */
export class ResponseReader implements Answer {
  /** @internal */
  readonly native: NativeResponseReader;

  /** Before the body of a response with this status and `Content-Type`; null if it has none. */
  constructor(status: number, contentType: string | null = null) {
    const [code, type] = [number('status', status), contentType === null ? '' : string('contentType', contentType)];
    this.native = guarded(() => new NativeResponseReader(code, type));
  }

  /** Reads on: what this chunk brought. Events count when they are whole; after the end of the answer nothing counts. */
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
 * Passes a response through and puts the name by which the client asked for the model in the place of the engine's. Its length
 * changes: `Content-Length` must not be passed on.
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
  /** The client's name for the model; the engine's stays unless given. */
  model?: string | null | undefined;
  /** Whether the gateway asked for usage and its client did not: false unless given. */
  dropUsage?: boolean | null | undefined;
}

const FILTER = { model: true, dropUsage: true } satisfies FieldsOf<AnswerFilterOptions>;

/**
 * Passes a response through as if the client's own request had been sent: with its name for the model, and with `dropUsage` without
 * the usage of a stream that the gateway asked for, which is the chunk without choices and `"usage":null` in the others. One event
 * is held back until it is whole. `Content-Length` must not be passed on.
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
