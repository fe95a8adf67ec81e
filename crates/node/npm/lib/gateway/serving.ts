/**
 * One request, from its headers to the end of its answer.
 *
 * ```text
 * identify ─► read the body ─► admit ─► check the prompt ─► ask a pool ─► send ─► settle
 *    401          413          403 404        400          next target      cancel
 *                              413 429                     if it is full
 * ```
 *
 * The exchange retries on other endpoints before the first byte. A client that disconnects aborts
 * the signal of its request, which ends it at the engine.
 */
import { LONGEST_TIMER_MS } from '../clock.js';
import { errorResponse, failureResponse, shapeOf } from '../error_responses.js';
import { Abort, type Signal } from '../abort.js';
import type { Ask, ExchangeOptions, Reply } from '../engine_answer.js';
import { RefusedError } from '../gates.js';
import type { Admitted } from '../ingress.js';
import type { HttpRequest } from '../request.js';
import type { Target } from '../routing.js';
import { operationOf, type ObservedRequest, type RequestEnd } from '../telemetry.js';
import { WireError } from '../errors.js';
import { rewriteModel } from '../wire.js';
import { BodyTooLarge, headerOf, withHeaders, type Answer, type Chunks, type Incoming } from './answer.js';
import type { Gateway } from './gateway.js';
import { described } from './log.js';
import type { Pool } from './pools.js';
import { Safety } from './safety.js';

/** Serves one request to an API of model servers. `done` is called once, when all of it is over. */
export async function serve(gateway: Gateway, incoming: Incoming, done: (status: number) => void): Promise<Answer> {
  const serving = new Serving(gateway, incoming, done);
  try {
    return await serving.run();
  } catch (error) {
    const answer = refusalOf(gateway, incoming, error);
    serving.finish(answer.status, error);
    return answer;
  }
}

/** The answer to a request that no pool was asked for. */
function refusalOf(gateway: Gateway, { path, signal }: Incoming, error: unknown): Answer {
  if (error instanceof RefusedError || error instanceof WireError) {
    return errorResponse(error, { path });
  }
  const most = gateway.settings.maxBody;
  if (error instanceof BodyTooLarge) {
    return failureResponse(413, 'body_too_large', `the body has more than ${most} bytes`, { path });
  }
  if (signal.aborted) {
    return failureResponse(499, 'client_disconnected', 'the client disconnected', { path });
  }
  throw error;
}

/** The steps of one request. */
class Serving {
  readonly #gateway: Gateway;
  readonly #incoming: Incoming;
  readonly #done: (status: number) => void;
  #body: Uint8Array = EMPTY;
  #model = '';
  /** The headers for engines: none of the connection, and no key of the client. */
  #sent: readonly string[] = [];
  #addUsage = false;
  #targets: [Target, Pool][] = [];
  #mirrors: [Target, Pool][] = [];
  #finished = false;
  /** Undefined without OpenTelemetry. */
  #observed: ObservedRequest | undefined;

  constructor(gateway: Gateway, incoming: Incoming, done: (status: number) => void) {
    this.#gateway = gateway;
    this.#incoming = incoming;
    this.#done = done;
  }

  async run(): Promise<Answer> {
    const { ingress, settings, pools } = this.#gateway;
    const { headers, client, path } = this.#incoming;
    const { hasGates } = this.#gateway;
    if (hasGates) {
      // Before the body is read: a body of an unknown client costs nothing.
      ingress.identify(headers, { client });
    }
    this.#body = await this.#incoming.read(settings.maxBody);
    const arrival = ingress.arrive(this.#body, path, headers, client, settings.expectedOutput, this.#added());
    const { admitted } = arrival;
    this.#model = arrival.model;
    this.#sent = arrival.sent;
    this.#observe(admitted);
    // Quotas need the usage of streams, which these two APIs report on request only.
    this.#addUsage = hasGates && arrival.stream && ON_REQUEST.has(arrival.api);
    // A reload may remove a pool while the request is served.
    this.#targets = admitted.targets.map((target) => [target, pools.get(target.pool)]);
    this.#mirrors = admitted.mirrors.map((target) => [target, pools.get(target.pool)]);
    return this.#serve(admitted, new Limited(this.#incoming.signal, admitted.timeoutMs));
  }

  /** The request is over: it is counted once. */
  finish(status: number, error?: unknown): void {
    if (!this.#finished) {
      this.#finished = true;
      this.#observed?.end({ status, error });
      this.#done(status);
    }
  }

  /** Begins the span of the request, if OpenTelemetry is installed. */
  #observe({ session, options }: Admitted): void {
    const { telemetry } = this.#gateway.settings;
    if (!telemetry.enabled) {
      return;
    }
    const { path, headers } = this.#incoming;
    const described = { headers, session: session ?? undefined, flow: options.flow, priority: options.priority };
    this.#observed = telemetry.request(operationOf(path), this.#model, described);
    const trace = Object.entries(this.#observed.headers);
    if (trace.length > 0) {
      const names = new Set(trace.map(([name]) => name.toLowerCase()));
      this.#sent = this.#sent.filter((_, at) => !names.has(this.#sent[at - (at % 2)] as string)).concat(trace.flat());
    }
  }

  async #serve(admitted: Admitted, limit: Limited): Promise<Answer> {
    const { ingress } = this.#gateway;
    const { path } = this.#incoming;
    let reply: Reply;
    try {
      const safety = this.#safety(admitted.caller.name);
      if (safety !== null) {
        this.#body = await limit.race(safety.prompt(this.#body));
      }
      reply = await this.#ask(admitted, limit);
      return this.#answer(reply, admitted, safety, limit);
    } catch (error) {
      limit.end();
      ingress.cancel(admitted);
      if (limit.isOver) {
        const message = `the request took more than ${(admitted.timeoutMs ?? 0) / 1_000} s`;
        const answer = failureResponse(504, 'request_timeout', message, { path });
        this.finish(answer.status, 'TimeoutError');
        return withHeaders(answer, admitted.headers);
      }
      if (error instanceof RefusedError) {
        this.finish(error.httpStatus, error);
        return withHeaders(errorResponse(error, { path }), admitted.headers);
      }
      throw error;
    }
  }

  #safety(caller: string): Safety | null {
    const { safety: judge, log } = this.#gateway.settings;
    if (judge === undefined) {
      return null;
    }
    const config = this.#gateway.safetyConfig;
    return new Safety({ judge, config, shape: shapeOf(this.#incoming.path), caller, log });
  }

  /** Asks the pool, and then its fallbacks while they have no room. */
  async #ask(admitted: Admitted, limit: Limited): Promise<Reply> {
    let reply: Reply | undefined;
    for (const [target, pool] of this.#targets) {
      reply?.end();
      reply = await this.#askPool(target, pool, admitted, limit);
      if (reply.dispatch !== undefined || !NO_ROOM.includes(reply.status)) {
        break;
      }
    }
    for (const [target, pool] of this.#mirrors) {
      const { path, target: url } = this.#incoming;
      const session = admitted.session ?? undefined;
      this.#gateway.mirrors.send({ pool, target, path, url, session, body: this.#bodyFor(target), headers: this.#sent });
    }
    return reply as Reply;
  }

  async #askPool(target: Target, pool: Pool, admitted: Admitted, { client: signal, expires }: Limited): Promise<Reply> {
    const { settings, upstream, history } = this.#gateway;
    const { path, headers, target: url } = this.#incoming;
    const [body, sent] = [this.#bodyFor(target), this.#sent];
    const request: HttpRequest = { body, path, headers, allow: settings.allow };
    const { attempts, idleTimeoutMs } = settings;
    const options: Options = { ...admitted.options, attempts, idleTimeoutMs, signal, expires };
    if (target.adapter !== null) {
      options.model = target.base;
      options.adapter = target.adapter;
    }
    const explanation = history.explain(pool.scheduler, request, options);
    options.answersAs = admitted.answersAs;
    options.connector = settings.connector;
    options.addUsage = this.#addUsage;
    const ask: Ask = (engine, attempt, call) =>
      upstream.post(engine, url, call.body ?? body, call.headers.length > 0 ? [...sent, ...call.headers.flat()] : sent, attempt);
    const reply = await pool.exchange(ask, request, options);
    const { status, dispatch } = reply;
    history.record({ pool: target.pool, model: this.#model, caller: admitted.caller.name, status, dispatch, explanation });
    return reply;
  }

  /** The body with the model that the target serves. */
  #bodyFor(target: Target): Uint8Array {
    return target.model === this.#model ? this.#body : rewriteModel(this.#body, target.model);
  }

  /** The gateway's own headers for engines: names and values in turn. */
  #added(): string[] {
    const { engineKey } = this.#gateway.settings;
    const add: string[] = [];
    // Other bodies are JSON, whatever `curl -d` declares.
    if (!headerOf(this.#incoming, 'content-type').toLowerCase().startsWith('multipart/form-data')) {
      add.push('content-type', 'application/json');
    }
    if (engineKey !== undefined) {
      add.push('authorization', `Bearer ${engineKey}`);
    }
    return add;
  }

  /** The reply as the client gets it. Its end settles the request. */
  #answer(reply: Reply, admitted: Admitted, safety: Safety | null, limit: Limited): Answer {
    const headers = admitted.headers.length > 0 ? [...reply.headers, ...admitted.headers] : reply.headers;
    const isAnswer = reply.dispatch !== undefined && reply.status < 400;
    let body: Chunks = reply;
    if (safety !== null && isAnswer) {
      const isStream = headerOf(reply, 'content-type').includes('event-stream');
      body = safety.answer(isStream ? 'stream' : 'answer', reply);
    }
    const observed = this.#observed;
    if (reply.dispatch !== undefined) {
      observed?.handleDispatch(reply.dispatch);
    }
    const next = observed === undefined ? () => body.next() : () => observedChunk(observed, body);
    const end = (error?: unknown) => {
      if (this.#finished) {
        return;
      }
      limit.end();
      body.end();
      observed?.end(endOf(reply, error, this.#incoming.signal.aborted));
      this.#report(reply, error, admitted, limit);
      this.#settle(reply, admitted);
      this.finish(reply.status);
    };
    return { status: reply.status, headers, body: { next, end } };
  }

  /** Logs why an answer is not whole, unless its client has left. */
  #report(reply: Reply, error: unknown, { timeoutMs }: Admitted, { isOver }: Limited): void {
    const failure = reply.status < 400 ? (error ?? reply.failure) : undefined;
    if (failure !== undefined && !this.#incoming.signal.aborted) {
      const why = isOver ? `it took more than ${(timeoutMs ?? 0) / 1_000} s` : described(failure);
      this.#gateway.settings.log('warning', `an answer broke off: ${why}`);
    }
  }

  /** Replaces the estimate of the quotas with what was used. */
  #settle(reply: Reply, admitted: Admitted): void {
    const { ingress } = this.#gateway;
    // Only gates count usage.
    const usage = this.#gateway.hasGates ? reply.usage : NO_USAGE;
    if (reply.dispatch === undefined || usage === null || reply.status >= 400) {
      ingress.cancel(admitted);
      return;
    }
    const { promptTokens, completionTokens } = usage;
    ingress.settle(admitted, { promptTokens, completionTokens });
  }
}

/** The next chunk, whose time counts. */
async function observedChunk(observed: ObservedRequest, body: Chunks): Promise<Uint8Array | undefined> {
  const chunk = await body.next();
  if (chunk !== undefined) {
    observed.handleChunk();
  }
  return chunk;
}

/** How a reply has ended, for its span. */
function endOf(reply: Reply, error: unknown, hasLeft: boolean): RequestEnd {
  const { status, outcome } = reply;
  const isStream = headerOf(reply, 'content-type').startsWith('text/event-stream');
  const isWhole = outcome?.complete ?? true;
  return { status, outcome, isStream, error: error ?? (hasLeft && !isWhole ? 'client_disconnected' : undefined) };
}

/** The time of a request, and its client. */
class Limited {
  readonly client: Signal;
  /** Aborts at the end of the time. */
  readonly expires: Abort | undefined;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(client: Signal, timeoutMs: number | null) {
    this.client = client;
    if (timeoutMs !== null) {
      const over = (this.expires = new Abort());
      const end = () => over.abort(new DOMException('the request took too long', 'TimeoutError'));
      this.#timer = setTimeout(end, Math.min(timeoutMs, LONGEST_TIMER_MS));
    }
  }

  /** Whether the time is over. */
  get isOver(): boolean {
    return this.expires?.aborted ?? false;
  }

  /** What a promise resolves to, unless the time ends or the client leaves first. */
  async race<T>(promise: Promise<T>): Promise<T> {
    const signals = this.expires === undefined ? [this.client] : [this.client, this.expires];
    let stop = () => {};
    const over = new Promise<never>((_, reject) => {
      stop = () => reject(signals.find((signal) => signal.aborted)?.reason);
      signals.forEach((signal) => signal.addEventListener('abort', stop));
    });
    try {
      signals.forEach((signal) => signal.throwIfAborted());
      return await Promise.race([promise, over]);
    } finally {
      signals.forEach((signal) => signal.removeEventListener('abort', stop));
    }
  }

  /** Nothing is limited any more. */
  end(): void {
    clearTimeout(this.#timer);
  }
}

const EMPTY = new Uint8Array(0);
/** The statuses of a scheduler that has no room or no endpoint. */
const NO_ROOM: readonly number[] = [429, 503];
/** The APIs whose streams report their usage only if the body requests it. */
const ON_REQUEST: ReadonlySet<string> = new Set(['chat_completions', 'completions']);
const NO_USAGE = { promptTokens: undefined, completionTokens: undefined };

/** The options of an exchange, as they are filled in. */
type Options = { -readonly [K in keyof ExchangeOptions]: ExchangeOptions[K] };
