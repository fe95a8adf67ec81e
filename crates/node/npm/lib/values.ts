/** The values that a scheduler returns. */
import type { Config, Evicted, FlowConfig, SessionAdmissionConfig, Rejected } from '../native/index.js';
import { typeError } from './errors.js';

export type {
  Candidate,
  BandStats,
  EndpointStats,
  PoolStats,
  Spread,
  SessionAdmissionStats,
  Evicted,
  Explanation,
  KvReport,
  ReplayRequest,
  Rejected,
  RemovedEndpoint,
  RunnerUp,
  ScorerScore,
  StageExplanation,
  Stats,
  CostTerms,
} from '../native/index.js';

/** The request was dispatched to this endpoint, whose load already includes it. */
export interface Dispatch {
  /** Distinguishes it from a rejection. */
  readonly kind: 'dispatch';
  /** The request's id. */
  readonly requestId: number;
  /** The endpoint's id. */
  readonly endpointId: number;
  /** The endpoint's name. */
  readonly endpointName: string;
  /** Ids of further candidates, best first. */
  readonly alternatives: readonly number[];
  /** Tokens of the prompt: counted, or estimated from text. */
  readonly promptTokens: number;
  /** Prompt tokens that the endpoint is expected to find in its cache. */
  readonly cachedTokens: number;
  /** The largest number that any endpoint of the pool is expected to find. */
  readonly bestCachedTokens: number;
  /** The cost of the request at this endpoint, in seconds. */
  readonly cost: number;
  /** Its weighted sum of scores, if a scheduling profile chose it. */
  readonly score: number | null;
  /** How long the request was queued, in milliseconds. */
  readonly queueTimeMs: number;
  /** Predicted seconds to the first token. Response headers may arrive long before it. */
  readonly firstTokenIn: number;
  /** The same, with the overheads of the engine's steps. */
  readonly predictedTtft: number;
  /** Predicted mean seconds per output token after the first. */
  readonly predictedTpot: number;
  /**
   * Whether the answer comes as a stream. A whole answer comes at its end, also its headers. Unless
   * the host sets it, true for a request without a body.
   */
  readonly streams: boolean;
  /** The endpoint that computes the prompt first, if that pays. */
  readonly prefill: Leg | null;
  /** The endpoint that encodes the media first. */
  readonly encode: Leg | null;
}

/** A stage of a request on an endpoint of its own, which is reserved for it. */
export interface Leg {
  /** The endpoint's id. */
  readonly endpointId: number;
  /** The endpoint's name. */
  readonly endpointName: string;
  /** Prompt tokens that the endpoint is expected to find in its cache. */
  readonly cachedTokens: number;
  /** The cost of the endpoint for this stage, in seconds. */
  readonly cost: number;
  /** Predicted seconds to the end of the stage. */
  readonly doneIn: number;
}

/** The result of `pick`; `kind` distinguishes the two. */
export type Decision = Dispatch | Rejected;

/** A configuration with all defaults filled in. Policies have only the fields of their type. */
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

const DISPATCH_FIELDS = ['endpointId', 'endpointName', 'alternatives'] as const;

/**
 * The same refusal, where reading a field of a dispatch throws. A host that forgets to check `kind`
 * gets an error with the next step. Keys, copies and JSON are unchanged.
 */
export function withoutDispatchFields<T extends Rejected | Evicted>(refusal: T): T {
  const missing =
    refusal.kind === 'rejected' ? (['requestId', ...DISPATCH_FIELDS] as const) : DISPATCH_FIELDS;
  for (const field of missing) {
    Object.defineProperty(refusal, field, {
      enumerable: false,
      configurable: true,
      get() {
        throw typeError(
          `this request was not dispatched (${refusal.reason}), so it has no ${field}: check `
          + "decision.kind === 'dispatch' first, or use acquire, which rejects",
        );
      },
    });
  }
  return refusal;
}
