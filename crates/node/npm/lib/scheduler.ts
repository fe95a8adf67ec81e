/**
 * The scheduler: validates what callers pass, calls the native module, converts what it returns.
 */
import { NativeScheduler, requests } from '../native/index.js';
import type { Signal } from './abort.js';
import { Clock } from './clock.js';
import { checkOptions, readConfig, warnOfConfig, type Config, type SchedulerOptions } from './config.js';
import type { Configuration } from './configuration.js';
import { DispatchBuffer } from './dispatch_buffer.js';
import { Endpoints } from './endpoints.js';
import { RejectedError, closedError, guarded, rangeError, typeError } from './errors.js';
import { forward, type ForwardOptions, type Send } from './forward.js';
import { Lease } from './lease.js';
import { checkMetricsText, type MetricsTextOptions } from './metrics.js';
import type { Prompt } from './prompt.js';
import { readUsage, type Usage } from './reports.js';
import {
  allOptions,
  checkAcquire,
  checkPick,
  checkSubmit,
  readRequest,
  type AcquireOptions,
  type Failure,
  type HttpRequest,
  type NativeRequest,
  type PickOptions,
  type PickRequest,
  type Stage,
  type SubmitOptions,
} from './request.js';
import { CostFunctionCalls } from './cost_function.js';
import {
  checkFields,
  checkSignal,
  describe,
  checkEndpointId,
  number,
  optionalBoolean,
  optionalFunction,
  optionalNumber,
  optionalString,
  checkRequestId,
  string,
} from './validate.js';
import {
  withoutDispatchFields,
  type Decision,
  type Dispatch,
  type Evicted,
  type Explanation,
  type Rejected,
  type ResolvedConfig,
  type Stats,
} from './values.js';
import { Waiting } from './waiting.js';
import { warnImplausible } from './warn_once.js';

/**
 * Decides whether and where each request goes, and accounts for it until its end.
 *
 * | kind | methods |
 * |---|---|
 * | inputs | `addEndpoint` ... `resumeEndpoint`, `handle*`, `observe*`, `apply*`, `restore` |
 * | requests | `pick`, `submit`, `acquire`, `forward`, `complete`, `fail`, `cancel`, `redirect` |
 * | legs | `completeLeg`, `failLeg`, `redirectLeg`, `legOf` |
 * | polling | `pollDecision`, `nextTimeout`, `preemptionCandidates` |
 * | queries | `explain`, `stats`, `metricsText`, `config`, `endpoint*`, `inFlightOn`, `snapshot` |
 *
 * **After each `submit` and each other input, call `pollDecision` until it returns undefined; then
 * wait for the next input or for `nextTimeout`.** `acquire` and `forward` do this by themselves.
 *
 * `now` is the last argument of each call that takes time: milliseconds on a monotonic clock.
 * Default: the scheduler's clock. An older `now` than the latest counts as the latest. A call that
 * throws changes nothing.
 */
export class Scheduler extends Endpoints {
  readonly #costFunction: CostFunctionCalls | undefined;
  readonly #waiting: Waiting;
  readonly #maxQueued: number;
  /** How long `acquire` waits without a `timeoutMs`. */
  #ttlMs: number;
  #closed = false;

  /** Creates a scheduler without endpoints. */
  constructor(config: Config = {}, options: SchedulerOptions = {}) {
    const settings = readConfig(config);
    settings.seed ??= randomSeed();
    checkOptions(options);
    const cost = optionalFunction('options.cost', options.cost);
    const clock = new Clock(optionalFunction('options.now', options.now));
    const maxQueued = optionalNumber('options.maxQueued', options.maxQueued) ?? 65_536;
    if (!(maxQueued >= 0)) {
      throw rangeError(`options.maxQueued must not be negative, got ${maxQueued}`);
    }
    const native = guarded(() => new NativeScheduler(settings));
    warnOfConfig(settings);
    const { alternatives, flow } = native.config as ResolvedConfig;
    super(native, clock, new DispatchBuffer(alternatives));
    this.#costFunction = cost === undefined ? undefined : new CostFunctionCalls(cost);
    this.#maxQueued = maxQueued;
    this.#ttlMs = flow.ttlMs;
    this.#waiting = new Waiting({
      poll: (now) => this.#poll(now),
      nextTimeout: () => guarded(() => this.native.nextTimeout()) ?? undefined,
      withdraw: (requests) => this.#withdraw(requests),
      clock: () => this.clock(),
    });
  }

  /**
   * Changes the configuration of the running scheduler. Queued requests, reservations, cache
   * contents, sessions and learned values stay. Omitted fields have their defaults, except `seed`,
   * which stays.
   *
   * Throws `ConfigError` for an invalid field, and for one that cannot change: `seed`,
   * `maxEndpoints`, `maxModels`, `maxAdapters`, `maxThreads`, `index`, `flow.fairness`,
   * `flow.order` and `flow.sessionAdmission`. Nothing changes then.
   */
  reconfigure(config: Config, now?: number): void {
    const [at, settings] = [this.time.at(now), readConfig(config)];
    guarded(() => this.native.reconfigure(at, settings));
    warnOfConfig(settings);
    this.#configured(at);
  }

  /**
   * Changes the running pool to that of this name in a configuration. Returns the ids of its
   * endpoints, in the configuration's order.
   *
   * New endpoints are added, changed ones updated, and a changed scheduler is reconfigured.
   * Endpoints that left the configuration drain until `removeIdle`; those that come back before
   * stay. Endpoints that were added beside the configuration are not touched. A seed of 0 leaves
   * the running one.
   *
   * Throws `ConfigError` for a field that cannot change, and for an unknown pool. Nothing changes
   * then.
   */
  apply(configuration: Configuration, pool: string, now?: number): number[] {
    const [at, name, text] = [this.time.at(now), string('pool', pool), configuration.text()];
    const ids = guarded(() => this.native.apply(at, text, name));
    for (const id of ids) {
      this.names.set(id, this.native.endpoint(id)?.name ?? '');
    }
    this.#configured(at);
    return ids;
  }

  /**
   * Removes the endpoints that left the configuration and have no request in flight. Returns their
   * ids. Call it after the ends of requests.
   */
  removeIdle(now?: number): number[] {
    const at = this.time.at(now);
    const ids = guarded(() => this.native.removeIdle(at));
    ids.forEach((id) => this.names.delete(id));
    this.wake(at);
    return ids;
  }

  /** The configuration has changed. */
  #configured(at: number): void {
    const { alternatives, flow } = this.config;
    this.buffer.limit(alternatives, this.names.size);
    this.#ttlMs = flow.ttlMs;
    this.wake(at);
  }

  // Requests.

  /**
   * Decides immediately: reserves the endpoint of the lowest cost, or returns why no endpoint can
   * take the request. It never queues: see `submit` and `acquire`. Exactly one of `complete`,
   * `fail` and `cancel` releases the reservation.
   */
  pick(prompt: Prompt | HttpRequest, options: PickOptions = {}): Decision {
    checkPick(options);
    const r = this.#read(prompt, options);
    const scored = this.#costFunction?.costs(() => this.#candidates(r), (id) => this.nameOf(id)) ?? null;
    const { numbers } = this.buffer;
    const rejected = guarded(() =>
      scored === null
        ? requests.pick(this.number, r.now, r.view, r.bytes, r.model, r.adapter, r.cacheSalt, r.session,
            r.flow, r.priority, r.deadline, r.expectedOutputTokens, allOptions(r), numbers)
        : requests.pickBy(this.number, r.now, r.view, r.bytes, r.model, r.adapter, r.cacheSalt, r.session,
            r.flow, r.priority, r.deadline, r.expectedOutputTokens, allOptions(r), numbers, scored.endpoints,
            scored.costs));
    return rejected ? withoutDispatchFields(rejected) : this.buffer.read((id) => this.nameOf(id));
  }

  /**
   * Decides about several requests in their order, all at one time: the same decisions as from as
   * many calls of `pick`. Each decision counts the ones before it, so a burst spreads over the
   * pool. An invalid request throws, and the requests before it are cancelled.
   */
  pickMany(requests: readonly PickRequest[], now?: number): Decision[] {
    if (!Array.isArray(requests)) {
      throw typeError(`requests must be an array, got ${describe(requests)}`);
    }
    const at = this.time.at(now);
    const decisions: Decision[] = [];
    try {
      for (const request of requests as readonly PickRequest[]) {
        checkFields('request', { prompt: true, options: true }, request);
        decisions.push(this.pick(request.prompt, { ...request.options, now: at }));
      }
    } catch (error) {
      decisions.forEach((decision) => decision.kind === 'dispatch' && this.cancel(decision.requestId, at));
      throw error;
    }
    return decisions;
  }

  /**
   * Dispatches a copy of a request that another pool serves, or returns undefined.
   *
   * A copy takes room only while no request is queued here and the pool's saturation is below
   * `limit`: 1 is a full pool, and 0.5 leaves half of it to requests of its own. A copy has the
   * lowest priority, never waits, and charges no flow. Its end is reported as that of any request.
   */
  pickMirror(
    prompt: Prompt | HttpRequest,
    options: PickOptions = {},
    { limit = 0.5 }: { readonly limit?: number | undefined } = {},
  ): Dispatch | undefined {
    checkPick(options);
    const most = number('limit', limit);
    if (!guarded(() => this.native.hasRoomForMirror(most))) {
      return undefined;
    }
    const decision = this.pick(prompt, { ...options, priority: LOWEST_PRIORITY, flow: '' });
    return decision.kind === 'dispatch' ? decision : undefined;
  }

  /**
   * Queues a request and returns its id, or returns why it is rejected at once. `pollDecision`
   * returns the outcome, and `cancel` withdraws a queued request. The cost function is not called.
   */
  submit(prompt: Prompt | HttpRequest, options: SubmitOptions = {}): number | Rejected {
    checkSubmit(options);
    const ttl = optionalNumber('ttlMs', options.ttlMs);
    const weight = optionalNumber('weight', options.weight) ?? 1;
    warnImplausible('ttl', 'ttlMs', ttl);
    return this.#submit(this.#read(prompt, options), ttl, weight);
  }

  /**
   * The next decision about a submitted request; undefined if there is none before the next input
   * or `nextTimeout`. **After each `submit` and each other input, call it until it returns
   * undefined.**
   */
  pollDecision(now?: number): Dispatch | Evicted | undefined {
    return this.#waiting.next(this.time.at(now));
  }

  /** When to call `pollDecision` even without an input, in milliseconds; undefined for never. */
  nextTimeout(): number | undefined {
    const at = guarded(() => this.native.nextTimeout()) ?? undefined;
    return this.#waiting.overdue ? this.clock() : at;
  }

  /**
   * Ids of submitted requests of negative priority that are in flight while requests of higher
   * priority are queued: at most `most`, the lowest priority first, the newest first among equals.
   * To preempt one, abort it and `cancel` it.
   */
  preemptionCandidates(most = 64): number[] {
    return guarded(() => requests.preemptionCandidates(this.number, most));
  }

  /**
   * Submits a request and resolves once it is dispatched, within `timeoutMs`. Rejects with a
   * `RejectedError`, or with the reason of `signal`; nothing is reserved then. While no endpoint
   * accepts requests, it rejects at once (`no_endpoints`), unless `waitForEndpoints` is true. The
   * scorer is called while the queue is empty; queued requests are dispatched at the built-in cost.
   */
  async acquire(prompt: Prompt | HttpRequest, options: AcquireOptions = {}): Promise<Lease> {
    return Lease.of(this, await this.decide(prompt, options));
  }

  /**
   * @internal The dispatch that `acquire` waits for, at once if there is room. Throws or rejects
   * with what `acquire` rejects with.
   */
  decide(
    prompt: Prompt | HttpRequest,
    options: Omit<AcquireOptions, 'signal'> & { readonly signal?: Signal | undefined },
  ): Dispatch | Promise<Dispatch> {
    checkAcquire(options);
    const { signal, timeoutMs, weight, waitForEndpoints } = options;
    checkSignal(signal);
    const patience = number('timeoutMs', timeoutMs === undefined ? this.#ttlMs : timeoutMs);
    if (!(patience >= 0)) {
      throw rangeError(`timeoutMs must not be negative, got ${patience}`);
    }
    warnImplausible('ttl', 'timeoutMs', timeoutMs);
    const share = optionalNumber('weight', weight) ?? 1;
    signal?.throwIfAborted();
    const later = optionalBoolean('waitForEndpoints', waitForEndpoints) ?? false;
    const waits = patience > 0 && this.#waiting.size < this.#maxQueued;
    const picks = this.#costFunction !== undefined && this.#waiting.size === 0;
    if (!waits || picks) {
      const { signal: _, timeoutMs: _timeout, weight: _weight, waitForEndpoints: _later, ...pickOptions } = options;
      const decision = this.pick(prompt, pickOptions);
      if (decision.kind === 'dispatch') {
        return decision;
      }
      // An empty pool is most often a mistake, and a silent wait would hide it.
      const nowhere = !later && this.acceptingEndpoints === 0;
      if (!waits || nowhere || !['saturated', 'no_endpoints'].includes(decision.reason)) {
        throw new RejectedError(decision);
      }
    }
    const r = this.#read(prompt, options);
    // Without a timeout, the TTL of its headers counts, or else that of the configuration.
    const { numbers } = this.buffer;
    const answer = guarded(() =>
      requests.decide(this.number, r.now, r.view, r.bytes, r.model, r.adapter, r.cacheSalt, r.session,
        r.flow, r.priority, r.deadline, r.expectedOutputTokens, r.rareOptions, r.body?.path, r.body?.headers,
        r.body?.priorityOrder, r.body?.allow, timeoutMs, share, later, numbers));
    if (typeof answer !== 'number') {
      if ('kind' in answer) {
        throw new RejectedError(withoutDispatchFields(answer));
      }
      return this.#wait(answer.requestId, withoutDispatchFields(answer.evicted), signal, r.now);
    }
    const other = numbers[0] as number;
    const dispatch = other < 0 ? undefined : this.buffer.read((id) => this.nameOf(id));
    if (other !== answer) {
      return this.#wait(answer, dispatch, signal, r.now);
    }
    this.#waiting.deliver(r.now);
    return dispatch as Dispatch;
  }

  /** Waits for the decision about a queued request. Another decision may have been polled. */
  async #wait(
    requestId: number,
    polled: Dispatch | Evicted | undefined,
    signal: Signal | undefined,
    now: number,
  ): Promise<Dispatch> {
    const dispatch = await new Promise<Dispatch>((grant, refuse) => {
      const waiter = { requestId, signal, grant, refuse };
      this.#waiting.enter(waiter, now, polled);
    });
    try {
      if (signal?.aborted) {
        throw signal.reason;
      }
    } catch (error) {
      // Dispatched and aborted in one turn: the caller never gets a lease to end.
      this.cancel(dispatch.requestId);
      throw error;
    }
    return dispatch;
  }

  /**
   * Serves a request: picks an endpoint, sends the request to it, and retries at other endpoints
   * until the first byte has gone to the client.
   *
   * Resolves to the response for the client: an answer, or a refusal. The request is settled when
   * its answer ends, and cancelled if the client disconnects: if `signal` aborts, or if the body is
   * cancelled or dropped.
   *
   * An endpoint that sends no token within 30 s or ten times the prediction times out; after the
   * first token, the limit is 60 s. A complete answer counts, whether its connection then breaks or
   * stays open. A stream that breaks off or times out ends with an error event of the client's API.
   * Where none can follow, the body rejects.
   *
   * ```ts
   * const headers = { 'content-type': 'application/json' };
   * const send = (url, signal) =>
   *   fetch(url + path, { method: 'POST', body, headers, redirect: 'manual', signal });
   * const response = await scheduler.forward(send, { body, path }, { signal });
   * ```
   */
  forward(send: Send, request: HttpRequest, options: ForwardOptions = {}): Promise<Response> {
    return forward(this, send, request, options);
  }

  /** Reports what `pick` would decide at the built-in cost, and every candidate's cost by term. */
  explain(prompt: Prompt | HttpRequest, options: PickOptions = {}): Explanation {
    checkPick(options);
    const r = this.#read(prompt, options);
    return guarded(() =>
      requests.explain(this.number, r.now, r.view, r.bytes, r.model, r.adapter, r.cacheSalt, r.session,
        r.flow, r.priority, r.deadline, r.expectedOutputTokens, allOptions(r)));
  }

  /** The first token of a request arrived. A second call changes nothing. */
  handleFirstToken(requestId: number, now?: number): void {
    const [at, id] = [this.time.at(now), checkRequestId(requestId)];
    this.input(at, () => requests.handleFirstToken(this.number, at, id));
  }

  /** The answer of a request grew by `tokens`. Implies the first token. */
  handleTokens(requestId: number, tokens: number, now?: number): void {
    const [at, id, count] = [this.time.at(now), checkRequestId(requestId), number('tokens', tokens)];
    this.input(at, () => requests.handleTokens(this.number, at, id, count));
  }

  /**
   * Records the id of the answer to a request: a request that continues it (`continues`,
   * `previous_response_id`, `thread`) goes to the same endpoint. Leases do this by themselves.
   */
  handleAnswer(requestId: number, answer: string, now?: number): void {
    const [at, id, name] = [this.time.at(now), checkRequestId(requestId), string('answer', answer)];
    this.input(at, () => requests.handleAnswer(this.number, at, id, name));
  }

  /** A request completed. Releases its reservation, and learns from its usage. */
  complete(requestId: number, usage?: Usage | null, now?: number): void {
    const [at, id] = [this.time.at(now), checkRequestId(requestId)];
    const { promptTokens, cachedTokens, completionTokens } = readUsage(usage ?? {});
    this.input(at, () =>
      requests.complete(this.number, at, id, promptTokens, cachedTokens, completionTokens));
  }

  /** A request failed at its endpoint. After a client error such as `400`, cancel it instead. */
  fail(requestId: number, failure: Failure = 'engine', now?: number): void {
    const [at, id, why] = [this.time.at(now), checkRequestId(requestId), string('failure', failure)];
    this.input(at, () => requests.fail(this.number, at, id, why));
  }

  /** The client disconnected. Returns whether the request was in flight or queued. */
  cancel(requestId: number, now?: number): boolean {
    const [at, id] = [this.time.at(now), checkRequestId(requestId)];
    this.#waiting.forget(id);
    return this.input(at, () => requests.cancel(this.number, at, id));
  }

  /**
   * A stage before the answer ended: its endpoint is released, and the request stays in flight.
   * Throws a `LegError` if the request has no such stage on another endpoint, or if it has ended.
   */
  completeLeg(requestId: number, stage: Stage, usage: Usage = {}, now?: number): void {
    const [at, id] = [this.time.at(now), checkRequestId(requestId)];
    const which = string('stage', stage);
    const { promptTokens, cachedTokens } = readUsage(usage);
    this.input(at, () => this.native.completeLeg(at, id, which, promptTokens, cachedTokens));
  }

  /**
   * A stage before the answer failed: only its endpoint is released. After a failed prefill, the
   * endpoint of the answer is reserved for the whole prompt. Throws a `LegError`.
   */
  failLeg(requestId: number, stage: Stage, failure: Failure = 'engine', now?: number): void {
    const [at, id] = [this.time.at(now), checkRequestId(requestId)];
    const [which, why] = [string('stage', stage), string('failure', failure)];
    this.input(at, () => this.native.failLeg(at, id, which, why));
  }

  /**
   * A stage before the answer failed: its next best endpoint is reserved instead, and returned.
   * Without one, this is `failLeg` and returns null. Throws a `LegError`.
   */
  redirectLeg(requestId: number, stage: Stage, failure: Failure = 'engine', now?: number): number | null {
    const [at, id] = [this.time.at(now), checkRequestId(requestId)];
    const [which, why] = [string('stage', stage), string('failure', failure)];
    return this.input(at, () => this.native.redirectLeg(at, id, which, why));
  }

  /** The id of the endpoint of a stage, or null if there is none or the stage has ended. */
  legOf(requestId: number, stage: Stage): number | null {
    return guarded(() => this.native.legOf(checkRequestId(requestId), string('stage', stage)));
  }

  /**
   * A request without a first token went to another endpoint than was decided. Counts as a failure
   * of the first endpoint.
   */
  redirect(
    requestId: number,
    endpointId: number,
    now?: number,
    failure: Failure = 'unreachable',
  ): void {
    const [at, id, to] = [this.time.at(now), checkRequestId(requestId), checkEndpointId('endpointId', endpointId)];
    const how = string('failure', failure);
    this.input(at, () => requests.redirect(this.number, at, id, to, how));
  }

  // Queries.

  /** Counters and gauges, as of the latest time that the scheduler received. */
  stats(): Stats {
    return guarded(() => this.native.stats());
  }

  /** `stats` as OpenMetrics text. Its content type is `METRICS_CONTENT_TYPE` in `slotwise/wire`. */
  metricsText(options: MetricsTextOptions = {}): string {
    checkMetricsText(options);
    const names = optionalString('names', options.names);
    const pool = optionalString('pool', options.pool) ?? '';
    const limit = optionalNumber('maxEndpoints', options.maxEndpoints) ?? 1_000;
    return guarded(() => this.native.metricsText(names, pool, limit));
  }

  /** The configuration, with the defaults. */
  get config(): ResolvedConfig {
    return guarded(() => this.native.config) as ResolvedConfig;
  }

  /** Calls of `acquire` that wait for a dispatch. */
  get queued(): number {
    return this.#waiting.size;
  }

  /** Whether `close` was called. */
  override get closed(): boolean {
    return this.#closed;
  }

  /** Frees its memory and rejects all waiting calls. Later calls throw errors of code `closed`. */
  close(): void {
    this.#closed = true;
    this.native.close();
    this.names.clear();
    this.#waiting.close(closedError());
    this.draining.close(closedError());
  }

  // For leases.

  /** @internal The time, in milliseconds. */
  clock(): number {
    return this.time.at(undefined);
  }

  /** @internal Delivers what an input changed, unless the scheduler is closed. */
  wakeAt(now: number): void {
    if (!this.#closed) {
      this.wake(now);
    }
  }

  /** @internal Drops a decision that was made but not polled yet. */
  forget(requestId: number): void {
    this.#waiting.forget(requestId);
  }

  /** @internal */
  protected override wake(now: number): void {
    // Without waiting promises, hosts poll by themselves.
    if (this.#waiting.size === 0 && this.draining.size === 0) {
      return;
    }
    const wakeup = guarded(() => this.native.takeWakeup());
    if (wakeup & WAKE_DECISIONS) {
      this.#waiting.deliver(now);
    }
    if (wakeup & WAKE_DRAINED) {
      this.draining.deliver();
    }
  }

  #read(prompt: Prompt | HttpRequest, options: PickOptions): NativeRequest {
    const now = this.time.at(options.now);
    // A cost function may call back, and overwrite what lies in shared memory.
    return readRequest(prompt, options, now, this.#costFunction === undefined);
  }

  #candidates(r: NativeRequest) {
    return guarded(() =>
      requests.candidates(this.number, r.now, r.view, r.bytes, r.model, r.adapter, r.cacheSalt, r.session,
        r.flow, r.priority, r.deadline, r.expectedOutputTokens, allOptions(r)));
  }

  #submit(r: NativeRequest, ttl: number | undefined, weight: number): number | Rejected {
    const answer = guarded(() =>
      requests.submit(this.number, r.now, r.view, r.bytes, r.model, r.adapter, r.cacheSalt, r.session,
        r.flow, r.priority, r.deadline, r.expectedOutputTokens, allOptions(r), ttl, weight));
    return typeof answer === 'number' ? answer : withoutDispatchFields(answer);
  }

  #poll(now: number): Dispatch | Evicted | undefined {
    const decided = guarded(() => requests.pollDecision(this.number, now, this.buffer.numbers));
    if (typeof decided === 'object') {
      return withoutDispatchFields(decided);
    }
    return decided ? this.buffer.read((id) => this.nameOf(id)) : undefined;
  }

  /** Cancels them all before it delivers what that changes. */
  #withdraw(ids: readonly number[]): void {
    const now = this.clock();
    ids.forEach((id) => guarded(() => requests.cancel(this.number, now, id)));
    this.wake(now);
  }
}

/** The bits of `takeWakeup`. */
const [WAKE_DECISIONS, WAKE_DRAINED] = [1, 2];

/** 53 bits: a number, in every language and in JSON. */
function randomSeed(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high % 2 ** 21) * 2 ** 32 + low;
}

/** The priority of copies. */
const LOWEST_PRIORITY = -(2 ** 31);
