/**
 * Which pool serves a request, and under which model name.
 *
 * ```ts
 * const routing = new Routing({
 *   pools: [{ name: 'llama', models: ['llama-3'] }],
 *   objectives: [{ name: 'chat', priority: 5 }],
 * });
 * routing.route('llama-3', { objective: 'chat' }).target.pool; // 'llama'
 * ```
 *
 * Routing is pure: a gateway has one scheduler for each pool, and a new configuration is a new
 * `Routing`.
 */
import { SlotwiseError } from './errors.js';
import { type Data, Machine } from './machine.js';

/** A pool and a model. */
export interface Target {
  /** The name of the pool. */
  readonly pool: string;
  /** The model to write into the forwarded body. */
  readonly model: string;
  /** The base model; it differs from `model` if that names an adapter. */
  readonly base: string;
  /** The LoRA adapter. */
  readonly adapter: string | null;
}

/** Where a request goes. */
export interface Route {
  /** The name of the rule that applied, if there are rules. */
  readonly rule: string | null;
  /** The pool and the model. */
  readonly target: Target;
  /** Where to ask next, in this order, when the target's pool has no room. */
  readonly fallbacks: readonly Target[];
  /** Copies of the request, whose answers are dropped. */
  readonly mirrors: readonly Target[];
  /** The priority of the objective, if it is known to the pool. */
  readonly priority: number | null;
  /** Milliseconds that the whole request may take. */
  readonly timeoutMs: number | null;
}

/** What a host knows about a request beside its model. */
export interface Inquiry {
  /** The method; `POST` by default. */
  readonly method?: string | undefined;
  /** The path, without its query. */
  readonly path?: string | undefined;
  /** The client's headers. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The session, if the client may name one. */
  readonly session?: string | undefined;
  /** The objective, if the client may name one. */
  readonly objective?: string | undefined;
}

/** A request has no route. */
export class NoRouteError extends SlotwiseError {
  /** The status of the client's answer. */
  readonly httpStatus: number;

  constructor(message: string, code: string, httpStatus: number) {
    super(message, code);
    this.httpStatus = httpStatus;
  }
}

interface Refused {
  readonly message: string;
  readonly code: string;
  readonly http_status: number;
}

type Answer =
  | { readonly refused: Refused }
  | (Omit<Route, 'timeoutMs'> & { readonly refused?: undefined; readonly timeout_s: number | null });

/** The rules by which requests find their pool. */
export class Routing {
  readonly #machine: Machine;

  /**
   * `config` has pools, rules, rewrites and objectives; an invalid field is a `TypeError` with its
   * path. `seed` seeds the splits that nothing pins.
   */
  constructor(config: { readonly [name: string]: Data }, { seed = 0 }: { seed?: number | bigint } = {}) {
    this.#machine = new Machine('routing', { config, seed });
  }

  /** The route of a request. Throws a `NoRouteError` if there is none. */
  route(model: string, inquiry: Inquiry = {}): Route {
    const answer = this.#machine.call<Answer>('route', { model, ...inquiry });
    if (answer.refused !== undefined) {
      const { message, code, http_status: status } = answer.refused;
      throw new NoRouteError(message, code, status);
    }
    const { timeout_s: seconds, ...route } = answer;
    return { ...route, timeoutMs: seconds === null ? null : seconds * 1_000 };
  }

  /** All models that clients may name. */
  models(): string[] {
    return this.#machine.call('models');
  }
}
