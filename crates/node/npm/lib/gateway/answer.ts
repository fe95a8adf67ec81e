/** What a gateway is asked, and what it answers, without a transport. */
import type { Signal } from '../abort.js';
import type { RawHeaders } from '../headers.js';

/** A request as a transport hands it in. */
export interface Incoming {
  readonly method: string;
  /** The path, without its query. */
  readonly path: string;
  /** The path and the query, as the client sent them. */
  readonly target: string;
  readonly headers: RawHeaders;
  /** The client's address, if it is known. */
  readonly client: string | undefined;
  /** Aborts when the client disconnects. */
  readonly signal: Signal;
  /** The whole body. Rejects with `BodyTooLarge` beyond the limit in bytes. */
  read(limit: number): Promise<Uint8Array>;
}

/** A body that comes in chunks. */
export interface Chunks {
  /** The next chunk; undefined at the end. Rejects where the answer breaks off. */
  next(): Promise<Uint8Array | undefined>;
  /**
   * The client has the whole answer, or has left, or `next` has rejected with this error.
   * Transports call it in any case.
   */
  end(error?: unknown): void;
}

/** An answer for a transport. */
export interface Answer {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array | Chunks;
}

/** A body is larger than allowed. */
export class BodyTooLarge extends Error {}

/** Whether a body is known as a whole. */
export function isWhole(body: Uint8Array | Chunks): body is Uint8Array {
  return body instanceof Uint8Array;
}

/** A page of text. */
export function text(
  status: number,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = { 'content-type': 'text/plain; charset=utf-8' },
): Answer {
  return { status, headers: Object.entries(headers), body: Buffer.from(body) };
}

/** A page of JSON. */
export function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  return text(status, JSON.stringify(value), { 'content-type': 'application/json; charset=utf-8', ...headers });
}

/** The same answer with further headers. */
export function withHeaders(answer: Answer, headers: readonly (readonly [string, string])[]): Answer {
  return { ...answer, headers: [...answer.headers, ...headers] };
}

/** The first value of a header. */
export function headerOf({ headers }: { readonly headers: Iterable<readonly [string, string]> }, name: string): string {
  for (const [key, value] of headers) {
    if (key.length === name.length && key.toLowerCase() === name) {
      return value;
    }
  }
  return '';
}
