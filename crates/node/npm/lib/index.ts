/**
 * Decides, in microseconds, whether an LLM request goes now and to which model server.
 *
 * `Scheduler` is the entry point. Its methods are of four kinds:
 *
 * | kind | methods | effect |
 * |---|---|---|
 * | inputs | `addEndpoint`, `handleLoad`, `handleFirstToken`, `complete`, ... | change the state |
 * | decisions | `pick`, `submit`, `acquire`, `forward` | reserve an endpoint or queue the request |
 * | polling | `pollDecision`, `nextTimeout`, `preemptionCandidates` | return what inputs changed |
 * | queries | `explain`, `stats`, `config`, `endpoint`, `inFlightOn`, `snapshot` | change nothing |
 *
 * **After each `submit` and each other input, call `pollDecision` until it returns undefined; then
 * wait for the next input or for `nextTimeout`.** `acquire` and `forward` do this by themselves.
 *
 * Times are milliseconds (names end in `Ms`); costs and predicted times are seconds.
 *
 * @packageDocumentation
 */
export type {
  Candidate,
  Decision,
  Dispatch,
  Leg,
  BandStats,
  EndpointStats,
  PoolStats,
  Spread,
  SessionAdmissionStats,
  Evicted,
  Explanation,
  Rejected,
  RemovedEndpoint,
  RunnerUp,
  ScorerScore,
  StageExplanation,
  KvReport,
  ReplayRequest,
  ResolvedConfig,
  Stats,
  CostTerms,
} from './values.js';
export {
  AdapterError,
  ConfigError,
  EndpointError,
  IdleTimeoutError,
  KvEventError,
  LegError,
  NotBegunError,
  RedirectError,
  RejectedError,
  CostFunctionError,
  SlotwiseError,
  SnapshotError,
  UnknownEndpointError,
  UnknownRequestError,
  WireError,
} from './errors.js';
export type { Call, Connector, ForwardOptions, Send } from './forward.js';
export { Lease } from './lease.js';
export type { TrackOptions } from './stream.js';
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
  Role,
  SaturationPolicy,
  SchedulerOptions,
  ServiceLevel,
  TierFactors,
} from './config.js';
export { pricesForServiceLevel } from './config.js';
export type {
  AcquireOptions,
  Allow,
  AllowName,
  AllowRanges,
  Failure,
  HttpRequest,
  PickOptions,
  PickRequest,
  Stage,
  SubmitOptions,
} from './request.js';
export type { Adapter, Adapters, EndpointLoad, Load, Usage } from './reports.js';
export type {
  KvEvent,
  KvFramesOptions,
  PublisherOptions,
  Tier,
  TrtllmOptions,
} from './kv_event.js';
export type { HeaderSource } from './headers.js';
export type { Answer, CloseReason, Outcome, Progress } from './response.js';
export type { Blocks, Prompt, TokenIds } from './prompt.js';
export { Scheduler } from './scheduler.js';
export type { MetricsTextOptions, ObserveMetricsOptions } from './metrics.js';
export type { Candidates, CostFunction } from './cost_function.js';
