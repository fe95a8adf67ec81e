/** The configuration of a scheduler and of an endpoint: types, schemas and warnings. */
import type {
  AutoscalingConfig,
  BandLimits,
  UsageLimitPolicy,
  Config,
  CostPrices,
  Decider,
  DisaggregationConfig,
  Endpoint,
  FlowConfig,
  SessionAdmissionConfig,
  IndexLimits,
  KvTransferCost,
  PrefillCost,
  ProducerConfig,
  SaturationPolicy,
  ServiceLevel,
  TierFactors,
} from '../native/index.js';
import { pricesForServiceLevel as pricesFor } from '../native/index.js';
import { ConfigError, guarded } from './errors.js';
import type { CostFunction } from './cost_function.js';
import {
  checkFields,
  number,
  readObject,
  string,
  type FieldsOf,
  type Schema,
  type SchemaOf,
} from './validate.js';
import { warnImplausible } from './warn_once.js';

export type {
  AutoscalingConfig,
  BandLimits,
  UsageLimitPolicy,
  Config,
  CostPrices,
  Decider,
  DisaggregationConfig,
  Endpoint,
  FlowConfig,
  SessionAdmissionConfig,
  IndexLimits,
  KvTransferCost,
  PrefillCost,
  ProducerConfig,
  SaturationPolicy,
  ServiceLevel,
  TierFactors,
} from '../native/index.js';

/** Which stages of a request an endpoint runs, or a request needs. */
export type Role = NonNullable<Endpoint['role']>;

/** What a scheduler takes from its host. */
export interface SchedulerOptions {
  /** The host's cost function, in place of the built-in cost. */
  cost?: CostFunction;
  /** The clock, in milliseconds. Must not go back. Default: `performance.now()`. */
  now?: () => number;
  /**
   * Calls of `acquire` that may wait at once. Further calls are decided immediately, as by `pick`.
   * Default: 65,536. `config.flow` limits each band and the whole queue.
   */
  maxQueued?: number;
}

const PREFILL = {
  perToken: 'number',
  perPair: 'number',
  perStep: 'number',
  minStep: 'number',
  chunk: 'number',
} satisfies SchemaOf<PrefillCost>;

const KV_TRANSFER = {
  bytesPerToken: 'number',
  bytesPerSecond: 'number',
  setup: 'number',
} satisfies SchemaOf<KvTransferCost>;

const DECIDER = {
  type: 'string',
  parameters: { nonCachedTokens: 'number', promptTokens: 'number' },
} satisfies Record<keyof Required<Decider>, Schema[string]>;

const DISAGGREGATION = {
  prefill: DECIDER,
  encode: DECIDER,
  kvTransfer: KV_TRANSFER,
} satisfies Record<keyof Required<DisaggregationConfig>, Schema[string]>;

const INDEX = {
  bytes: 'number',
  warmWindowMs: 'number',
  confirmWithinMs: 'number',
} satisfies SchemaOf<IndexLimits>;

const PRICES = {
  queue: 'number',
  kvAdmissionWait: 'number',
  prefill: 'number',
  cacheEviction: 'number',
  cacheEvictionOnset: 'number',
  kv: 'number',
  decode: 'number',
  decodeCap: 'number',
  decodeBeyondCap: 'number',
  adapter: 'number',
} satisfies SchemaOf<CostPrices>;

const SERVICE_LEVEL = {
  ttftMs: 'number',
  tpotMs: 'number',
} satisfies SchemaOf<ServiceLevel>;

const TIERS = {
  cpu: 'number',
  disk: 'number',
} satisfies SchemaOf<TierFactors>;

const BAND = {
  maxRequests: 'number',
  maxBytes: 'number',
} satisfies SchemaOf<BandLimits>;

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
} satisfies Record<keyof Required<SaturationPolicy>, Schema[string]>;

const USAGE_LIMIT = {
  type: 'string',
  limit: 'number',
  minUsageLimit: 'number',
  maxUsageLimit: 'number',
  domain: 'string',
} satisfies Record<keyof Required<UsageLimitPolicy>, Schema[string]>;

const SESSION_ADMISSION = {
  share: 'number',
  shareMin: 'number',
  shareMax: 'number',
  idleTimeMs: 'number',
  idleTimeMinMs: 'number',
  idleTimeMaxMs: 'number',
  maxSessions: 'number',
} satisfies SchemaOf<SessionAdmissionConfig>;

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
} satisfies Record<keyof Required<FlowConfig>, Schema[string]>;

const PRODUCERS = {
  sessionTtlMs: 'number',
  maxSessions: 'number',
  maxColdEndpoints: 'number',
} satisfies SchemaOf<ProducerConfig>;

const AUTOSCALING = {
  ttftMs: 'number',
  tpotMs: 'number',
  kvUtilization: 'number',
  startUpMs: 'number',
} satisfies SchemaOf<AutoscalingConfig>;

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
  maxAdapters: 'number',
  adapterWindow: 'number',
  prefill: PREFILL,
  learnSpeed: 'boolean',
  reportLifetimeMs: 'number',
  backoffMs: 'number',
  backoffLimitMs: 'number',
  prices: PRICES,
  tiers: TIERS,
  profile: 'json',
  profiles: 'json',
  producers: PRODUCERS,
  disaggregation: DISAGGREGATION,
  autoscaling: AUTOSCALING,
  alternatives: 'number',
  shedAboveMs: 'number',
  flow: FLOW,
} satisfies Record<keyof Required<Config>, Schema[string]>;

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
  kvTransfer: KV_TRANSFER,
  cacheEviction: 'string',
  noticesDisconnect: 'boolean',
} satisfies Record<keyof Required<Endpoint>, Schema[string]>;

const OPTIONS = {
  cost: true,
  now: true,
  maxQueued: true,
} satisfies FieldsOf<SchedulerOptions>;

/** A validated copy of a configuration. */
export function readConfig(config: Config): Config {
  return readObject('config', CONFIG, config, (path) => {
    const field = path.slice('config.'.length);
    return new ConfigError(`${field} is not a known field`, 'config', field);
  });
}

/** Warns of implausible durations: most are seconds where milliseconds were expected. */
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

/** A validated copy of an endpoint. */
export function readEndpoint(endpoint: Endpoint | string): Endpoint {
  const description =
    typeof endpoint === 'string'
      ? { name: endpoint }
      : readObject<Endpoint>('endpoint', ENDPOINT, endpoint);
  string('endpoint.name', description.name);
  return description;
}

/** Rejects unknown options. */
export function checkOptions(options: SchedulerOptions): void {
  checkFields('options', OPTIONS, options);
}

/**
 * The prices that follow from a service level: `ttftMs` to the first token, and `tpotMs` per output
 * token after it. 2,000 and 100 give the defaults.
 *
 * `kv`, `decode` and `decodeBeyondCap` are in proportion to `ttftMs / tpotMs`, and `decodeCap` is
 * the TTFT in seconds.
 * A time below a microsecond counts as one. Computes in O(1).
 *
 * @throws TypeError if a time is missing, RangeError if it is negative or NaN.
 */
export function pricesForServiceLevel(level: ServiceLevel): Required<CostPrices> {
  const { ttftMs, tpotMs } = readObject<ServiceLevel>('level', SERVICE_LEVEL, level);
  const times = { ttftMs: number('level.ttftMs', ttftMs), tpotMs: number('level.tpotMs', tpotMs) };
  return guarded(() => pricesFor(times)) as Required<CostPrices>;
}
