/** What a scheduler answers. */
import type { Config, FlowConfig, SessionAdmissionConfig, Rejected } from '../native/index.js';

export type {
  Candidate,
  BandStats,
  EndpointStats,
  SessionAdmissionStats,
  Evicted,
  Explanation,
  KvReport,
  Rejected,
  RemovedEndpoint,
  Stats,
  CostTerms,
} from '../native/index.js';

/** The request goes now, and to this endpoint. Its load is already counted there. */
export interface Dispatch {
  /** Tells it from a rejection. */
  readonly kind: 'dispatch';
  /** The number of the request from now on. */
  readonly requestId: number;
  /** Where it goes. */
  readonly endpointId: number;
  /** The name of that endpoint. */
  readonly endpointName: string;
  /** Where it could go instead, best first. */
  readonly alternatives: readonly number[];
  /** Tokens of the prompt: counted, or estimated from text. */
  readonly promptTokens: number;
  /** Prompt tokens that the endpoint is expected to find in its cache. */
  readonly cachedTokens: number;
  /** The most that any endpoint of the pool is expected to find. */
  readonly bestCachedTokens: number;
  /** What the endpoint costs this request, in seconds. */
  readonly cost: number;
  /** How long the request waited for the decision, in milliseconds. */
  readonly queueTimeMs: number;
  /** Predicted seconds to the first token. Response headers may come long before it. */
  readonly firstTokenIn: number;
}

/** The answer to a pick: `kind` tells which. */
export type Decision = Dispatch | Rejected;

/** A configuration with every field; those of policies are what their types have. */
export type ResolvedConfig = Complete<Omit<Config, 'flow'>> & {
  readonly flow: Complete<Omit<FlowConfig, 'saturation' | 'usageLimit' | 'sessionAdmission'>> & {
    readonly saturation: Resolved<NonNullable<FlowConfig['saturation']>>;
    readonly usageLimit: Resolved<NonNullable<FlowConfig['usageLimit']>>;
    readonly sessionAdmission?: Complete<SessionAdmissionConfig>;
  };
};

type Resolved<T extends { type?: unknown }> = Readonly<T> & { readonly type: NonNullable<T['type']> };

type Complete<T> = { readonly [K in keyof T]-?: Part<NonNullable<T[K]>> };
type Part<T> = T extends number | bigint | boolean | string ? T : Complete<T>;
