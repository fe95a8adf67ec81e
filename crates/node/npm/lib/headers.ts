/** Headers in whatever form a gateway has them. */
import { headerNames } from '../native/index.js';
import { typeError } from './errors.js';
import { readBytes } from './prompt.js';
import { describe, string } from './validate.js';

/**
 * Headers: an object as in `IncomingMessage`, a `Headers`, or pairs of name and value. Each
 * character of a value is one byte, or the value is bytes.
 */
export type HeaderSource =
  | Iterable<readonly [name: string, value: string | Uint8Array]>
  | Readonly<Record<string, string | readonly string[] | Uint8Array | undefined>>;

/** As many headers as one request may have. */
const MAX_HEADERS = 65_536;

/** The names that mean something. Others are not handed on. */
const MEANINGFUL: ReadonlySet<string> = new Set(headerNames());

/** Headers as `node:http` has them, which hold no mistakes of callers. */
export class RawHeaders implements Iterable<[string, string]> {
  /** Names and values in turn. Each character of a value is one byte. */
  readonly list: string[];

  constructor(list: string[]) {
    this.list = list;
  }

  /** As pairs. */
  *[Symbol.iterator](): IterableIterator<[string, string]> {
    for (let at = 0; at < this.list.length; at += 2) {
      yield [this.list[at] as string, this.list[at + 1] as string];
    }
  }

  /** The headers of these names, which are in lower case: names and values in turn. */
  of(names: ReadonlySet<string>): string[] {
    const found: string[] = [];
    for (let at = 0; at < this.list.length; at += 2) {
      const name = this.list[at] as string;
      if (isAmong(names, name)) {
        found.push(name, this.list[at + 1] as string);
      }
    }
    return found;
  }
}

/** Names in lower case, and values, of a list that has them in turn. */
export function pairsOf(list: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at < list.length; at += 2) {
    pairs.push([(list[at] as string).toLowerCase(), list[at + 1] as string]);
  }
  return pairs;
}

/** Names and values in turn, of the headers that mean something, or of all. */
export function readHeaderList(what: string, source: unknown, all = false): string[] {
  if (source instanceof RawHeaders) {
    return all ? source.list : source.of(MEANINGFUL);
  }
  if (typeof source !== 'object' || source === null || source instanceof Uint8Array) {
    throw typeError(`${what} must be an object or pairs, got ${describe(source)}`);
  }
  const list: string[] = [];
  if (Symbol.iterator in source) {
    let count = 0;
    for (const pair of source as Iterable<unknown>) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw typeError(`${what}[${count}] must be a pair of a name and a value, got ${describe(pair)}`);
      }
      if (++count > MAX_HEADERS) {
        throw typeError(`${what} lists more than ${MAX_HEADERS} entries`);
      }
      add(list, what, string(`${what}[${count - 1}][0]`, pair[0]), pair[1], all);
    }
    return list;
  }
  for (const name of Object.keys(source)) {
    const value = (source as Record<string, unknown>)[name];
    if (value === undefined) {
      continue;
    }
    if (!Array.isArray(value)) {
      add(list, what, name, value, all);
      continue;
    }
    for (let at = 0; at < value.length && at < MAX_HEADERS; at += 1) {
      add(list, what, name, value[at], all);
    }
  }
  return list;
}

function add(list: string[], what: string, name: string, value: unknown, all: boolean): void {
  if (all || isAmong(MEANINGFUL, name)) {
    list.push(name, octets(`${what}.${name}`, value));
  }
}

/** No known name is longer than `LONGEST_NAME`; a longer one is not copied. */
function isAmong(names: ReadonlySet<string>, name: string): boolean {
  return name.length <= LONGEST_NAME && names.has(name.toLowerCase());
}

const LONGEST_NAME = Math.max(...Array.from(MEANINGFUL, (name) => name.length));

/** The value of a header as bytes. */
export function readHeaderValue(what: string, value: unknown): Uint8Array {
  return Buffer.from(octets(what, value), 'latin1');
}

/** A value, one character for each byte. */
function octets(what: string, value: unknown): string {
  if (typeof value === 'string') {
    if (!/^[\0-\xff]*$/.test(value)) {
      throw typeError(`${what} has a character beyond one byte, as no header has`);
    }
    return value;
  }
  if (typeof value !== 'object') {
    throw typeError(`${what} must be a string or a Uint8Array, got ${describe(value)}`);
  }
  return Buffer.from(readBytes(what, value)).toString('latin1');
}
