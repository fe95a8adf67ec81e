/** What an exchange asks and what it answers, without a transport. */
import { replyHeaderNames, type Outcome, type ReportedUsage } from '../native/index.js';
import type { Abort, Signal } from './abort.js';
import type { Call, ForwardOptions } from './forward.js';
import type { RawHeaders } from './headers.js';
import type { Dispatch } from './values.js';

/** An engine's answer, from its head on. */
export interface EngineAnswer {
  readonly status: number;
  readonly headers: RawHeaders;
  /** The next chunk of the body; undefined at its end. Rejects if the connection breaks. */
  read(): Promise<Uint8Array | undefined>;
  /** Nothing more is read: closes the connection, unless the body has ended. */
  cancel(): void;
}

/** The headers of an answer that may reach the client. */
export const REPLY_HEADERS: ReadonlySet<string> = new Set(replyHeaderNames());

/** What a host's function returned is no answer: its mistake, not that of the endpoint. */
export class NoAnswer extends Error {}

/** Asks one endpoint. Rejects if it is unreachable, or if the attempt is aborted. */
export type Ask = (url: string, attempt: Abort, call: Call) => Promise<EngineAnswer>;

/** How a request is served; the gateway's own signals are no `AbortSignal`. */
export type ExchangeOptions = Omit<ForwardOptions, 'signal' | 'expires'> & {
  readonly signal?: Signal | undefined;
  readonly expires?: Signal | undefined;
};

/** What the client gets: an engine's answer, or a refusal. */
export interface Reply {
  readonly status: number;
  /** Pairs of name and value. */
  readonly headers: [string, string][];
  /** The decision about the endpoint that answers; undefined for a refusal of the gateway. */
  readonly dispatch: Dispatch | undefined;
  /** The usage so far; null for a refusal of the gateway. */
  readonly usage: ReportedUsage | null;
  /** How the answer of the endpoint ended; null before its end. */
  readonly outcome: Outcome | null;
  /** Why the answer is not whole, after its end; undefined if it is, and for a refusal. */
  readonly failure: unknown;
  /** The next chunk for the client; undefined at the end. Rejects where the answer breaks off. */
  next(): Promise<Uint8Array | undefined>;
  /** The client has the whole answer, or has left. Further calls change nothing. */
  end(): void;
}
