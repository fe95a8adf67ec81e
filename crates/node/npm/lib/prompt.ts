/** Prompts in whatever form a gateway has them. */
import { types } from 'node:util';
import { rangeError, typeError } from './errors.js';
import { describe, number } from './validate.js';

/**
 * The engine's input: text (a string, or its bytes, read in place), token ids (a `Uint32Array` is
 * read in place, the others are checked and copied), or ready hashes of its full blocks.
 */
export type Prompt = string | Uint8Array | TokenIds | Blocks;

/** Token ids of 32 bits, in any form. */
export type TokenIds = Uint32Array | Int32Array | Uint16Array | BigInt64Array | readonly number[];

/**
 * Chained hashes of a prompt's full blocks, used as they are: they must already differ by model,
 * adapter and salt. No hashes and a length is a prompt of which only the length is known.
 */
export interface Blocks {
  /** One hash a full block, each standing for the block and everything before it. */
  blocks: BigUint64Array | readonly bigint[];
  /** Tokens in a block. */
  blockSize: number;
  /** Tokens in the whole prompt. */
  tokens: number;
}

/** Bytes in a buffer of their own, as `Response` and `fetch` want them. */
export type OwnBytes = ReturnType<Uint8Array['slice']>;

/** A prompt as the native part takes it. */
export interface NativePrompt {
  /** Text, token ids or hashes. */
  readonly view: Uint8Array | Uint32Array | BigUint64Array;
  /** Bytes of the view that are text. */
  readonly bytes: number;
  readonly blockSize?: number;
  readonly tokens?: number;
}

/** The prompt as the native part takes it; what it is made of belongs to the caller. */
export function readPrompt(prompt: Prompt): NativePrompt {
  if (typeof prompt === 'string') {
    const view = encoder.encode(prompt);
    return { view, bytes: view.length };
  }
  if (types.isUint8Array(prompt)) {
    attached('prompt', prompt);
    return { view: prompt, bytes: prompt.length };
  }
  if (typeof prompt === 'object' && prompt !== null && 'blocks' in prompt) {
    const { blocks, blockSize, tokens } = prompt;
    return {
      view: readHashes('prompt.blocks', blocks),
      bytes: 0,
      blockSize: number('prompt.blockSize', blockSize),
      tokens: number('prompt.tokens', tokens),
    };
  }
  return { view: readTokenIds('prompt', prompt), bytes: 0 };
}

/** Token ids that fit into 32 bits. */
export function readTokenIds(what: string, ids: unknown): Uint32Array {
  if (types.isUint32Array(ids)) {
    attached(what, ids);
    return ids;
  }
  if (types.isInt32Array(ids)) {
    attached(what, ids);
    for (let at = 0; at < ids.length; at += 1) {
      if ((ids[at] as number) < 0) {
        throw wrongId(what, at, ids[at]);
      }
    }
    return new Uint32Array(ids.buffer, ids.byteOffset, ids.length);
  }
  if (types.isUint16Array(ids)) {
    attached(what, ids);
    return Uint32Array.from(ids);
  }
  if (types.isBigInt64Array(ids)) {
    attached(what, ids);
    return Uint32Array.from(ids, (id, at) => {
      if (id < 0n || id > 0xffff_ffffn) {
        throw wrongId(what, at, id);
      }
      return Number(id);
    });
  }
  if (Array.isArray(ids)) {
    let copy = new Uint32Array(Math.min(ids.length, FIRST_ROOM));
    for (let at = 0; at < ids.length; at += 1) {
      const id: unknown = ids[at];
      // What is not a whole number of 32 bits is another one after the conversion.
      if (typeof id !== 'number' || id >>> 0 !== id) {
        throw wrongId(what, at, id);
      }
      if (at === copy.length) {
        const longer = new Uint32Array(Math.min(ids.length, 4 * at));
        longer.set(copy);
        copy = longer;
      }
      copy[at] = id;
    }
    return copy;
  }
  throw typeError(`${what} must be text, token ids or blocks, got ${describe(ids)}`);
}

/** Hashes that fit into 64 bits. */
export function readHashes(what: string, hashes: unknown): BigUint64Array {
  if (types.isBigUint64Array(hashes)) {
    attached(what, hashes);
    return hashes;
  }
  if (Array.isArray(hashes)) {
    let copy = new BigUint64Array(Math.min(hashes.length, FIRST_ROOM));
    for (let at = 0; at < hashes.length; at += 1) {
      const hash: unknown = hashes[at];
      if (typeof hash !== 'bigint') {
        throw typeError(`${what}[${at}] must be a bigint, got ${describe(hash)}`);
      }
      if (BigInt.asUintN(64, hash) !== hash) {
        throw rangeError(`${what}[${at}] must be a bigint between 0 and 2^64 - 1, got ${hash}`);
      }
      if (at === copy.length) {
        const longer = new BigUint64Array(Math.min(hashes.length, 4 * at));
        longer.set(copy);
        copy = longer;
      }
      copy[at] = hash;
    }
    return copy;
  }
  throw typeError(`${what} must be a BigUint64Array or an array of bigints, got ${describe(hashes)}`);
}

/** Bytes, which are read in place. */
export function readBytes(what: string, bytes: unknown): Uint8Array {
  if (!types.isUint8Array(bytes)) {
    throw typeError(`${what} must be a Uint8Array, got ${describe(bytes)}`);
  }
  attached(what, bytes);
  return bytes;
}

/** The same, or a copy where another thread could change them while they are read. */
export function readWire(what: string, bytes: unknown): Uint8Array {
  const view = readBytes(what, bytes);
  return types.isSharedArrayBuffer(view.buffer) ? Uint8Array.from(view) : view;
}

/** The frames of a message: a list of the caller's own could change. */
export function readFrames(what: string, frames: unknown): Uint8Array[] {
  if (!Array.isArray(frames)) {
    throw typeError(`${what} must be an array of Uint8Array, got ${describe(frames)}`);
  }
  if (frames.length > MOST_FRAMES) {
    throw typeError(`${what} lists ${frames.length} frames; ${MOST_FRAMES} is the most`);
  }
  const copy: Uint8Array[] = [];
  for (let at = 0; at < frames.length && at < MOST_FRAMES; at += 1) {
    copy.push(readWire(`${what}[${at}]`, frames[at]));
  }
  // A getter may have taken away the buffer of an earlier one.
  copy.forEach((frame, at) => attached(`${what}[${at}]`, frame));
  return copy;
}

/** More than any message has, so that it is the wire format that refuses them. */
const MOST_FRAMES = 64;

/** Encodes short text into a reused buffer, at a fifth of a copy's cost; longer text is copied. */
export class Scratch {
  #bytes = new Uint8Array(1 << 16);
  /** How many bytes the latest text has. */
  written = 0;

  write(text: string): Uint8Array {
    // A unit of UTF-16 never takes more than three bytes.
    const most = text.length * 3;
    if (most > LARGEST_SCRATCH) {
      const copy = encoder.encode(text);
      this.written = copy.length;
      return copy;
    }
    if (most > this.#bytes.length) {
      this.#bytes = new Uint8Array(Math.min(LARGEST_SCRATCH, most * 2));
    }
    this.written = encoder.encodeInto(text, this.#bytes).written;
    return this.#bytes;
  }
}

/**
 * Room for as many entries of an array is made before they are read, and for more as they come: a
 * sparse array may claim four billion, and 16 GB of memory for them.
 */
const FIRST_ROOM = 65_536;

const LARGEST_SCRATCH = 1 << 22;
const encoder = new TextEncoder();

/** A buffer that was transferred is empty, and surely not what the caller wanted to ask about. */
function attached(what: string, view: ArrayBufferView & { length: number }): void {
  if (view.length === 0) {
    try {
      new Uint8Array(view.buffer);
    } catch {
      throw typeError(`${what} lies in a buffer that was transferred`);
    }
  }
}

function wrongId(what: string, at: number, id: unknown): Error {
  const message = `${what}[${at}] must be a token id between 0 and 4294967295, got ${describe(id)}`;
  return typeof id === 'number' || typeof id === 'bigint' ? rangeError(message) : typeError(message);
}
