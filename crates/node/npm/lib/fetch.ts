/**
 * A `fetch` that routes: client libraries that take a `fetch` send their requests to the engines of
 * a scheduler.
 *
 * ```ts
 * const fetch = await routedFetch({ engines: ['http://10.0.0.1:8000', 'http://10.0.0.2:8000'] });
 * const client = new OpenAI({ fetch, apiKey: 'unused' });
 * ```
 *
 * A request keeps its path, and an engine's address replaces the host. Requests of a known API are
 * scheduled: see `Scheduler.forward`. Others, such as `GET /v1/models`, go to one of the endpoints.
 *
 * @packageDocumentation
 */
import type { Config } from './config.js';
import {
  discover,
  drain,
  httpGet,
  probe,
  scrape,
  subscribe,
  type Background,
  type Log,
  type ProbeChecks,
  type Publishers,
  type ScrapeOptions,
  type Source,
} from './engines/index.js';
import { RejectedError, WireError } from './errors.js';
import { errorResponse } from './error_responses.js';
import type { ForwardOptions } from './forward.js';
import type { HeaderSource } from './headers.js';
import type { OwnBytes } from './prompt.js';
import type { Allow } from './request.js';
import { Scheduler } from './scheduler.js';
import { checkFields, optionalFunction, type FieldsOf } from './validate.js';
import { apiOfPath, forwardedHeaders } from './wire.js';

/** A request, as `attributes` sees it. */
export interface RoutedRequest {
  /** Its path, with the query. */
  readonly path: string;
  /** Its headers. */
  readonly headers: Headers;
  /** Its body. */
  readonly body: Uint8Array;
}

/** Attributes of a request for the scheduler: its flow, priority, session and others. */
export type Attributes = Omit<ForwardOptions, 'signal' | 'now'>;

/** How requests are routed. */
export interface RouteOptions {
  /** Attributes of all requests, or of each. */
  attributes?: Attributes | ((request: RoutedRequest) => Attributes) | undefined;
  /** Which claims in bodies and headers count. Default: none. */
  allow?: Allow | undefined;
  /** Headers for the engines, such as their key. They replace the client's of the same name. */
  headers?: HeaderSource | undefined;
  /** Whether the client's keys and cookies go to the engines. Default: false. */
  credentials?: boolean | undefined;
  /** Sends requests to engines. Default: the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
}

/** Which engines there are, and how they are followed. */
export interface EngineOptions extends RouteOptions {
  /** The engines: their URLs, or where they are listed. See `discover`. */
  engines: Iterable<string> | Source;
  /** The configuration of the scheduler. */
  config?: Config | undefined;
  /** How metrics pages are scraped; false for not at all. */
  scrape?: Omit<ScrapeOptions, 'log'> | false | undefined;
  /** Where engines publish KV events. Needs the package `zeromq`. Default: no events. */
  publishers?: Publishers | undefined;
  /** Health checks. Default: none, since scrapes notice engines that fail. */
  checks?: ProbeChecks | undefined;
  /** Where helpers report what happens to engines. Default: `console` without `info`. */
  log?: Log | undefined;
}

/** A `fetch` whose requests go to the endpoints of a scheduler. */
export interface RoutedFetch {
  (input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** The scheduler, for statistics and for endpoints. */
  readonly scheduler: Scheduler;
}

/** The same with engines that are followed until `close`. */
export interface EngineFetch extends RoutedFetch {
  /**
   * Ends the scheduler and all that follows the engines. Requests in flight may go on for up to
   * `timeoutMs`, by default 30,000; new ones are refused.
   */
  close(options?: { timeoutMs?: number | undefined }): Promise<void>;
  /** `close`, at the end of a block of `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

const ROUTE = {
  attributes: true,
  allow: true,
  headers: true,
  credentials: true,
  fetch: true,
} satisfies FieldsOf<RouteOptions>;

const ENGINES = {
  ...ROUTE,
  engines: true,
  config: true,
  scrape: true,
  publishers: true,
  checks: true,
  log: true,
} satisfies FieldsOf<EngineOptions>;

/**
 * A `fetch` whose requests go to the endpoints of a scheduler, or to `engines` with a scheduler of
 * its own, whose metrics pages are scraped. The latter keeps no process alive, except by
 * `publishers`.
 *
 * Method, headers, body and signal of a request count; other fields of `init` do not. It differs
 * from `fetch` in one more way: a request that no engine answers resolves to the response of a
 * refusal (429, 503, 504 and others) with its retry time, which client libraries honour. A request
 * that is aborted rejects with the reason of its signal, as with `fetch`.
 */
export function routedFetch(scheduler: Scheduler, options?: RouteOptions): RoutedFetch;
export function routedFetch(options: EngineOptions): Promise<EngineFetch>;
export function routedFetch(
  first: Scheduler | EngineOptions,
  options: RouteOptions = {},
): RoutedFetch | Promise<EngineFetch> {
  if (first instanceof Scheduler) {
    checkFields('options', ROUTE, options);
    return fetchOf(first, options);
  }
  checkFields('options', ENGINES, first);
  return followed(first);
}

function fetchOf(scheduler: Scheduler, options: RouteOptions): RoutedFetch {
  const router = new Router(scheduler, options);
  const fetch = (input: string | URL | Request, init?: RequestInit) => router.fetch(input, init);
  return Object.assign(fetch, { scheduler });
}

/** With a scheduler of its own. */
async function followed(options: EngineOptions): Promise<EngineFetch> {
  const { engines, config, publishers, checks, log, scrape: pages, ...route } = options;
  const scheduler = new Scheduler(config);
  const helpers: Background[] = [];
  let closing: Promise<void> | undefined;
  const close = ({ timeoutMs }: { timeoutMs?: number | undefined } = {}): Promise<void> => {
    closing ??= ended(scheduler, helpers, timeoutMs, log);
    return closing;
  };
  try {
    const fetch = fetchOf(scheduler, route);
    const get = httpGet();
    helpers.push(await discover(scheduler, engines, { log }));
    if (pages !== false) {
      helpers.push(scrape(scheduler, get, { ...pages, log }));
    }
    if (checks !== undefined) {
      helpers.push(probe(scheduler, get, checks, { log }));
    }
    if (publishers !== undefined) {
      helpers.push(await subscribe(scheduler, publishers, { log }));
    }
    return Object.assign(fetch, { close, [Symbol.asyncDispose]: () => close() });
  } catch (error) {
    await close({ timeoutMs: 0 });
    throw error;
  }
}

async function ended(
  scheduler: Scheduler,
  helpers: readonly Background[],
  timeoutMs: number | undefined,
  log: Log | undefined,
): Promise<void> {
  await Promise.all(helpers.map((helper) => helper.close()));
  const endpoints = [...scheduler.endpointNames().keys()];
  await Promise.all(endpoints.map((endpoint) => drain(scheduler, endpoint, { timeoutMs, log })));
  scheduler.close();
}

/** The requests of one `fetch`. */
class Router {
  readonly #scheduler: Scheduler;
  readonly #attributes: Attributes | ((request: RoutedRequest) => Attributes);
  readonly #allow: Allow | undefined;
  readonly #added: { add?: HeaderSource; credentials?: boolean | undefined };
  readonly #fetch: typeof globalThis.fetch;

  constructor(scheduler: Scheduler, options: RouteOptions) {
    const { attributes = {}, headers: add, credentials } = options;
    this.#scheduler = scheduler;
    this.#attributes = attributes;
    this.#allow = options.allow;
    this.#added = add === undefined ? { credentials } : { add, credentials };
    const own = optionalFunction('options.fetch', options.fetch);
    // The global one is looked up at each call, as others may replace it.
    this.#fetch = own ?? ((input, init) => globalThis.fetch(input, init));
    forwardedHeaders([], this.#added); // Rejects headers that are none.
  }

  async fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const request = typeof input === 'string' || 'href' in input ? undefined : input;
    const { pathname, search } = new URL(request?.url ?? String(input), 'http://engine');
    const path = pathname + search;
    const method = (init.method ?? request?.method ?? 'GET').toUpperCase();
    const headers = new Headers(init.headers ?? request?.headers);
    const signal = init.signal ?? request?.signal ?? undefined;
    signal?.throwIfAborted();
    const body = await bytesOf(init.body ?? request?.body, headers);
    signal?.throwIfAborted();
    const asked = { method, path, headers, body, signal };
    return method === 'POST' && apiOfPath(path) !== null ? this.#scheduled(asked) : this.#other(asked);
  }

  /** A request of a known API. */
  async #scheduled({ path, headers, body, signal }: Asked): Promise<Response> {
    const sent = forwardedHeaders(headers, this.#added);
    if (!headers.has('content-type')) {
      sent.push(['content-type', 'application/json']);
    }
    const attributes =
      typeof this.#attributes === 'function' ? this.#attributes({ path, headers, body }) : this.#attributes;
    const request = { body, path, headers, allow: this.#allow };
    try {
      return await this.#scheduler.forward(
        (url, ends, call) =>
          this.#fetch(join(url, path), {
            method: 'POST',
            headers: call.headers.length === 0 ? sent : [...sent, ...call.headers],
            body: call.body ?? body,
            redirect: 'manual',
            signal: ends,
          }),
        request,
        { ...attributes, signal },
      );
    } catch (error) {
      return refused(error, path);
    }
  }

  /**
   * Any other request, such as one for the list of models: it has no tokens to account for. It goes
   * to the endpoint that a request would go to, or to that of its response id.
   */
  async #other({ method, path, headers, body, signal }: Asked): Promise<Response> {
    const sent = forwardedHeaders(headers, this.#added);
    const init: RequestInit = { method, headers: sent, redirect: 'manual', signal: signal ?? null };
    const continues = /\/responses\/([^/?]+)/.exec(path)?.[1];
    const repeatable = method === 'GET' || method === 'HEAD';
    const exclude: number[] = [];
    let failure: unknown;
    for (;;) {
      const { endpointId, candidates, rejected } = this.#scheduler.explain('', { continues, exclude });
      const fit = candidates.find(
        (one) => one.endpointId === endpointId || (endpointId === null && one.excluded === 'full'),
      );
      if (fit === undefined) {
        if (failure !== undefined || rejected === null) {
          throw failure;
        }
        return refused(new RejectedError(rejected), path);
      }
      try {
        return await this.#fetch(join(fit.name, path), body.length === 0 ? init : { ...init, body });
      } catch (error) {
        if (signal?.aborted === true) {
          throw error;
        }
        failure = error;
        exclude.push(fit.endpointId);
        this.#scheduler.handleProbe(fit.endpointId, false);
        if (!repeatable || exclude.length >= ATTEMPTS) {
          throw error;
        }
      }
    }
  }
}

/** A request, as it came. */
interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly body: OwnBytes;
  readonly signal: AbortSignal | undefined;
}

/** A refusal as a response; other errors are those of `fetch`. */
function refused(error: unknown, path: string): Response {
  if (error instanceof RejectedError || error instanceof WireError) {
    const { status, headers, body } = errorResponse(error, { path });
    return new Response(body, { status, headers });
  }
  throw error;
}

/** The bytes of a body, whose type goes into the headers if they have none. */
async function bytesOf(body: RequestInit['body'], headers: Headers): Promise<OwnBytes> {
  if (body === undefined || body === null) {
    return new Uint8Array();
  }
  if (typeof body === 'string') {
    return new TextEncoder().encode(body);
  }
  const whole = new Response(body);
  const type = whole.headers.get('content-type');
  if (type !== null && !headers.has('content-type')) {
    headers.set('content-type', type);
  }
  return new Uint8Array(await whole.arrayBuffer());
}

/** The address of an engine and a path. */
function join(url: string, path: string): string {
  return url.replace(/\/+$/, '') + path;
}

/** Endpoints that a request without a schedule is sent to at most. */
const ATTEMPTS = 3;
