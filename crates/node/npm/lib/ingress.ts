/**
 * The ingress: who may send a request, what may pass, and which pool serves it.
 *
 * ```ts
 * const ingress = new Ingress(new Configuration('models: [llama-3]'));
 * const admitted = ingress.admit({ model: 'llama-3', path: '/v1/completions' });
 * admitted.targets[0]?.pool; // 'default'
 * ingress.settle(admitted, { promptTokens: 10, completionTokens: 20 });
 * ```
 *
 * Times are milliseconds of `performance.now`, unless `now` is given.
 */
import { Configuration } from './configuration.js';
import { NativeIngress, type Arrival as NativeArrival } from '../native/index.js';
import { guarded } from './errors.js';
import { type Caller, pairs, RefusedError } from './gates.js';
import { type HeaderSource, RawHeaders } from './headers.js';
import { type Data, stringify } from './machine.js';
import { type Allow, readAllow } from './request.js';
import type { Target } from './routing.js';

/** A configuration: that of a file, or an object with `routing` and `gates`. */
export type IngressConfig = Configuration | { readonly [name: string]: Data };

/** What a host sets for an ingress. */
export interface IngressOptions {
  /** Seeds the splits that nothing pins. Default: 0. */
  readonly seed?: number | bigint | undefined;
  /** The claims that count from headers: `session`, `objective` and `sessionHeaders`. */
  readonly allow?: Allow | undefined;
}

/** A request, as its host knows it. */
export interface Arrival {
  /** The model that the client's body names. */
  readonly model: string;
  /** The path, without its query. */
  readonly path?: string | undefined;
  /** The method; `POST` by default. */
  readonly method?: string | undefined;
  /** The client's headers. */
  readonly headers?: HeaderSource | undefined;
  /** Names a client without a key, such as its address. */
  readonly client?: string | undefined;
  /** The session, if the host has one. It takes precedence over headers. */
  readonly session?: string | undefined;
  /** The objective, if the host has one. It takes precedence over headers. */
  readonly objective?: string | undefined;
  /** Tokens of the prompt. */
  readonly promptTokens?: number | undefined;
  /** Tokens of the answer, as expected. */
  readonly outputTokens?: number | undefined;
  /** The time. */
  readonly now?: number | undefined;
}

/** A request that was admitted. It counts as in flight until `settle` or `cancel`. */
export interface Admitted {
  /** Names the request. */
  readonly grant: number;
  /** The client. */
  readonly caller: Caller;
  /** The name of the rule that applied, if there are rules. */
  readonly rule: string | null;
  /** Where to ask, in this order: the chosen pool, then its fallbacks. Never empty. */
  readonly targets: readonly Target[];
  /** Copies of the request, whose answers are dropped. */
  readonly mirrors: readonly Target[];
  /** What the scheduler gets. */
  readonly options: {
    readonly flow?: string;
    readonly priority?: number;
    readonly weight?: number;
  };
  /** The session, if the host or an accepted header names one. */
  readonly session: string | null;
  /** Milliseconds that the whole request may take. */
  readonly timeoutMs: number | null;
  /** The headers for the client: `x-ratelimit-remaining-tokens` and others. */
  readonly headers: ReadonlyArray<[string, string]>;
  /** The client's name of the model, if a target has another one: it goes back into the answer. */
  readonly answersAs: string | null;
}

/** Who may send a request, what may pass, and which pool serves it. */
export class Ingress {
  /** @internal */
  readonly native: NativeIngress;

  /** An invalid field of the configuration is a `TypeError` with its path. */
  constructor(configuration: IngressConfig, { seed = 0, allow = [] }: IngressOptions = {}) {
    const { names, sessionHeaders } = readAllow(allow);
    const text = stringify({ config: plain(configuration), seed, allow: names, sessionHeaders });
    this.native = guarded(() => new NativeIngress(text));
  }

  /** Replaces the configuration. Requests in flight and the usage of quotas stay counted. */
  setConfig(configuration: IngressConfig): void {
    const text = stringify({ config: plain(configuration) });
    guarded(() => this.native.setConfig(text));
  }

  /**
   * The client behind a request, before its body is read. Throws a `RefusedError` if its key is
   * unknown, or missing where one is required.
   */
  identify(headers: HeaderSource, { client }: { readonly client?: string | undefined } = {}): Caller {
    const list = flat(headers);
    return accepted(guarded(() => this.native.identify(list, client)));
  }

  /**
   * Routes a request, then counts it in all limits of its client, or in none. Throws a
   * `RefusedError`: 401 for an unknown key, 403 for a model that the key does not allow, 404 for
   * one that no pool serves, 413 and 429 for an exceeded limit.
   */
  admit({ headers = [], now, ...arrival }: Arrival): Admitted {
    const { model, path = '', method = '', client, session, objective, promptTokens = 0, outputTokens = 0 } = arrival;
    const [at, list] = [now ?? performance.now(), flat(headers)];
    return accepted(guarded(() =>
      this.native.admit(at, model, path, method, list, client, session, objective, promptTokens, outputTokens)));
  }

  /**
   * @internal Reads a request and admits it. `add` are headers of the host's for engines: names and
   * values in turn.
   */
  arrive(
    body: Uint8Array,
    path: string,
    headers: RawHeaders,
    client: string | undefined,
    expectedOutput: number,
    add: string[],
  ): NativeArrival {
    const now = performance.now();
    return accepted(guarded(() => this.native.arrive(now, body, path, headers.list, client, expectedOutput, add)));
  }

  /**
   * The request has ended with this usage; an unknown count leaves the estimate. Returns whether it
   * had not ended before.
   */
  settle(
    { grant }: Admitted,
    usage: { readonly promptTokens?: number | undefined; readonly completionTokens?: number | undefined } = {},
    now: number = performance.now(),
  ): boolean {
    const { promptTokens, completionTokens } = usage;
    return guarded(() => this.native.settle(now, grant, promptTokens, completionTokens));
  }

  /** No engine has served the request: it counts as if it had not come. */
  cancel({ grant }: Admitted, now: number = performance.now()): boolean {
    return guarded(() => this.native.cancel(now, grant));
  }

  /** The models that the caller may request, for `/v1/models`. */
  models({ anonymous, name }: Caller): string[] {
    return guarded(() => this.native.models(anonymous ? null : name));
  }
}

function plain(configuration: IngressConfig): { readonly [name: string]: Data } {
  return configuration instanceof Configuration ? configuration.ingress() : configuration;
}

/** Names and values in turn. */
function flat(headers: HeaderSource): string[] {
  return headers instanceof RawHeaders ? headers.list : pairs(headers).flat();
}

/** The answer. A refusal is thrown as a `RefusedError`. */
function accepted<T extends object>(answer: T | string): T {
  if (typeof answer === 'string') {
    throw new RefusedError(JSON.parse(answer));
  }
  return answer;
}
