/**
 * Gates before the scheduler: API keys, quotas and rate limits, checks of prompts and answers.
 *
 * ```ts
 * const limits = { tokensPerMinute: 1_000 };
 * const gates = new Gates({ keys: [{ name: 'alice', sha256, limits }] });
 * const grant = gates.admit(headers, { model: 'llama', promptTokens: 600, outputTokens: 300 });
 * grant.settle({ promptTokens: 600, completionTokens: 20 });
 * ```
 *
 * Times are milliseconds of `performance.now`, unless `now` is given.
 */
import { SlotwiseError } from './errors.js';
import type { HeaderSource } from './headers.js';
import { type Data, Machine } from './machine.js';
import type { GatewayReason } from './wire.js';

/** A configuration: its fields in snake case or in camel case. */
export type GatesConfig = { readonly [name: string]: Data };

/** The client behind a request. */
export interface Caller {
  /** The name of the key, or of the anonymous client. */
  readonly name: string;
  /** Whether the request has no key. */
  readonly anonymous: boolean;
  /** The tenant: the flow of the request. */
  readonly tenant: string | null;
  /** The priority that the key gives. */
  readonly priority: number | null;
  /** The share of the tenant relative to others. */
  readonly weight: number | null;
}

/** A limit, and what is used of it. */
export interface Standing {
  /** Whose limit it is. */
  readonly scope: 'key' | 'tenant' | 'client';
  /** What is counted. */
  readonly measure: 'requests' | 'tokens' | 'input_tokens' | 'output_tokens' | 'concurrent_requests';
  /** The length of the window; `null` for requests in flight. */
  readonly windowMs: number | null;
  /** The limit. */
  readonly limit: number;
  /** What is used. Debt makes it exceed the limit. */
  readonly used: number;
  /** What may still be used. */
  readonly remaining: number;
  /** The time until nothing is used; `null` for requests in flight. */
  readonly resetMs: number | null;
}

/** What a request asks for. */
export interface Demand {
  /** The model, by its name for clients. */
  readonly model: string;
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  /** Tokens of the answer, as expected. */
  readonly outputTokens: number;
}

/** What a host knows about the sender beside its headers. */
export interface Sender {
  /** Names a client without a key, such as its address. Such clients have limits of their own. */
  readonly client?: string | undefined;
  /** The time. */
  readonly now?: number | undefined;
}

/** A gate refuses a request, or a check has blocked a prompt or an answer. */
export class RefusedError extends SlotwiseError {
  /** The reason. */
  declare readonly code: GatewayReason;
  /** The status of the client's answer. */
  readonly httpStatus: number;
  /** The time after which the same request passes; `null` if no time alone makes it pass. */
  readonly retryAfterMs: number | null;
  /** The exceeded limit. */
  readonly exceeded: Standing | null;
  /** The headers of the client's answer. */
  readonly headers: Array<[string, string]>;
  readonly #body: Readonly<Record<'openai' | 'anthropic', string>>;

  constructor(refused: Refused) {
    super(refused.message, refused.code);
    this.httpStatus = refused.http_status;
    this.retryAfterMs = millis(refused.retry_after_us);
    this.exceeded = refused.exceeded === null ? null : standingOf(refused.exceeded);
    this.headers = refused.headers;
    this.#body = refused.body;
  }

  /** The body of the client's answer. */
  body(shape: 'openai' | 'anthropic' = 'openai'): string {
    return this.#body[shape];
  }
}

/** A request that was admitted. It counts as in flight until `settle` or `cancel`. */
export class Grant {
  /** The client behind it. */
  readonly caller: Caller;
  /** The headers that report what is left: `x-ratelimit-remaining-tokens` and others. */
  readonly headers: Array<[string, string]>;
  readonly #machine: Machine;
  readonly #number: number;

  constructor(machine: Machine, admitted: Admitted) {
    this.#machine = machine;
    this.#number = admitted.grant;
    this.caller = admitted.caller;
    this.headers = admitted.headers;
  }

  /**
   * The request has ended with this usage; an unknown count leaves the estimate. Returns whether it
   * had not ended before.
   */
  settle(usage: { promptTokens?: number | undefined; completionTokens?: number | undefined } = {}, now?: number): boolean {
    const { promptTokens, completionTokens } = usage;
    return this.#machine.call('settle', { grant: this.#number, promptTokens, completionTokens, at_us: micros(now) });
  }

  /** The request was not served: it counts as if it had not come. */
  cancel(now?: number): boolean {
    return this.#machine.call('cancel', { grant: this.#number, at_us: micros(now) });
  }
}

/** Who may send a request, and how much. */
export class Gates {
  /** @internal */
  readonly machine: Machine;

  /** `config` has keys, tenants and anonymous access; an invalid field is a `TypeError`. */
  constructor(config: GatesConfig) {
    this.machine = new Machine('gates', { config });
  }

  /** Replaces the configuration. Usage and requests in flight stay counted. */
  setConfig(config: GatesConfig): void {
    this.machine.call('set_config', { config });
  }

  /** The client behind a request. Throws a `RefusedError` if its key is unknown. */
  identify(headers: HeaderSource, { client }: Sender = {}): Caller {
    return checked(this.machine.call<Answer<Caller>>('identify', { headers: keyPairs(headers), client }));
  }

  /**
   * Counts a request in all limits of its client, or in none. Throws a `RefusedError` for an
   * unknown key, a model that the key does not allow, or an exceeded limit.
   */
  admit(headers: HeaderSource, demand: Demand, { client, now }: Sender = {}): Grant {
    const values = { headers: keyPairs(headers), client, at_us: micros(now), ...demand };
    return new Grant(this.machine, checked(this.machine.call<Answer<Admitted>>('admit', values)));
  }

  /** What is left of each limit of the client. */
  standings(headers: HeaderSource, { client, now }: Sender = {}): Standing[] {
    const values = { headers: keyPairs(headers), client, at_us: micros(now) };
    return checked(this.machine.call<Answer<RawStanding[]>>('standings', values)).map(standingOf);
  }
}

/** Texts for the host to judge. */
export interface Question {
  /** Names the question in the verdict. */
  readonly id: number;
  /** The texts. In a stream, each is one part of the answer, such as a choice. */
  readonly texts: readonly string[];
  /** When the fallback applies, in milliseconds. */
  readonly deadline: number;
}

/** The host's answer to a question. */
export type Verdict =
  | { readonly verdict: 'allow' | 'failed' }
  | { readonly verdict: 'block'; readonly reason?: string | undefined }
  | { readonly verdict: 'replace'; readonly texts: readonly string[] };

/**
 * The check of one prompt or answer: holds bytes back until the host has judged their texts.
 *
 * After each input, poll questions and outputs until they are `null`, and wait for an input or for
 * `nextTimeout`.
 */
export class SafetyCheck {
  readonly #machine: Machine;
  #question: Question | null = null;
  #output: string[] = [];
  #outputs: Outputs = IDLE;
  #refused: RefusedError | null = null;

  /** `config` has `onFailure`, `timeout` in seconds, `lookBack` and the sizes. */
  constructor(
    stage: 'prompt' | 'answer' | 'stream',
    config: GatesConfig = {},
    { shape = 'openai' }: { shape?: 'openai' | 'anthropic' } = {},
  ) {
    this.#machine = new Machine('safety', { stage, config, shape });
  }

  /** Bytes of the body came. */
  feed(chunk: Uint8Array, now?: number): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
    this.#input('feed', now, { bytes });
  }

  /** The body has ended. */
  finish(now?: number): void {
    this.#input('finish', now);
  }

  /** The host's answer to a question. Returns whether it counts. */
  handleVerdict(question: number, verdict: Verdict, now?: number): boolean {
    return this.#input('handle_verdict', now, { question, ...verdict }).counts === true;
  }

  /** The time of `nextTimeout` has come. */
  handleTimeout(now?: number): void {
    this.#input('handle_timeout', now);
  }

  /** The next question. There is at most one without a verdict. */
  pollQuestion(): Question | null {
    const question = this.#question;
    this.#question = null;
    return question;
  }

  /** The next bytes for the client, or for the engine. */
  pollOutput(): Uint8Array | null {
    const output = Buffer.from(this.#output.join(''), 'latin1');
    this.#output = [];
    return output.length > 0 ? output : null;
  }

  /** When to call `handleTimeout`, in milliseconds. */
  get nextTimeout(): number | null {
    return millis(this.#outputs.next_timeout_us);
  }

  /** Whether more of the body may be fed. While it is false, read no more from the engine. */
  get wantsInput(): boolean {
    return this.#outputs.wants_input;
  }

  /** Whether no output follows those that can be polled. */
  get ended(): boolean {
    return this.#outputs.ended;
  }

  /** Why the prompt or the answer was blocked. For a prompt, it is the client's answer. */
  get refused(): RefusedError | null {
    return this.#refused;
  }

  /** Checks that failed. */
  get failures(): number {
    return this.#outputs.failures;
  }

  #input(call: string, now: number | undefined, values: { readonly [name: string]: Data } = {}): Outputs {
    const outputs = this.#machine.call<Outputs>(call, { ...values, at_us: micros(now) });
    this.#outputs = outputs;
    this.#output.push(outputs.output);
    if (outputs.question !== null) {
      const { id, texts, deadline_us: deadline } = outputs.question;
      this.#question = { id, texts, deadline: deadline / 1_000 };
    } else if (outputs.ended) {
      this.#question = null;
    }
    this.#refused = outputs.refused === null ? null : new RefusedError(outputs.refused);
    return outputs;
  }
}

/** A refusal as machines answer it. */
export interface Refused {
  readonly code: GatewayReason;
  readonly http_status: number;
  readonly message: string;
  readonly retry_after_us: number | null;
  readonly exceeded: RawStanding | null;
  readonly headers: Array<[string, string]>;
  readonly body: Readonly<Record<'openai' | 'anthropic', string>>;
}

interface RawStanding extends Omit<Standing, 'windowMs' | 'resetMs'> {
  readonly window_us: number | null;
  readonly reset_us: number | null;
}

interface Admitted {
  readonly grant: number;
  readonly caller: Caller;
  readonly headers: Array<[string, string]>;
}

interface Outputs {
  readonly output: string;
  readonly question: { readonly id: number; readonly texts: string[]; readonly deadline_us: number } | null;
  readonly next_timeout_us: number | null;
  readonly wants_input: boolean;
  readonly ended: boolean;
  readonly refused: Refused | null;
  readonly failures: number;
  readonly counts?: boolean;
}

/** An answer, or a refusal. */
export type Answer<T> = T | { readonly refused: Refused };

const IDLE: Outputs = {
  output: '', question: null, next_timeout_us: null, wants_input: true, ended: false, refused: null, failures: 0,
};

/** The answer; a refusal is thrown as a `RefusedError`. */
export function checked<T>(answer: Answer<T>): T {
  if (typeof answer === 'object' && answer !== null && 'refused' in answer) {
    throw new RefusedError(answer.refused);
  }
  return answer as T;
}

function standingOf({ window_us: window, reset_us: reset, ...standing }: RawStanding): Standing {
  return { ...standing, windowMs: millis(window), resetMs: millis(reset) };
}

/** The headers that may have a key, as pairs. */
function keyPairs(headers: HeaderSource): string[][] {
  return pairs(headers).filter(([name]) => KEY_HEADERS.has(name.toLowerCase()));
}

/** All headers as pairs. */
export function pairs(headers: HeaderSource): Array<[string, string]> {
  const pairs: Array<[string, string]> = [];
  const entries = Symbol.iterator in headers ? headers : Object.entries(headers);
  for (const [name, value] of entries as Iterable<[string, string | readonly string[] | Uint8Array | undefined]>) {
    if (value === undefined) {
      continue;
    }
    const values = value instanceof Uint8Array ? [Buffer.from(value).toString('utf8')] : [value].flat();
    pairs.push(...values.map((one): [string, string] => [name, one]));
  }
  return pairs;
}

const KEY_HEADERS: ReadonlySet<string> = new Set(['authorization', 'x-api-key']);

/** The time in microseconds. */
export function micros(now: number = performance.now()): number {
  return Math.round(now * 1_000);
}

function millis(time: number | null): number | null {
  return time === null ? null : time / 1_000;
}
