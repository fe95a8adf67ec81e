/** The scheduler: reads what callers give, asks the native part, and says what it answers. */
import { NativeScheduler, type KvReport, type Outcome, type Wishes } from '../native/index.js';
import { refused } from './refused.js';
import type { Decision, Dispatch, Evicted, Explanation, Rejected, RemovedEndpoint, ResolvedConfig, Stats } from './answers.js';
import { Draining } from './draining.js';
import { RejectedError, CostFunctionError, closedError, guarded, rangeError, typeError } from './errors.js';
import { readHeaderList, readHeaderValue } from './headers.js';
import { forward, type ForwardOptions, type Send } from './forward.js';
import { Lease } from './lease.js';
import { readObserveOptions, type ObserveMetricsOptions } from './metrics.js';
import {
  checkEvent,
  checkKvFrames,
  checkMetricsText,
  checkOptions,
  checkPick,
  checkPublisher,
  checkRequest,
  readAllow,
  checkSubmit,
  checkTrtllm,
  flatLabels,
  numbers,
  optionalBoolean,
  optionalName,
  optionalNumber,
  optionalString,
  readAdapters,
  readConfig,
  warnOfConfig,
  readEndpoint,
  readLoad,
  readUsage,
  type AcquireOptions,
  type Adapters,
  type Config,
  type Endpoint,
  type Failure,
  type HttpRequest,
  type KvEvent,
  type KvFramesOptions,
  type Load,
  type MetricsTextOptions,
  type PickOptions,
  type PublisherOptions,
  type SchedulerOptions,
  type SubmitOptions,
  type TrtllmOptions,
  type Usage,
} from './options.js';
import {
  Scratch,
  readBytes,
  readFrames,
  readHashes,
  readPrompt,
  readTokenIds,
  readWire,
  type NativePrompt,
  type Prompt,
} from './prompt.js';
import { unpacked, type CloseReason, type Progress, type ResponseReader } from './response.js';
import { CostFunctionFaults, score, type Costs, type CostFunction } from './cost-function.js';
import { describe, endpointId, endpointName, known, number, requestId, string } from './shape.js';
import { Waiting } from './waiting.js';
import { warnImplausible } from './warnings.js';

/**
 * Decides where requests go, and keeps account of all that follows from it.
 *
 * Every call that takes time takes it last, in milliseconds on a monotonic clock: the host's, unless told. Time never goes
 * back: an earlier one than the latest counts as the latest. What is refused leaves everything as it was.
 */
export class Scheduler {
  readonly #native: NativeScheduler;
  readonly #clock: () => number;
  /** Whether the clock is the host's, and not one that was given. */
  readonly #ownsClock: boolean;
  /** How often the cost function runs within itself. */
  #asking = 0;
  readonly #costFunction: CostFunction | undefined;
  readonly #faults = new CostFunctionFaults();
  readonly #waiting: Waiting;
  readonly #draining = new Draining((endpoint) => this.inFlightOn(endpoint));
  readonly #maxQueued: number;
  /** How long a call of `acquire` waits that does not say. */
  readonly #patience: number;
  readonly #alternatives: number;
  readonly #names = new Map<number, string>();
  /** Where the native part writes a dispatch: nine numbers, then its alternatives. */
  #numbers = new Float64Array(9);
  #closed = false;

  /** A scheduler with no endpoints. */
  constructor(config: Config = {}, options: SchedulerOptions = {}) {
    const settings = readConfig(config);
    settings.seed ??= randomSeed();
    checkOptions(options);
    const { cost, now, maxQueued } = options;
    this.#costFunction = optionalFunction('options.cost', cost);
    this.#clock = optionalFunction('options.now', now) ?? hostClock;
    this.#ownsClock = now === undefined;
    this.#maxQueued = optionalNumber('options.maxQueued', maxQueued) ?? 65_536;
    if (!(this.#maxQueued >= 0)) {
      throw rangeError(`options.maxQueued must not be negative, got ${this.#maxQueued}`);
    }
    this.#native = guarded(() => new NativeScheduler(settings));
    warnOfConfig(settings);
    const { alternatives, flow } = this.config;
    this.#alternatives = alternatives;
    this.#patience = flow.ttlMs;
    this.#waiting = new Waiting({
      poll: (now) => this.#poll(now),
      nextTimeout: () => guarded(() => this.#native.nextTimeout()) ?? undefined,
      withdraw: (requests) => this.#withdraw(requests),
      clock: () => this.#time(undefined),
    });
  }

  // A request's life.

  /**
   * Chooses the endpoint that costs this request the least and reserves it there, or says why the request does not go.
   * There is no queue: see `submit` and `acquire`. A request that came over HTTP is read where it lies. What it reserves is released by exactly one of `complete`, `fail` and `cancel`.
   */
  pick(prompt: Prompt | HttpRequest, options: PickOptions = {}): Decision {
    checkPick(options);
    const a = this.#read(prompt, options);
    const scored = this.#costFunction === undefined ? null : this.#score(this.#costFunction, a);
    const rejected = guarded(() =>
      scored === null
        ? this.#native.pick(a.now, a.view, a.bytes, a.model, a.adapter, a.cacheSalt, a.session, a.flow, a.priority,
            a.deadline, a.expectedOutputTokens, a.wishes, this.#numbers)
        : this.#native.pickBy(a.now, a.view, a.bytes, a.model, a.adapter, a.cacheSalt, a.session, a.flow, a.priority,
            a.deadline, a.expectedOutputTokens, a.wishes, this.#numbers, scored.endpoints, scored.costs));
    return rejected === null || rejected === undefined ? this.#written() : refused(rejected);
  }

  /**
   * Hands a request to flow control and returns its number, or says why it need not wait at all. What becomes of it says
   * `pollDecision`. `cancel` withdraws it while it waits. A cost function is not asked.
   */
  submit(prompt: Prompt | HttpRequest, options: SubmitOptions = {}): number | Rejected {
    checkSubmit(options);
    const { ttlMs, weight } = options;
    const [ttl, share] = [optionalNumber('ttlMs', ttlMs), optionalNumber('weight', weight) ?? 1];
    warnImplausible('ttl', 'ttlMs', ttl);
    return this.#submit(this.#read(prompt, options), ttl, share);
  }

  /**
   * The next decision about a request that was submitted; undefined if there is nothing to decide before the next input or
   * `nextTimeout`. Call it until then, after each `submit`, after whatever else the scheduler is told, and at `nextTimeout`.
   */
  pollDecision(now?: number): Dispatch | Evicted | undefined {
    return this.#waiting.next(this.#time(now));
  }

  /** When `pollDecision` has something to decide although nothing has happened, in milliseconds; undefined for never. */
  nextTimeout(): number | undefined {
    const at = guarded(() => this.#native.nextTimeout()) ?? undefined;
    return this.#waiting.overdue ? this.#time(undefined) : at;
  }

  /**
   * Submitted requests of negative priority that are in flight while others of higher priority wait: at most so many, the least
   * important first, and of those the newest. Whoever wants to make room aborts them, and says so with `cancel`.
   */
  preemptionCandidates(most = 64): number[] {
    return guarded(() => this.#native.preemptionCandidates(most));
  }

  /**
   * Submits, and waits until the request is dispatched, for `timeoutMs` at most. Rejects with a `RejectedError`,
   * or with the reason of `signal`, and has reserved nothing then. While no endpoint takes requests, it rejects at once
   * (`no_endpoints`), unless `waitForEndpoints` is true. A cost function is asked while no request waits; one that waited goes at
   * the built-in cost.
   */
  async acquire(prompt: Prompt | HttpRequest, options: AcquireOptions = {}): Promise<Lease> {
    if (typeof options !== 'object' || options === null) {
      throw typeError(`options must be an object, got ${describe(options)}`);
    }
    const { signal, timeoutMs, weight, waitForEndpoints, ...wishes } = options;
    if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
      throw typeError(`signal must be an AbortSignal, got ${describe(signal)}`);
    }
    const patience = number('timeoutMs', timeoutMs === undefined ? this.#patience : timeoutMs);
    if (!(patience >= 0)) {
      throw rangeError(`timeoutMs must not be negative, got ${patience}`);
    }
    warnImplausible('ttl', 'timeoutMs', timeoutMs);
    const share = optionalNumber('weight', weight) ?? 1;
    signal?.throwIfAborted();
    const later = optionalBoolean('waitForEndpoints', waitForEndpoints) ?? false;
    // An empty pool is most often a mistake, and a silent wait would hide it.
    const nowhere = !later && guarded(() => this.#native.acceptingEndpoints) === 0;
    const waits = patience > 0 && !nowhere && this.#waiting.size < this.#maxQueued;
    if (!waits || (this.#costFunction !== undefined && this.#waiting.size === 0)) {
      const answer = this.pick(prompt, wishes);
      if (answer.kind === 'dispatch') {
        return Lease.of(this, answer);
      }
      if (!waits || !['saturated', 'no_endpoints'].includes(answer.reason)) {
        throw new RejectedError(answer);
      }
    }
    checkPick(wishes);
    const asked = this.#read(prompt, wishes);
    // Unless told, it waits as long as its headers say, or else the configuration.
    const request = this.#submit(asked, timeoutMs, share);
    if (typeof request !== 'number') {
      throw new RejectedError(request);
    }
    const dispatch = await new Promise<Dispatch>((grant, refuse) => {
      this.#waiting.enter({ requestId: request, signal, grant, refuse }, asked.now);
    });
    try {
      if (signal?.aborted) {
        throw signal.reason;
      }
      return Lease.of(this, dispatch);
    } catch (error) {
      // Granted and aborted in one go: nobody is there to end it.
      this.cancel(dispatch.requestId);
      throw error;
    }
  }

  /**
   * Serves a request: chooses an endpoint, asks it, and asks another one while nothing has gone to the client.
   *
   * The response is an answer that has begun, or a refusal; in each case the handler passes it on. The request is settled as its
   * answer ends, and cancelled if the client goes away.
   *
   * ```ts
   * const send = (url, signal) =>
   *   fetch(url + path, { method: 'POST', body, headers: { 'content-type': 'application/json' }, redirect: 'manual', signal });
   * const response = await scheduler.forward(send, { body, path }, { signal });
   * ```
   */
  forward(send: Send, request: HttpRequest, options: ForwardOptions = {}): Promise<Response> {
    return forward(this, send, request, options);
  }

  /** Says what `pick` would decide and why, at the built-in cost, without doing it. */
  explain(prompt: Prompt | HttpRequest, options: PickOptions = {}): Explanation {
    checkPick(options);
    const a = this.#read(prompt, options);
    return guarded(() =>
      this.#native.explain(a.now, a.view, a.bytes, a.model, a.adapter, a.cacheSalt, a.session, a.flow, a.priority,
        a.deadline, a.expectedOutputTokens, a.wishes));
  }

  /** The first token of a request arrived. Saying so again changes nothing. */
  handleFirstToken(request: number, now?: number): void {
    const [at, id] = [this.#time(now), requestId(request)];
    guarded(() => this.#native.handleFirstToken(at, id));
    this.#waiting.deliver(at);
  }

  /** The answer of a request grew by `tokens`. Implies the first token. */
  handleTokens(request: number, tokens: number, now?: number): void {
    const [at, id, count] = [this.#time(now), requestId(request), number('tokens', tokens)];
    guarded(() => this.#native.handleTokens(at, id, count));
    this.#waiting.deliver(at);
  }

  /**
   * The answer to a request has this id: a request that goes on from it (`continues`, `previous_response_id`, `thread`) goes to the same
   * endpoint. What is read by a lease says so itself.
   */
  handleAnswer(request: number, answer: string, now?: number): void {
    const [at, id, name] = [this.#time(now), requestId(request), string('answer', answer)];
    guarded(() => this.#native.handleAnswer(at, id, name));
  }

  /** A request is done. Releases what it reserved, and learns from what it used. */
  complete(request: number, usage?: Usage | null, now?: number): void {
    const [at, id] = [this.#time(now), requestId(request)];
    if (usage === undefined || usage === null) {
      guarded(() => this.#native.complete(at, id));
    } else {
      const { promptTokens, cachedTokens, completionTokens } = readUsage(usage);
      guarded(() => this.#native.complete(at, id, promptTokens, cachedTokens, completionTokens));
    }
    this.#waiting.deliver(at);
    this.#draining.look();
  }

  /** A request failed, through no fault of the client's: after an answer like `400 Bad Request`, cancel it. */
  fail(request: number, failure: Failure = 'engine', now?: number): void {
    const [at, id, why] = [this.#time(now), requestId(request), string('failure', failure)];
    guarded(() => this.#native.fail(at, id, why));
    this.#waiting.deliver(at);
    this.#draining.look();
  }

  /** The client went away. Returns whether the request was in flight, or waited. */
  cancel(request: number, now?: number): boolean {
    const [at, id] = [this.#time(now), requestId(request)];
    const was = guarded(() => this.#native.cancel(at, id));
    this.#waiting.forget(id);
    this.#waiting.deliver(at);
    this.#draining.look();
    return was;
  }

  /**
   * A request that has no first token yet went to another endpoint than was decided. Counts as a failure of the first one,
   * which was unreachable unless told.
   */
  redirect(request: number, endpoint: number, now?: number, failure: Failure = 'unreachable'): void {
    const [at, id, to] = [this.#time(now), requestId(request), endpointId('endpoint', endpoint)];
    const how = string('failure', failure);
    guarded(() => this.#native.redirect(at, id, to, how));
    this.#waiting.deliver(at);
    this.#draining.look();
  }

  // News from the world.

  /** Adds an endpoint to the pool and returns its id. It gets requests at once. */
  addEndpoint(endpoint: Endpoint | string, now?: number): number {
    const [at, description] = [this.#time(now), readEndpoint(endpoint)];
    const id = guarded(() => this.#native.addEndpoint(at, description));
    this.#names.set(id, description.name);
    const most = 9 + Math.min(this.#alternatives, this.#names.size);
    if (most > this.#numbers.length) {
      this.#numbers = new Float64Array(Math.min(9 + this.#alternatives, 2 * most));
    }
    this.#waiting.deliver(at);
    return id;
  }

  /** Describes an endpoint anew. What is in flight there stays. */
  updateEndpoint(id: number, endpoint: Endpoint | string, now?: number): void {
    const [at, which, description] = [this.#time(now), endpointId('id', id), readEndpoint(endpoint)];
    guarded(() => this.#native.updateEndpoint(at, which, description));
    this.#names.set(which, description.name);
    this.#waiting.deliver(at);
  }

  /** Takes an endpoint out of the pool, with all that it held, and says which requests are still on it. */
  removeEndpoint(id: number, now?: number): RemovedEndpoint {
    const [at, which] = [this.#time(now), endpointId('id', id)];
    const removed = guarded(() => this.#native.removeEndpoint(at, which));
    this.#names.delete(which);
    this.#waiting.deliver(at);
    this.#draining.look();
    return removed;
  }

  /** Sends no new requests to an endpoint; those in flight go on. */
  drainEndpoint(id: number, now?: number): void {
    const [at, which] = [this.#time(now), endpointId('id', id)];
    guarded(() => this.#native.drainEndpoint(at, which));
    this.#waiting.deliver(at);
  }

  /**
   * Resolves when nothing is in flight on an endpoint. It goes on getting requests unless it was told to drain:
   *
   * ```ts
   * scheduler.drainEndpoint(id);
   * await scheduler.drained(id);
   * scheduler.removeEndpoint(id);
   * ```
   *
   * Rejects with an `UnknownEndpointError`, also when the endpoint is removed meanwhile, or with the reason of `signal`.
   */
  async drained(id: number, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    known('options', { signal: true }, options);
    const { signal } = options;
    if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
      throw typeError(`signal must be an AbortSignal, got ${describe(signal)}`);
    }
    return this.#draining.wait(endpointId('id', id), signal);
  }

  /** Takes a draining endpoint back into service. */
  resumeEndpoint(id: number, now?: number): void {
    const [at, which] = [this.#time(now), endpointId('id', id)];
    guarded(() => this.#native.resumeEndpoint(at, which));
    this.#waiting.deliver(at);
  }

  /** An endpoint reported its load. */
  handleLoad(id: number, load: Load, now?: number): void {
    const [at, which, report] = [this.#time(now), endpointId('id', id), readLoad(load)];
    guarded(() => this.#native.handleLoad(at, which, report));
    this.#waiting.deliver(at);
  }

  /**
   * A probe passed or failed: the endpoint's page of metrics could be read, or its health check answered. A failed one backs the
   * endpoint off; one that passed lets the next request try an endpoint that could not be reached.
   */
  handleProbe(id: number, passed: boolean, now?: number): void {
    const [at, which] = [this.#time(now), endpointId('id', id)];
    if (typeof passed !== 'boolean') {
      throw typeError(`passed must be a boolean, got ${describe(passed)}`);
    }
    guarded(() => this.#native.handleProbe(at, which, passed));
    this.#waiting.deliver(at);
  }

  /** An endpoint reported its LoRA adapters. */
  handleAdapters(id: number, adapters: Adapters, now?: number): void {
    const [at, which, { active, slots }] = [this.#time(now), endpointId('id', id), readAdapters(adapters)];
    guarded(() => this.#native.handleAdapters(at, which, active, slots));
  }

  /** An endpoint's engine published a change of its KV cache. */
  handleKvEvent(id: number, event: KvEvent, now?: number): void {
    const [at, which] = [this.#time(now), endpointId('id', id)];
    checkEvent(event);
    switch (event.kind) {
      case 'BlockStored': {
        const { blocks, parent, tokens, lookahead, blockSize, tier, model, adapter, cacheSalt } = event;
        if (parent !== undefined && parent !== null && typeof parent !== 'bigint') {
          throw typeError(`event.parent must be a bigint, got ${describe(parent)}`);
        }
        const names = readHashes('event.blocks', blocks);
        const ids = tokens === undefined || tokens === null ? null : readTokenIds('event.tokens', tokens);
        const ahead = lookahead === undefined || lookahead === null ? null : readTokenIds('event.lookahead', lookahead);
        const size = number('event.blockSize', blockSize);
        const where = optionalString('event.tier', tier);
        const [base, lora] = [optionalString('event.model', model), optionalString('event.adapter', adapter)];
        const salt = optionalString('event.cacheSalt', cacheSalt);
        return guarded(() => this.#native.handleStored(at, which, names, size, parent, ids, ahead, where, base, lora, salt));
      }
      case 'BlockRemoved': {
        const names = readHashes('event.blocks', event.blocks);
        const where = optionalString('event.tier', event.tier);
        return guarded(() => this.#native.handleRemoved(at, which, names, where));
      }
      case 'AllBlocksCleared':
        return guarded(() => this.#native.handleCleared(at, which));
      default:
        throw typeError(`event.kind must be 'BlockStored', 'BlockRemoved' or 'AllBlocksCleared', got ${describe((event as KvEvent).kind)}`);
    }
  }

  // The same, as it comes from engines: read and applied in one call. What is malformed throws a WireError and changes nothing.

  /**
   * An endpoint's metrics page: the load of all its ranks and, if the page tells them, its LoRA adapters. A page that cannot be read, is none
   * (`not_metrics`) or has nothing on it that is known (`nothing_known`) throws a WireError, counts as no report, and in `reportErrors`.
   */
  handleMetricsPage(id: number, page: Uint8Array, options: ObserveMetricsOptions = {}): void {
    const [at, which] = [this.#time(options.now), endpointId('id', id)];
    const { engine, fields, adapters, rankLabel } = readObserveOptions(options);
    const bytes = readWire('page', page);
    guarded(() => this.#native.handleMetricsPage(at, which, bytes, engine, fields, adapters, rankLabel));
    this.#waiting.deliver(at);
  }

  /** The header `endpoint-load-metrics` of an endpoint's answer. */
  handleOrca(id: number, header: string | Uint8Array, now?: number): void {
    const [at, which, bytes] = [this.#time(now), endpointId('id', id), readHeaderValue('header', header)];
    guarded(() => this.#native.handleOrca(at, which, bytes));
    this.#waiting.deliver(at);
  }

  /**
   * A message from an endpoint's publisher of KV events: the frames as they come from its ZMQ socket or, with `replay`, from that of its
   * replays. Each rank of an endpoint is followed by itself; what one removes or clears is gone for the endpoint, so make ranks with
   * caches of their own endpoints of their own.
   *
   * If `ask` is not null in what it returns, open a fresh DEALER socket, send an empty frame and `replayRequest(ask)`, and
   * pass on what comes until `replayFrom` is null. If nothing comes, or there is no such socket, call `abandonReplay`.
   */
  handleKvFrames(id: number, frames: readonly Uint8Array[], options: KvFramesOptions = {}): KvReport {
    checkKvFrames(options);
    const [at, which, rank] = [this.#time(options.now), endpointId('id', id), optionalNumber('rank', options.rank) ?? 0];
    const replay = optionalBoolean('replay', options.replay) ?? false;
    const list = readFrames('frames', frames);
    return guarded(() => this.#native.handleKvFrames(at, which, list, replay, rank));
  }

  /** What TensorRT-LLM answered at `/kv_cache_events`. */
  handleTrtllmEvents(id: number, body: Uint8Array, options: TrtllmOptions = {}): KvReport {
    checkTrtllm(options);
    const [at, which, rank] = [this.#time(options.now), endpointId('id', id), optionalNumber('rank', options.rank) ?? 0];
    const blockSize = optionalNumber('blockSize', options.blockSize);
    const bytes = readWire('body', body);
    return guarded(() => this.#native.handleTrtllmEvents(at, which, bytes, blockSize, rank));
  }

  /** A replay does not come, or does not end: what is missing is lost, and what was held is applied. */
  abandonReplay(id: number, options: PublisherOptions = {}): KvReport {
    checkPublisher(options);
    const [at, which, rank] = [this.#time(options.now), endpointId('id', id), optionalNumber('rank', options.rank) ?? 0];
    return guarded(() => this.#native.abandonReplay(at, which, rank));
  }

  /** The batch from which on a replay of a rank's events is awaited; null if none is. */
  replayFrom(id: number, rank = 0): number | null {
    const [which, publisher] = [endpointId('id', id), number('rank', rank)];
    return guarded(() => this.#native.replayFrom(which, publisher));
  }

  // A gateway that starts again.

  /**
   * What endpoints hold in their caches, as bytes. Loads, speeds and requests in flight are not in it: they are measured
   * anew. Equal schedulers give equal bytes, in every language.
   */
  snapshot(): Uint8Array {
    return guarded(() => this.#native.snapshot());
  }

  /**
   * Takes what a snapshot says for what the endpoints hold: those of the same name, whose blocks are as long as they were.
   * Returns how many these are. Add the endpoints first, and restore before the first `pick`.
   */
  restore(snapshot: Uint8Array, now?: number): number {
    const [at, bytes] = [this.#time(now), readBytes('snapshot', snapshot)];
    return guarded(() => this.#native.restore(at, bytes));
  }

  // Looking in.

  /** Counters and gauges as of the latest time that the scheduler was told. */
  stats(): Stats {
    return guarded(() => this.#native.stats());
  }

  /** The same as OpenMetrics text, of the `Content-Type` that `METRICS_CONTENT_TYPE` in `slotwise/wire` says. */
  metricsText(options: MetricsTextOptions = {}): string {
    checkMetricsText(options);
    const names = optionalString('names', options.names);
    const pool = optionalString('pool', options.pool) ?? '';
    const most = optionalNumber('maxEndpoints', options.maxEndpoints) ?? 1_000;
    return guarded(() => this.#native.metricsText(names, pool, most));
  }

  /** The configuration, with the defaults. */
  get config(): ResolvedConfig {
    return guarded(() => this.#native.config) as ResolvedConfig;
  }

  /** How the endpoint was described; null if it is not in the pool. */
  endpoint(id: number): Endpoint | null {
    const which = endpointId('id', id);
    return guarded(() => this.#native.endpoint(which));
  }

  /** The id of the endpoint of that name; null if there is none. */
  endpointNamed(name: string): number | null {
    const which = endpointName(name);
    return guarded(() => this.#native.endpointNamed(which));
  }

  /** The endpoint that a request in flight is on; null if it is not. It may have left the pool. */
  endpointOf(request: number): number | null {
    const which = requestId(request);
    return guarded(() => this.#native.endpointOf(which));
  }

  /** How many requests are in flight on an endpoint: 0 means that it is drained. */
  inFlightOn(endpoint: number): number {
    const which = endpointId('endpoint', endpoint);
    return guarded(() => this.#native.inFlightOn(which));
  }

  /** How many endpoints take new requests: all of the pool but those that drain. */
  get acceptingEndpoints(): number {
    return guarded(() => this.#native.acceptingEndpoints);
  }

  /** How many calls of `acquire` wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Gives its memory back and refuses whoever waits. Every call after this is an error with the code `closed`. */
  close(): void {
    this.#closed = true;
    this.#native.close();
    this.#names.clear();
    this.#waiting.close(closedError());
    this.#draining.close(closedError());
  }

  /** @internal What a chunk of the answer to a request brought, which it is told. */
  readAnswer(request: number, reader: ResponseReader, chunk: Uint8Array): Progress {
    const [at, bytes] = [this.#time(undefined), readWire('chunk', chunk)];
    const progress = guarded(() => this.#native.feed(at, request, reader.native, bytes));
    if (progress % 2 === 1 || progress >= 4) {
      this.#waiting.deliver(at);
    }
    return unpacked(progress);
  }

  /** @internal How the answer to a request ended, which ends the request. */
  settle(request: number, reader: ResponseReader, close: CloseReason): Outcome {
    const [at, how] = [this.#time(undefined), string('close', close)];
    const outcome = guarded(() => this.#native.settle(at, request, reader.native, how));
    this.#waiting.deliver(at);
    this.#draining.look();
    return outcome;
  }

  /** @internal The time, in milliseconds. */
  clock(): number {
    return this.#time(undefined);
  }

  /** @internal */
  nameOf(endpoint: number): string {
    return this.#names.get(endpoint) ?? '';
  }

  /** Reads what a request asks for. Nothing of the caller's runs between this and the native call. */
  #read(prompt: Prompt | HttpRequest, options: PickOptions): Asked {
    const { model, adapter, cacheSalt, session, flow, priority, deadline, expectedOutputTokens, role, labels, exclude } = options;
    const { cacheUse, continues, now } = options;
    const asked: Asked = {
      now: this.#time(now),
      view: NOTHING,
      bytes: 0,
      model: optionalString('model', model),
      adapter: optionalString('adapter', adapter),
      cacheSalt: optionalString('cacheSalt', cacheSalt),
      session: optionalName('session', session),
      flow: optionalName('flow', flow),
      priority: optionalNumber('priority', priority),
      deadline: optionalNumber('deadline', deadline),
      expectedOutputTokens: optionalNumber('expectedOutputTokens', expectedOutputTokens),
      wishes:
        role === undefined && labels === undefined && exclude === undefined && cacheUse === undefined && continues === undefined
          ? undefined
          : readWishes(role, labels, exclude, cacheUse, continues),
    };
    if (asked.deadline !== undefined && asked.deadline > asked.now + A_DAY) {
      throw rangeError(
        `deadline must be milliseconds on the scheduler's clock, as now is: ${asked.deadline} is more than a day ahead. `
        + 'Pass performance.now() + 5_000, say, and not Date.now() + 5_000',
      );
    }
    if (typeof prompt === 'string' && this.#costFunction === undefined) {
      asked.view = scratch.write(prompt);
      asked.bytes = scratch.written;
      return asked;
    }
    if (isRequest(prompt)) {
      checkRequest(prompt);
      const { path, headers, priorityOrder, allow, body } = prompt;
      asked.wishes = {
        ...asked.wishes,
        path: optionalString('request.path', path) ?? '/v1/chat/completions',
        headers: headers === undefined || headers === null ? undefined : readHeaderList('request.headers', headers),
        priorityOrder: optionalString('request.priorityOrder', priorityOrder),
        allow: allow === undefined || allow === null ? undefined : readAllow(allow),
      };
      asked.view = readWire('request.body', body);
      return asked;
    }
    const { view, bytes, blockSize, tokens } = readPrompt(prompt);
    asked.view = view;
    asked.bytes = bytes;
    if (blockSize !== undefined) {
      asked.wishes = { ...asked.wishes, blockSize, tokens };
    }
    return asked;
  }

  /** What the cost function says; null if there is nobody to ask about, or if it fails. */
  #score(scorer: CostFunction, a: Asked): Costs | null {
    if (this.#asking >= DEEPEST) {
      throw new CostFunctionError(
        `a cost function runs within itself ${DEEPEST} times: pick asks it, and it asks pick. Let it use what it is given, or explain()`,
        'cost_function_reentered',
      );
    }
    const columns = guarded(() =>
      this.#native.candidates(a.now, a.view, a.bytes, a.model, a.adapter, a.cacheSalt, a.session, a.flow, a.priority,
        a.deadline, a.expectedOutputTokens, a.wishes));
    this.#asking += 1;
    try {
      return score(scorer, columns, (endpoint) => this.nameOf(endpoint));
    } catch (fault) {
      this.#faults.report(fault);
      return null;
    } finally {
      this.#asking -= 1;
    }
  }

  #submit(a: Asked, ttl: number | undefined, weight: number): number | Rejected {
    const answer = guarded(() =>
      this.#native.submit(a.now, a.view, a.bytes, a.model, a.adapter, a.cacheSalt, a.session, a.flow, a.priority,
        a.deadline, a.expectedOutputTokens, a.wishes, ttl, weight));
    return typeof answer === 'number' ? answer : refused(answer);
  }

  #poll(now: number): Dispatch | Evicted | undefined {
    const decided = guarded(() => this.#native.pollDecision(now, this.#numbers));
    return typeof decided === 'object' ? refused(decided) : decided ? this.#written() : undefined;
  }

  /** Cancels them all before anybody is told what that changes. */
  #withdraw(requests: readonly number[]): void {
    const now = this.#time(undefined);
    requests.forEach((request) => guarded(() => this.#native.cancel(now, request)));
    this.#waiting.deliver(now);
    this.#draining.look();
  }

  /** The dispatch that the native part has written. */
  #written(): Dispatch {
    const numbers = this.#numbers;
    const alternatives: number[] = [];
    for (let at = 9; at < 9 + (numbers[8] as number); at += 1) {
      alternatives.push(numbers[at] as number);
    }
    const endpoint = numbers[1] as number;
    return {
      kind: 'dispatch',
      requestId: numbers[0] as number,
      endpointId: endpoint,
      endpointName: this.nameOf(endpoint),
      alternatives,
      promptTokens: numbers[2] as number,
      cachedTokens: numbers[3] as number,
      bestCachedTokens: numbers[4] as number,
      cost: numbers[5] as number,
      queueTimeMs: numbers[6] as number,
      firstTokenIn: numbers[7] as number,
    };
  }

  #time(now: number | undefined): number {
    if (now === undefined || !this.#ownsClock) {
      return number('now', now === undefined ? this.#clock() : now);
    }
    const clock = this.#clock();
    if (number('now', now) > clock + FURTHEST_AHEAD) {
      throw rangeError(
        `now must be milliseconds on the clock of performance.now(), which shows ${Math.round(clock)}: ${now} is more than an hour `
        + 'ahead, and time never goes back. Pass performance.now() and not Date.now(), or make the scheduler with a clock of your own '
        + '(options.now)',
      );
    }
    return now;
  }
}

/** A request as the native part takes it. */
interface Asked {
  readonly now: number;
  view: NativePrompt['view'];
  bytes: number;
  readonly model: string | undefined;
  readonly adapter: string | undefined;
  readonly cacheSalt: string | undefined;
  readonly session: string | undefined;
  readonly flow: string | undefined;
  readonly priority: number | undefined;
  readonly deadline: number | undefined;
  readonly expectedOutputTokens: number | undefined;
  wishes: Wishes | undefined;
}

const NOTHING = new Uint8Array(0);
const scratch = new Scratch();
const hostClock = (): number => performance.now();

/**
 * Milliseconds that a `now` may be ahead of the host's clock. One that is further ahead is on another clock, and would stop all timeouts
 * for good: the scheduler's time never goes back.
 */
const FURTHEST_AHEAD = 3_600_000;

/** A deadline that is further ahead, in milliseconds, is on another clock and would never be missed. */
const A_DAY = 86_400_000;

/** How often a cost function may run within itself: one that always picks would go on until the stack ends. */
const DEEPEST = 16;

/** 53 bits: a number, in every language and in JSON. */
function randomSeed(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high % 2 ** 21) * 2 ** 32 + low;
}

function isRequest(prompt: Prompt | HttpRequest): prompt is HttpRequest {
  return typeof prompt === 'object' && prompt !== null && !ArrayBuffer.isView(prompt) && 'body' in prompt;
}

function readWishes(
  role: unknown,
  given: PickOptions['labels'] | null,
  exclude: PickOptions['exclude'] | null,
  cacheUse: unknown,
  continues: unknown,
): Wishes {
  return {
    continues: optionalString('continues', continues),
    cacheUse: optionalString('cacheUse', cacheUse),
    role: optionalString('role', role),
    labels: given === undefined || given === null ? undefined : flatLabels(given),
    exclude: exclude === undefined || exclude === null ? undefined : numbers('exclude', exclude),
  };
}

function optionalFunction<T>(name: string, value: T | undefined): T | undefined {
  if (value !== undefined && typeof value !== 'function') {
    throw typeError(`${name} must be a function, got ${describe(value)}`);
  }
  return value;
}
