/**
 * Decides, in microseconds, whether an LLM request goes now and to which model server.
 *
 * `Scheduler` is the way in. Times are milliseconds (names end in `Ms`); costs and predicted times are seconds.
 *
 * @packageDocumentation
 */
export type {
  Candidate,
  Decision,
  Dispatch,
  BandStats,
  EndpointStats,
  SessionAdmissionStats,
  Evicted,
  Explanation,
  Rejected,
  RemovedEndpoint,
  KvReport,
  ResolvedConfig,
  Stats,
  CostTerms,
} from './answers.js';
export {
  ConfigError,
  EndpointError,
  IdleTimeoutError,
  KvEventError,
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
export type { ForwardOptions, Send } from './forward.js';
export { Lease } from './lease.js';
export type { TrackOptions } from './track.js';
export type {
  AcquireOptions,
  Adapters,
  BandLimits,
  UsageLimitPolicy,
  Config,
  CostPrices,
  Endpoint,
  Failure,
  FlowConfig,
  SessionAdmissionConfig,
  Allow,
  AllowName,
  AllowRanges,
  HttpRequest,
  IndexLimits,
  KvEvent,
  KvFramesOptions,
  Load,
  MetricsTextOptions,
  PickOptions,
  PrefillCost,
  PublisherOptions,
  Role,
  SaturationPolicy,
  SchedulerOptions,
  SubmitOptions,
  Tier,
  TierFactors,
  TrtllmOptions,
  Usage,
} from './options.js';
export type { HeaderSource } from './headers.js';
export type { Answer, CloseReason, Outcome, Progress } from './response.js';
export type { Blocks, Prompt, TokenIds } from './prompt.js';
export { Scheduler } from './scheduler.js';
export type { ObserveMetricsOptions } from './metrics.js';
export type { Candidates, CostFunction } from './cost-function.js';
