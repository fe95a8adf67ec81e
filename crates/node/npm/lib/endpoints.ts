/** The endpoints of a scheduler, and what they and their engines report. */
import type { KvReport, NativeScheduler, ReplayRequest } from '../native/index.js';
import type { Clock } from './clock.js';
import { readEndpoint, type Endpoint } from './config.js';
import type { DispatchBuffer } from './dispatch_buffer.js';
import { Draining } from './draining.js';
import { guarded, typeError } from './errors.js';
import { readHeaderValue } from './headers.js';
import {
  checkKvFrames,
  checkPublisher,
  checkTrtllm,
  handleKvEvent,
  type KvEvent,
  type KvFramesOptions,
  type PublisherOptions,
  type TrtllmOptions,
} from './kv_event.js';
import { readObserveOptions, type ObserveMetricsOptions } from './metrics.js';
import { readBytes, readFrames, readWire } from './prompt.js';
import {
  readAdapter,
  readAdapters,
  readLoad,
  readLoads,
  type Adapter,
  type Adapters,
  type EndpointLoad,
  type Load,
} from './reports.js';
import {
  checkFields,
  checkSignal,
  describe,
  checkEndpointId,
  endpointName,
  number,
  optionalBoolean,
  optionalNumber,
  string,
  checkRequestId,
} from './validate.js';
import type { RemovedEndpoint } from './values.js';

/** The half of `Scheduler` that concerns endpoints. Requests are the other half. */
export abstract class Endpoints {
  /** @internal */
  readonly native: NativeScheduler;
  /** @internal What the native functions for requests take. */
  protected readonly number: number;
  /** @internal */
  protected readonly time: Clock;
  /** @internal */
  protected readonly buffer: DispatchBuffer;
  /** @internal The names of the pool's endpoints, by id. */
  protected readonly names = new Map<number, string>();
  /** @internal */
  protected readonly draining = new Draining({
    inFlightOn: (endpoint) => this.inFlightOn(endpoint),
    watch: (endpoint) => guarded(() => this.native.watchDrained(endpoint)),
    unwatch: (endpoint) => this.closed || guarded(() => this.native.unwatchDrained(endpoint)),
    poll: () => guarded(() => this.native.pollDrained()),
  });

  /** @internal */
  protected constructor(native: NativeScheduler, time: Clock, buffer: DispatchBuffer) {
    this.native = native;
    this.number = native.number;
    this.time = time;
    this.buffer = buffer;
  }

  // The pool.

  /** Adds an endpoint to the pool and returns its id. It accepts requests at once. */
  addEndpoint(endpoint: Endpoint | string, now?: number): number {
    const [at, description] = [this.time.at(now), readEndpoint(endpoint)];
    const id = guarded(() => this.native.addEndpoint(at, description));
    this.names.set(id, description.name);
    this.buffer.reserve(this.names.size);
    this.wake(at);
    return id;
  }

  /** Replaces an endpoint's description. Its requests in flight stay. */
  updateEndpoint(id: number, endpoint: Endpoint | string, now?: number): void {
    const [at, which] = [this.time.at(now), checkEndpointId('id', id)];
    const description = readEndpoint(endpoint);
    guarded(() => this.native.updateEndpoint(at, which, description));
    this.names.set(which, description.name);
    this.wake(at);
  }

  /** Removes an endpoint with its cache contents. Returns the requests that are still on it. */
  removeEndpoint(id: number, now?: number): RemovedEndpoint {
    const [at, which] = [this.time.at(now), checkEndpointId('id', id)];
    const removed = guarded(() => this.native.removeEndpoint(at, which));
    this.names.delete(which);
    this.wake(at);
    return removed;
  }

  /** Sends no new requests to an endpoint. Its requests in flight stay. */
  drainEndpoint(id: number, now?: number): void {
    const [at, which] = [this.time.at(now), checkEndpointId('id', id)];
    this.input(at, () => this.native.drainEndpoint(at, which));
  }

  /**
   * Resolves once an endpoint has no request in flight. It still accepts requests unless it drains:
   *
   * ```ts
   * scheduler.drainEndpoint(id);
   * await scheduler.drained(id);
   * scheduler.removeEndpoint(id);
   * ```
   *
   * Rejects with an `UnknownEndpointError`, also when the endpoint is removed meanwhile, or with
   * the reason of `signal`.
   */
  async drained(id: number, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    checkFields('options', { signal: true }, options);
    checkSignal(options.signal);
    return this.draining.wait(checkEndpointId('id', id), options.signal);
  }

  /** Takes a draining endpoint back into service. */
  resumeEndpoint(id: number, now?: number): void {
    const [at, which] = [this.time.at(now), checkEndpointId('id', id)];
    this.input(at, () => this.native.resumeEndpoint(at, which));
  }

  // Reports.

  /** An endpoint reported its load. */
  handleLoad(id: number, load: Load, now?: number): void {
    const [at, which, report] = [this.time.at(now), checkEndpointId('id', id), readLoad(load)];
    this.input(at, () => this.native.handleLoad(at, which, report));
  }

  /**
   * Several endpoints reported their loads, as in a scrape of the whole pool: one native call.
   * The effect is that of as many calls of `handleLoad`. Returns the ids that are not in the pool:
   * these endpoints left after the scrape began, and the other reports count.
   */
  handleLoads(reports: readonly EndpointLoad[], now?: number): number[] {
    const [at, { ids, loads }] = [this.time.at(now), readLoads(reports)];
    return this.input(at, () => this.native.handleLoads(at, ids, loads));
  }

  /**
   * A probe passed or failed: a scrape of the metrics page, or a health check. A failed probe backs
   * the endpoint off. A passed probe lets the next request try an endpoint that was unreachable.
   */
  handleProbe(id: number, passed: boolean, now?: number): void {
    const [at, which] = [this.time.at(now), checkEndpointId('id', id)];
    if (typeof passed !== 'boolean') {
      throw typeError(`passed must be a boolean, got ${describe(passed)}`);
    }
    this.input(at, () => this.native.handleProbe(at, which, passed));
  }

  /** An endpoint reported its LoRA adapters. */
  handleAdapters(id: number, adapters: Adapters, now?: number): void {
    const [at, which] = [this.time.at(now), checkEndpointId('id', id)];
    const { active, slots } = readAdapters(adapters);
    this.input(at, () => this.native.handleAdapters(at, which, active, slots));
  }

  /**
   * Describes a LoRA adapter before it is loaded, and replaces an earlier description. Without a
   * field, removes the description. Throws an `AdapterError`.
   *
   * ```ts
   * scheduler.describeAdapter('sql', { rank: 64, slowdown: 1.1 });
   * ```
   */
  describeAdapter(name: string, adapter: Adapter = {}): void {
    const { rank = 0, loadTimeMs, slots = 0, slowdown } = readAdapter(adapter);
    const text = string('name', name);
    guarded(() => this.native.describeAdapter(text, rank, loadTimeMs, slots, slowdown));
  }

  /** An endpoint's engine published a change of its KV cache. */
  handleKvEvent(id: number, event: KvEvent, now?: number): void {
    const [at, which] = [this.time.at(now), checkEndpointId('id', id)];
    handleKvEvent(this.native, at, which, event);
    this.wake(at);
  }

  // Reports as bytes. Malformed bytes throw a `WireError` and change nothing else.

  /**
   * An endpoint's metrics page was scraped: the load of all its ranks, and its LoRA adapters if the
   * page reports them. A page that cannot be read throws a `WireError` and counts in
   * `reportErrors`; so does one without metrics (`not_metrics`) or without known metrics
   * (`nothing_known`).
   */
  handleMetricsPage(id: number, page: Uint8Array, options: ObserveMetricsOptions = {}): void {
    const [at, which] = [this.time.at(options.now), checkEndpointId('id', id)];
    const { engine, fields, adapters, rankLabel } = readObserveOptions(options);
    const bytes = readWire('page', page);
    this.input(at, () =>
      this.native.handleMetricsPage(at, which, bytes, engine, fields, adapters, rankLabel));
  }

  /** An endpoint's answer had this header `endpoint-load-metrics`. */
  handleOrca(id: number, header: string | Uint8Array, now?: number): void {
    const [at, which] = [this.time.at(now), checkEndpointId('id', id)];
    const bytes = readHeaderValue('header', header);
    this.input(at, () => this.native.handleOrca(at, which, bytes));
  }

  /**
   * A message from an endpoint's publisher of KV events: the frames from its ZMQ socket or, with
   * `replay`, from its replay socket. Each rank is followed separately; a removal by one rank
   * counts for the whole endpoint, so add ranks with separate caches as separate endpoints.
   *
   * If `ask` in the report is not null, open a new DEALER socket, send an empty frame and
   * `replayRequest(ask)`, and pass on its messages until `replayFrom` is null. If none arrive, or
   * there is no replay socket, call `abandonReplay`.
   */
  handleKvFrames(
    id: number,
    frames: readonly Uint8Array[],
    options: KvFramesOptions = {},
  ): KvReport {
    checkKvFrames(options);
    const [at, which] = [this.time.at(options.now), checkEndpointId('id', id)];
    const rank = optionalNumber('rank', options.rank) ?? 0;
    const replay = optionalBoolean('replay', options.replay) ?? false;
    const list = readFrames('frames', frames);
    return this.input(at, () => this.native.handleKvFrames(at, which, list, replay, rank));
  }

  /** TensorRT-LLM returned this body at `/kv_cache_events`. */
  handleTrtllmEvents(id: number, body: Uint8Array, options: TrtllmOptions = {}): KvReport {
    checkTrtllm(options);
    const [at, which] = [this.time.at(options.now), checkEndpointId('id', id)];
    const rank = optionalNumber('rank', options.rank) ?? 0;
    const blockSize = optionalNumber('blockSize', options.blockSize);
    const bytes = readWire('body', body);
    return this.input(at, () => this.native.handleTrtllmEvents(at, which, bytes, blockSize, rank));
  }

  /** Gives up a replay: missing batches count as lost, and held batches are applied. */
  abandonReplay(id: number, options: PublisherOptions = {}): KvReport {
    checkPublisher(options);
    const [at, which] = [this.time.at(options.now), checkEndpointId('id', id)];
    const rank = optionalNumber('rank', options.rank) ?? 0;
    return this.input(at, () => this.native.abandonReplay(at, which, rank));
  }

  /**
   * The next request for a replay; null if there is none. For hosts that request replays in one
   * place: it is the `ask` of the latest report, at most one for each publisher. A request that is
   * out of date is dropped.
   */
  pollReplay(): ReplayRequest | null {
    return guarded(() => this.native.pollReplay());
  }

  /** The first batch of the replay that a rank awaits; null if it awaits none. */
  replayFrom(id: number, rank = 0): number | null {
    const [which, publisher] = [checkEndpointId('id', id), number('rank', rank)];
    return guarded(() => this.native.replayFrom(which, publisher));
  }

  // Restarts.

  /**
   * The cache contents of all endpoints, as bytes. Loads, speeds and requests in flight are not
   * included. Equal schedulers give equal bytes, in every language.
   */
  snapshot(): Uint8Array {
    return guarded(() => this.native.snapshot());
  }

  /**
   * Restores the cache contents of endpoints with the same name and block size. Returns their
   * number. Add the endpoints first, and restore before the first `pick`.
   */
  restore(snapshot: Uint8Array, now?: number): number {
    const [at, bytes] = [this.time.at(now), readBytes('snapshot', snapshot)];
    return this.input(at, () => this.native.restore(at, bytes));
  }

  // Queries.

  /** The description of an endpoint; null if it is not in the pool. */
  endpoint(id: number): Endpoint | null {
    const which = checkEndpointId('id', id);
    return guarded(() => this.native.endpoint(which));
  }

  /** The id of the endpoint with this name; null if there is none. */
  endpointNamed(name: string): number | null {
    const which = endpointName(name);
    return guarded(() => this.native.endpointNamed(which));
  }

  /** The names of the endpoints by their ids, in **O(endpoints)**. */
  endpointNames(): Map<number, string> {
    return new Map(guarded(() => this.native.endpointNames()));
  }

  /**
   * A number that changes when an endpoint joins or leaves the pool, or gets another name. Code
   * that follows the endpoints need not list them while the number stays.
   */
  get membership(): number {
    return guarded(() => this.native.membership);
  }

  /** The endpoint of a request in flight, also one that left the pool; null for other requests. */
  endpointOf(requestId: number): number | null {
    const which = checkRequestId(requestId);
    return guarded(() => this.native.endpointOf(which));
  }

  /** Requests in flight on an endpoint. With 0, it is drained. */
  inFlightOn(endpointId: number): number {
    const which = checkEndpointId('endpointId', endpointId);
    return guarded(() => this.native.inFlightOn(which));
  }

  /** Endpoints that accept new requests: all in the pool that do not drain. */
  get acceptingEndpoints(): number {
    return guarded(() => this.native.acceptingEndpoints);
  }

  /** Whether `close` was called. */
  abstract get closed(): boolean;

  /** @internal */
  nameOf(endpointId: number): string {
    return this.names.get(endpointId) ?? '';
  }

  /** @internal Makes an input, and delivers what it changed. */
  protected input<T>(now: number, call: () => T): T {
    const result = guarded(call);
    this.wake(now);
    return result;
  }

  /** @internal Delivers decisions and drained endpoints: the one call after every input. */
  protected abstract wake(now: number): void;
}
