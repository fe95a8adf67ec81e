/** What callers may say of a configuration, an endpoint, a load, a request and a KV event. */
import type {
  Allow as NativeAllow,
  BandLimits,
  UsageLimitPolicy,
  Config,
  CostPrices,
  Endpoint,
  FlowConfig,
  SessionAdmissionConfig,
  IndexLimits,
  Load,
  PrefillCost,
  SaturationPolicy,
  TierFactors,
} from '../native/index.js';
import { ConfigError, rangeError, typeError } from './errors.js';
import { warnImplausible, warnOnce } from './warnings.js';
import type { HeaderSource } from './headers.js';
import type { TokenIds } from './prompt.js';
import type { CostFunction } from './cost-function.js';
import { describe, known, labels, number, read, string, strings, type Known, type Shape, type ShapeOf } from './shape.js';

export type {
  BandLimits,
  UsageLimitPolicy,
  Config,
  CostPrices,
  Endpoint,
  FlowConfig,
  SessionAdmissionConfig,
  IndexLimits,
  Load,
  PrefillCost,
  SaturationPolicy,
  TierFactors,
} from '../native/index.js';

/** Which stages of a request an endpoint runs, or a request needs. */
export type Role = NonNullable<Endpoint['role']>;

/**
 * How a request failed: the endpoint never got it, it answered with an error or its stream broke, or the gateway gave up
 * waiting.
 */
export type Failure = 'unreachable' | 'engine' | 'timeout';

/** What a scheduler has of its host. */
export interface SchedulerOptions {
  /** A cost of the host's own in place of the built-in one. */
  cost?: CostFunction;
  /** The clock, in milliseconds; must not go back. `performance.now()` unless told. */
  now?: () => number;
  /**
   * How many calls of `acquire` may wait at once; further ones go or are refused as by `pick`. 65,536 unless told. What may wait in
   * a band, and in all, is for `config.flow` to say.
   */
  maxQueued?: number;
}

/** What a request asks for besides its prompt. */
export interface PickOptions {
  /** The base model. `''` unless told. */
  model?: string | undefined;
  /** The LoRA adapter on top of it. */
  adapter?: string | undefined;
  /** Requests with different salts share no cache, even for equal prompts. */
  cacheSalt?: string | undefined;
  /** Higher goes first; below zero may be shed under load. 0 unless told. */
  priority?: number | undefined;
  /** Who asks: the unit of fairness. */
  flow?: string | undefined;
  /** The id of the answer that it goes on from: it goes to the endpoint that gave it. As the body says, unless told. */
  continues?: string | undefined;
  /** Requests of one conversation share this. */
  session?: string | undefined;
  /** The first token is worthless after this point, in milliseconds on the scheduler's clock. */
  deadline?: number | undefined;
  /** Tokens that the answer is expected to have; `max_tokens` is a fair guess. */
  expectedOutputTokens?: number | undefined;
  /** What the engine does with its cache: `'read'` unless told, or unless the body says otherwise. */
  cacheUse?: 'read' | 'unreported' | 'unread' | undefined;
  /** Which stages the endpoint must run. `'unified'` unless told. */
  role?: Role | undefined;
  /** Labels that the endpoint must carry. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Endpoints that must not have it, even if no other can: those that a retry has tried. */
  exclude?: readonly number[] | undefined;
  /** The time, in milliseconds; the scheduler's clock unless told. */
  now?: number | undefined;
}

/** What a request asks for that goes through flow control. */
export interface SubmitOptions extends PickOptions {
  /** Milliseconds that it may wait; Infinity for as long as it takes. `config.flow.ttlMs` unless told. */
  ttlMs?: number | undefined;
  /** What its flow may have, compared with others of the same priority. 1 unless told. */
  weight?: number | undefined;
}

/** What a request asks for that is awaited. */
export interface AcquireOptions extends PickOptions {
  /** What its flow may have, compared with others of the same priority. 1 unless told. */
  weight?: number | undefined;
  /** Withdraws the request; the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds that it may wait for its turn and its endpoint; `config.flow.ttlMs` unless told, and Infinity for as long as it
   * takes. 0 does not wait: then it goes, or is refused, as by `pick`.
   */
  timeoutMs?: number | undefined;
  /** Whether it also waits while no endpoint takes requests, in place of being refused at once. False unless told. */
  waitForEndpoints?: boolean | undefined;
}

/** What the engine said that a request used; leave out what it did not say. */
export interface Usage {
  /** Tokens in the prompt. Teaches the model's bytes per token. */
  promptTokens?: number | undefined;
  /** Prompt tokens that were found in the cache. Corrects what the endpoint is assumed to hold. */
  cachedTokens?: number | undefined;
  /** Tokens in the answer. Teaches how long answers are. */
  completionTokens?: number | undefined;
}

/** Which LoRA adapters an endpoint says it has. */
export interface Adapters {
  /** Adapters of requests that run or wait. One that is missing may still be loaded. */
  active: readonly string[];
  /** Adapters that fit side by side, if the engine says so. */
  slots?: number | undefined;
}

/**
 * A request as it came over HTTP, which is read where it lies: `pick`, `submit`, `acquire` and `explain` take it in place of a prompt. Its
 * headers overrule its body, and what their options say overrules both. Which endpoints its headers allow
 * (`subset`) is not heeded: `readHeaders` tells it.
 */
export interface HttpRequest {
  /** The body, as it came. */
  body: Uint8Array;
  /** The path that it came to, which says what API it speaks. `'/v1/chat/completions'` unless told. */
  path?: string | null | undefined;
  /** Its headers, if they are to count. They are claims: see who may send which first. */
  headers?: HeaderSource | null | undefined;
  /** Which way the priorities of bodies go: as in vLLM, or as in SGLang. `'low_first'` unless told. */
  priorityOrder?: 'low_first' | 'high_first' | null | undefined;
  /** What its client may say of it, in body and headers, that could put it before others. Nothing unless told. */
  allow?: Allow | null | undefined;
}

/**
 * What clients may say of their own requests: names, or an object from names to `true` or a range. What is beyond a range counts as
 * its nearest end. Without a range, a priority is within -100 and 100, and a TTL or a deadline is at most an hour.
 */
export type Allow = readonly AllowName[] | AllowRanges;

/** What can be allowed. */
export type AllowName = 'priority' | 'flow' | 'session' | 'ttl' | 'deadline';

/** What clients may say, within which range. */
export interface AllowRanges {
  /** The lowest and the highest priority; higher goes first. */
  priority?: boolean | readonly [number, number] | null | undefined;
  /** Who asks. */
  flow?: boolean | null | undefined;
  /** The conversation, by the body and by headers that are known. */
  session?: boolean | null | undefined;
  /** Other headers that name a conversation, in the order in which they count. */
  sessionHeaders?: readonly string[] | null | undefined;
  /** The shortest and the longest time that it may wait, in milliseconds. */
  ttlMs?: boolean | readonly [number, number] | null | undefined;
  /** The nearest and the furthest deadline, in milliseconds. */
  deadlineMs?: boolean | readonly [number, number] | null | undefined;
}

/** Which publisher of an endpoint it is. */
export interface PublisherOptions {
  /** Its data parallel rank. 0 unless told. */
  rank?: number | null | undefined;
  /** The time, in milliseconds; the scheduler's clock unless told. */
  now?: number | undefined;
}

/** How a message with KV events came. */
export interface KvFramesOptions extends PublisherOptions {
  /** Whether it came from the socket of a replay. False unless told. */
  replay?: boolean | null | undefined;
}

/** What TensorRT-LLM's events do not say. */
export interface TrtllmOptions extends PublisherOptions {
  /** Tokens in a block; those of the endpoint unless told. */
  blockSize?: number | null | undefined;
}

/** How `stats` become text. */
export interface MetricsTextOptions {
  /** Our names, or those of the reference beside them. `'slotwise'` unless told. */
  names?: 'slotwise' | 'reference' | null | undefined;
  /** What the reference's names call the pool. `''` unless told. */
  pool?: string | null | undefined;
  /** Endpoints with a name of their own; the others are one. 1,000 unless told. */
  maxEndpoints?: number | null | undefined;
}

/** Where an engine keeps a block: in the accelerator's memory, in the host's, or on disk (or in storage over the network). */
export type Tier = 'gpu' | 'cpu' | 'disk';

/** One change of an engine's KV cache. Blocks go by the engine's own hashes, unsigned and 64 bits long. */
export type KvEvent =
  | {
      /** Blocks were computed, each the child of the one before it. */
      kind: 'BlockStored';
      /** The engine's names for the blocks, in order. */
      blocks: BigUint64Array | readonly bigint[];
      /** The engine's name for the block before the first; none at the beginning of a prompt. */
      parent?: bigint | null | undefined;
      /** Token ids of all the blocks. */
      tokens?: TokenIds | null | undefined;
      /** Token ids behind the last block that its hash covers as well. None unless told. */
      lookahead?: TokenIds | null | undefined;
      /** Tokens in a block. */
      blockSize: number;
      /** Where they are kept. `'gpu'` unless told. */
      tier?: Tier | null | undefined;
      /** The base model; the endpoint's, whatever requests call it, unless told. */
      model?: string | null | undefined;
      /** The LoRA adapter. */
      adapter?: string | null | undefined;
      /** The cache salt. */
      cacheSalt?: string | null | undefined;
    }
  | {
      /** Blocks are gone. Names that mean nothing are ignored. */
      kind: 'BlockRemoved';
      /** The engine's names for the blocks. */
      blocks: BigUint64Array | readonly bigint[];
      /** Where they are gone from; they may still be in another tier. `'gpu'` unless told. */
      tier?: Tier | null | undefined;
    }
  | {
      /** Everything is gone. */
      kind: 'AllBlocksCleared';
    };

const PREFILL = {
  perToken: 'number',
  perPair: 'number',
  perStep: 'number',
  minStep: 'number',
  chunk: 'number',
} satisfies ShapeOf<PrefillCost>;

const INDEX = {
  bytes: 'number',
  warmWindowMs: 'number',
  confirmWithinMs: 'number',
} satisfies ShapeOf<IndexLimits>;

const PRICES = {
  queue: 'number',
  kvAdmissionWait: 'number',
  prefill: 'number',
  cacheEviction: 'number',
  cacheEvictionOnset: 'number',
  kv: 'number',
  decode: 'number',
  decodeCap: 'number',
  adapter: 'number',
} satisfies ShapeOf<CostPrices>;

const TIERS = {
  cpu: 'number',
  disk: 'number',
} satisfies ShapeOf<TierFactors>;

const BAND = {
  maxRequests: 'number',
  maxBytes: 'number',
} satisfies ShapeOf<BandLimits>;

const SATURATION = {
  type: 'string',
  maxQueuedPrefillMs: 'number',
  kvLimit: 'number',
  queueDepthThreshold: 'number',
  kvCacheUtilThreshold: 'number',
  metricsStalenessThresholdMs: 'number',
  concurrencyMode: 'string',
  maxConcurrency: 'number',
  maxTokenConcurrency: 'number',
  headroom: 'number',
} satisfies Record<keyof Required<SaturationPolicy>, Shape[string]>;

const USAGE_LIMIT = {
  type: 'string',
  limit: 'number',
  minUsageLimit: 'number',
  maxUsageLimit: 'number',
  domain: 'string',
} satisfies Record<keyof Required<UsageLimitPolicy>, Shape[string]>;

const SESSION_ADMISSION = {
  share: 'number',
  shareMin: 'number',
  shareMax: 'number',
  idleTimeMs: 'number',
  idleTimeMinMs: 'number',
  idleTimeMaxMs: 'number',
  maxSessions: 'number',
} satisfies ShapeOf<SessionAdmissionConfig>;

const FLOW = {
  maxRequests: 'number',
  maxBytes: 'number',
  band: BAND,
  fairness: 'string',
  order: 'string',
  lowerShare: 'number',
  lookAheadMs: 'number',
  maxBands: 'number',
  maxIdleFlows: 'number',
  maxQueuedPrefillMs: 'number',
  ttlMs: 'number',
  noEndpointTtlMs: 'number',
  saturation: SATURATION,
  usageLimit: USAGE_LIMIT,
  sessionAdmission: SESSION_ADMISSION,
} satisfies Record<keyof Required<FlowConfig>, Shape[string]>;

const CONFIG = {
  seed: 'integer',
  maxEndpoints: 'number',
  maxInFlight: 'number',
  maxInFlightBlocks: 'number',
  maxPromptBlocks: 'number',
  maxModels: 'number',
  maxThreads: 'number',
  index: INDEX,
  kvCacheTokens: 'number',
  kvLimit: 'number',
  adapterSlots: 'number',
  adapterLoadTimeMs: 'number',
  prefill: PREFILL,
  learnSpeed: 'boolean',
  reportLifetimeMs: 'number',
  backoffMs: 'number',
  backoffLimitMs: 'number',
  prices: PRICES,
  tiers: TIERS,
  alternatives: 'number',
  shedAboveMs: 'number',
  flow: FLOW,
} satisfies Record<keyof Required<Config>, Shape[string]>;

const ENDPOINT = {
  name: 'string',
  models: 'strings',
  labels: 'labels',
  role: 'string',
  kvCacheTokens: 'number',
  blockSize: 'number',
  maxInFlight: 'number',
  adapterSlots: 'number',
  adapterLoadTimeMs: 'number',
  prefill: PREFILL,
  cacheEviction: 'string',
  noticesDisconnect: 'boolean',
} satisfies Record<keyof Required<Endpoint>, Shape[string]>;

const LOAD = {
  waiting: 'number',
  running: 'number',
  kvUsage: 'number',
  sleeping: 'boolean',
  sampledAt: 'number',
} satisfies ShapeOf<Load>;

const PICK: Record<keyof Required<PickOptions>, true> = {
  model: true,
  adapter: true,
  cacheSalt: true,
  priority: true,
  flow: true,
  session: true,
  deadline: true,
  expectedOutputTokens: true,
  cacheUse: true,
  continues: true,
  role: true,
  labels: true,
  exclude: true,
  now: true,
};

const SUBMIT: Record<keyof Required<SubmitOptions>, true> = {
  ...PICK,
  ttlMs: true,
  weight: true,
};

const EVENT: Record<keyof Required<Extract<KvEvent, { kind: 'BlockStored' }>>, true> = {
  kind: true,
  blocks: true,
  parent: true,
  tokens: true,
  lookahead: true,
  blockSize: true,
  tier: true,
  model: true,
  adapter: true,
  cacheSalt: true,
};

const ADAPTERS = {
  active: 'strings',
  slots: 'number',
} satisfies ShapeOf<Adapters>;

const OPTIONS: Record<keyof Required<SchedulerOptions>, true> = {
  cost: true,
  now: true,
  maxQueued: true,
};

const USAGE = {
  promptTokens: 'number',
  cachedTokens: 'number',
  completionTokens: 'number',
} satisfies ShapeOf<Usage>;

const REQUEST = { body: true, path: true, headers: true, priorityOrder: true, allow: true } satisfies Known<HttpRequest>;

const ALLOW = {
  priority: true,
  flow: true,
  session: true,
  sessionHeaders: true,
  ttlMs: true,
  deadlineMs: true,
} satisfies Known<AllowRanges>;

const PUBLISHER = { rank: true, now: true } satisfies Known<PublisherOptions>;

const KV_FRAMES = { ...PUBLISHER, replay: true } satisfies Known<KvFramesOptions>;

const TRTLLM = { ...PUBLISHER, blockSize: true } satisfies Known<TrtllmOptions>;

const METRICS_TEXT = { names: true, pool: true, maxEndpoints: true } satisfies Known<MetricsTextOptions>;

export function readConfig(config: Config): Config {
  return read('config', CONFIG, config, (path) => {
    const field = path.slice('config.'.length);
    return new ConfigError(`${field} is not a known field`, 'config', field);
  });
}

/** Warns of lengths of time that are hardly meant. */
export function warnOfConfig(config: Config): void {
  const { flow = {} } = config;
  warnImplausible('flow.ttl', 'flow.ttlMs', flow.ttlMs);
  warnImplausible('flow.no_endpoint_ttl', 'flow.noEndpointTtlMs', flow.noEndpointTtlMs);
  warnImplausible('flow.max_queued_prefill', 'flow.maxQueuedPrefillMs', flow.maxQueuedPrefillMs);
  warnImplausible('adapter_load_time', 'adapterLoadTimeMs', config.adapterLoadTimeMs);
  warnImplausible('report_lifetime', 'reportLifetimeMs', config.reportLifetimeMs);
  warnImplausible('backoff', 'backoffMs', config.backoffMs);
  warnImplausible('backoff_limit', 'backoffLimitMs', config.backoffLimitMs);
  warnImplausible('shed_above', 'shedAboveMs', config.shedAboveMs);
}

export function readEndpoint(endpoint: Endpoint | string): Endpoint {
  const description = typeof endpoint === 'string' ? { name: endpoint } : read<Endpoint>('endpoint', ENDPOINT, endpoint);
  string('endpoint.name', description.name);
  return description;
}

export function readLoad(load: Load): Load {
  return read('load', LOAD, load);
}

export function readUsage(usage: Usage): Usage {
  return read('usage', USAGE, usage);
}

/** `usage` without the numbers that no engine can mean. They come from engines, so they cost no request its end. */
export function possibleUsage(usage: Usage): Usage {
  for (const [field, value] of Object.entries(usage) as [keyof Usage, number][]) {
    if (!(Number.isInteger(value) && value >= 0 && value < 2 ** 32)) {
      delete usage[field];
      warnOnce(`usage.${field}`, `usage.${field} must be a number of tokens, got ${value}: it is left out`);
    }
  }
  return usage;
}

export function readAdapters(adapters: Adapters): { active: string[]; slots: number } {
  const { active, slots = 0 } = read<Adapters>('adapters', ADAPTERS, adapters);
  return { active: strings('adapters.active', active), slots };
}

export function checkOptions(options: SchedulerOptions): void {
  known('options', OPTIONS, options);
}

export function checkPick(options: PickOptions): void {
  known('options', PICK, options);
}

export function checkSubmit(options: SubmitOptions): void {
  known('options', SUBMIT, options);
}

export function checkEvent(event: KvEvent): void {
  known('event', EVENT, event);
}

export function checkRequest(request: HttpRequest): void {
  known('request', REQUEST, request);
}

/** What is allowed, as the native part takes it. */
export function readAllow(allow: Allow): NativeAllow {
  if (Array.isArray(allow)) {
    return { names: strings('request.allow', allow) };
  }
  known('request.allow', ALLOW, allow);
  const { sessionHeaders, ...ranges } = allow as AllowRanges;
  const native: NativeAllow = { names: [] };
  if (sessionHeaders !== undefined && sessionHeaders !== null) {
    native.sessionHeaders = strings('request.allow.sessionHeaders', sessionHeaders);
  }
  for (const [key, value] of Object.entries(ranges) as [keyof typeof ranges, unknown][]) {
    const path = `request.allow.${key}`;
    if (value === true) {
      native.names.push(key.replace(/Ms$/, ''));
    } else if (value !== undefined && value !== null && value !== false) {
      if (!Array.isArray(value) || value.length !== 2 || key === 'flow' || key === 'session') {
        throw typeError(`${path} must be a boolean${key === 'flow' || key === 'session' ? '' : ' or a range of two numbers'}, got ${describe(value)}`);
      }
      const range = [number(`${path}[0]`, value[0]), number(`${path}[1]`, value[1])];
      if (!(range[0]! <= range[1]!)) {
        throw rangeError(`${path} must be a range, got ${range[0]} above ${range[1]}`);
      }
      native[key as 'priority' | 'ttlMs' | 'deadlineMs'] = range;
    }
  }
  return native;
}

export function checkPublisher(options: PublisherOptions): void {
  known('options', PUBLISHER, options);
}

export function checkKvFrames(options: KvFramesOptions): void {
  known('options', KV_FRAMES, options);
}

export function checkTrtllm(options: TrtllmOptions): void {
  known('options', TRTLLM, options);
}

export function checkMetricsText(options: MetricsTextOptions): void {
  known('options', METRICS_TEXT, options);
}

/** Numbers, which must be in an array. */
export function numbers(name: string, given: unknown): number[] {
  if (!Array.isArray(given)) {
    throw typeError(`${name} must be an array of numbers, got ${describe(given)}`);
  }
  return given.map((value: unknown, at) => number(`${name}[${at}]`, value));
}

/** Keys and values in turn. */
export function flatLabels(given: Readonly<Record<string, string>>): string[] {
  return labels('labels', given).flat();
}

/** `value`, which must be a string if it is there at all. */
export function optionalString(name: string, value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : string(name, value);
}

/** A name of the host's own for a tenant or a session. */
export function optionalName(what: string, value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'bigint') {
    throw typeError(`${what} must be a string, got ${value}: pass String(${value})`);
  }
  return optionalString(what, value);
}

/** `value`, which must be a number if it is there at all. */
export function optionalNumber(name: string, value: unknown): number | undefined {
  return value === undefined || value === null ? undefined : number(name, value);
}

/** `value`, which must be a boolean if it is there at all. */
export function optionalBoolean(name: string, value: unknown): boolean | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  if (typeof value !== 'boolean') {
    throw typeError(`${name} must be a boolean, got ${describe(value)}`);
  }
  return value;
}
