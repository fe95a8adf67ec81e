/**
 * The policies of the reference's Endpoint Picker, each usable alone.
 *
 * Names, parameters and defaults are those of the reference. Endpoints and requests are plain
 * facts, so no scheduler is needed:
 *
 * ```ts
 * const endpoints = [{ waiting: 3, kvUsage: 0.2 }, { waiting: 0, kvUsage: 0.6 }];
 * const queue = score('queue-scorer', null, endpoints); // [0, 1]
 * const cache = score('kv-cache-utilization-scorer', null, endpoints);
 * pick('max-score-picker', null, weightedSum([2, 2], [queue, cache]), { seed: 7 }); // [1]
 * ```
 *
 * Facts have their names in camel case; `kv_usage` is read, too. A name, field, parameter or value
 * that cannot be used is a `TypeError` with its name. Hashes and keys of blocks are bigints.
 */
import { callPolicy } from '../native/index.js';
import { guarded, typeError } from './errors.js';
import { type Data, stringify } from './machine.js';

export type { Data } from './machine.js';

/** The parameters of a policy, as the reference spells them: `{ matchLengthWeight: 0.5 }`. */
export type Parameters = { readonly [name: string]: Data };

/** A policy: its name, or its name and its parameters. */
export type Named = string | ({ readonly type: string } & Parameters);

/** Where an endpoint runs. A missing name is not known and equals no other. */
export type Topology = {
  host?: string | undefined;
  rack?: string | undefined;
  zone?: string | undefined;
  region?: string | undefined;
};

/** A stretch of blocks in one device tier. */
export type TierBlocks = {
  /** The tier: `gpu`, `cpu` or `disk`, or a name of the host. */
  tier?: string | undefined;
  /** The number of blocks. */
  blocks?: number | undefined;
};

/** The predicted latency of a request on an endpoint, in milliseconds. */
export type Prediction = {
  /** Time to first token. */
  ttft?: number | undefined;
  /** Time per output token. */
  tpot?: number | undefined;
  /** Service level minus prediction; negative if missed. */
  ttftHeadroom?: number | undefined;
  /** Service level minus prediction; negative if missed. */
  tpotHeadroom?: number | undefined;
  /** Requests that the gateway has dispatched to the endpoint and that have not ended. */
  dispatchedRequests?: number | undefined;
};

/** Facts about one endpoint, for one request. A missing fact has the reference's default. */
export type EndpointFacts = {
  /** The name, unique in the pool. */
  name?: string | undefined;
  /** The address, as `host:port`; the name by default. */
  address?: string | undefined;
  /** Requests that wait in the engine. */
  waiting?: number | undefined;
  /** Requests that run in the engine. */
  running?: number | undefined;
  /** Share of the KV cache in use. */
  kvUsage?: number | undefined;
  /** Age of the metrics in milliseconds; null if the engine has never reported any. */
  metricsAgeMs?: number | null | undefined;
  /** Requests in flight, as the gateway counts them. */
  inFlightRequests?: number | undefined;
  /** Tokens in flight, as the gateway counts them. */
  inFlightTokens?: number | undefined;
  /** Tokens of this request that the endpoint does not have cached. */
  uncachedTokens?: number | undefined;
  /** Leading blocks of the prompt that the endpoint has cached. */
  matchBlocks?: number | undefined;
  /** The device tiers of these blocks, stretch by stretch; a block counts in its nearest one. */
  matchTiers?: readonly TierBlocks[] | undefined;
  /** Blocks of the prompt; zero if the prefix is not known. */
  totalBlocks?: number | undefined;
  /** Tokens in a block; 16 by default. */
  blockTokens?: number | undefined;
  /** Adapters of running requests. */
  activeAdapters?: readonly string[] | undefined;
  /** Adapters of waiting requests. */
  waitingAdapters?: readonly string[] | undefined;
  /** Adapters that the engine loads side by side. */
  maxAdapters?: number | undefined;
  /** Labels. */
  labels?: { readonly [name: string]: string } | undefined;
  /** Numeric attributes, such as custom metrics. */
  attributes?: { readonly [name: string]: number } | undefined;
  /** Where the endpoint runs. */
  topology?: Topology | undefined;
  /** The predicted latency of this request. */
  prediction?: Prediction | null | undefined;
  /** Whether the session of this request is bound to the endpoint. */
  sessionBound?: boolean | undefined;
  /**
   * Position among the endpoints that received requests without a cached prefix: 0 is the least
   * recent, null has never received one.
   */
  coldPosition?: number | null | undefined;
  /** Bytes of this request's media whose embeddings the endpoint has cached. */
  mediaMatch?: number | undefined;
};

/** Facts about the request. */
export type RequestFacts = {
  /** The model: the base model, or the adapter where engines name adapters as models. */
  model?: string | undefined;
  /** The LoRA adapter; null means that `model` names it. */
  adapter?: string | null | undefined;
  /** Tokens of the prompt; zero if not known. */
  promptTokens?: number | undefined;
  /** The priority; negative requests are sheddable. */
  priority?: number | undefined;
  /** Headers that plugins may read, by lower-case name. */
  headers?: { readonly [name: string]: string } | undefined;
  /** Addresses of the only endpoints that the request may use; an empty list allows none. */
  subset?: readonly string[] | null | undefined;
  /** Where the endpoint of the peer stage runs. */
  peer?: Topology | null | undefined;
  /** Bytes of the request's media. */
  media?: number | undefined;
};

/** A scheduling profile: filters, weighted scorers and a picker, by name. */
export type Profile = {
  /** Filters, in the order of their application. */
  filters?: readonly Plugin[] | undefined;
  /** Scorers with their weights; 1 by default. */
  scorers?: readonly { scorer: Plugin; weight?: number | undefined }[] | undefined;
  /** The picker; `max-score-picker` by default. */
  picker?: Plugin | undefined;
};

/** A plugin by name. */
export type Plugin = { type: string; parameters?: Parameters | null | undefined };

/** What deciders read. Absent fields are zero or false; costs are seconds. */
export type DeciderFacts = {
  promptTokens?: number | undefined;
  cachedTokens?: number | undefined;
  multimodal?: boolean | undefined;
  decodeOnly?: number | undefined;
  disaggregated?: number | undefined;
};

/** The names of all policies, by family. */
export interface Families {
  scorers: string[];
  filters: string[];
  pickers: string[];
  handlers: string[];
  admitters: string[];
  deciders: string[];
}

/** Random choices follow from the seed; 0 by default. */
export interface Seeded {
  seed?: number | bigint | undefined;
}

/** The names of all policies, by family. */
export function names(): Families {
  return call('names', {});
}

/** The raw scores of the endpoints, in their order; higher is better. */
export function score(
  name: string,
  parameters: Parameters | null | undefined,
  endpoints: readonly EndpointFacts[],
  request?: RequestFacts | null,
): number[] {
  return call<(number | string)[]>('score', {
    name, parameters, endpoints: facts(endpoints), request,
  }).map(Number);
}

/** The positions of the endpoints that a filter keeps. */
export function filter(
  name: string,
  parameters: Parameters | null | undefined,
  endpoints: readonly EndpointFacts[],
  request?: RequestFacts | null,
  { seed }: Seeded = {},
): number[] {
  return call('filter', { name, parameters, endpoints: facts(endpoints), request, seed });
}

/** The positions that a picker selects from scores, best first. */
export function pick(
  name: string,
  parameters: Parameters | null | undefined,
  scores: readonly number[],
  { seed }: Seeded = {},
): number[] {
  return call('pick', { name, parameters, scores: [...scores], seed });
}

/** The positions that a whole profile selects, best first; none if the filters left none. */
export function select(
  profile: Profile,
  endpoints: readonly EndpointFacts[],
  request?: RequestFacts | null,
  { seed }: Seeded = {},
): number[] {
  return call('select', { profile, endpoints: facts(endpoints), request, seed });
}

/** The score of one scorer. */
export interface ScoreExplanation {
  /** The scorer. */
  scorer: string;
  /** The factor of its scores. */
  weight: number;
  /** The score as the scorer returned it. */
  raw: number;
  /** The score, clamped to 0 to 1, times the weight. */
  weighted: number;
}

/** What filters and scorers made of one endpoint. */
export interface EndpointExplanation {
  /** The filter that removed the endpoint; null if it is a candidate. */
  droppedBy: string | null;
  /** The scores, in the order of the scorers; empty if a filter removed the endpoint. */
  scores: ScoreExplanation[];
  /** The sum of the weighted scores. */
  total: number;
  /** One more than the number of candidates with a higher total; null if a filter removed it. */
  rank: number | null;
}

/** What the best endpoint that did not win lacks. */
export interface ProfileRunnerUp {
  /** Its position. */
  place: number;
  /** The winner's total minus its own. */
  behind: number;
  /** The scorer in which it lost most to the winner; null if it lost in none. */
  lostMostIn: string | null;
  /** The difference of the weighted scores of that scorer. */
  lost: number;
}

/** Why a profile selected an endpoint. */
export interface ProfileExplanation {
  /** Every endpoint, in order. */
  endpoints: EndpointExplanation[];
  /** The picker. */
  picker: string;
  /** The positions of the selected endpoints, best first. */
  picked: number[];
  /** The best endpoint that did not win; null without a second candidate. */
  runnerUp: ProfileRunnerUp | null;
}

/** What `select` selects with the same arguments, and why. */
export function explain(
  profile: Profile,
  endpoints: readonly EndpointFacts[],
  request?: RequestFacts | null,
  { seed }: Seeded = {},
): ProfileExplanation {
  const { endpoints: explained, picker, picked, runner_up: runnerUp } = call<NativeExplanation>(
    'explain', { profile, endpoints: facts(endpoints), request, seed },
  );
  return {
    endpoints: explained.map(({ dropped_by: droppedBy, scores, total, rank }) => ({
      droppedBy,
      scores: scores.map(({ scorer, weight, raw, weighted }) => ({
        scorer, weight: Number(weight), raw: Number(raw), weighted: Number(weighted),
      })),
      total: Number(total),
      rank,
    })),
    picker,
    picked,
    runnerUp: runnerUp && {
      place: runnerUp.place,
      behind: Number(runnerUp.behind),
      lostMostIn: runnerUp.lost_most_in,
      lost: Number(runnerUp.lost),
    },
  };
}

/** An explanation as the native function has it. A float that JSON has no number for is text. */
interface NativeExplanation {
  endpoints: {
    dropped_by: string | null;
    scores: { scorer: string; weight: Float; raw: Float; weighted: Float }[];
    total: Float;
    rank: number | null;
  }[];
  picker: string;
  picked: number[];
  runner_up: { place: number; behind: Float; lost_most_in: string | null; lost: Float } | null;
}

type Float = number | string;

/** What a handler decided. */
export interface Schedule {
  /** The profile whose endpoint returns the answer. */
  primary: string;
  /** The positions that each profile selected, best first. */
  picked: Record<string, number[]>;
  /** The addresses of the primary profile's endpoints, best first. */
  destinations: string[];
  /** The headers for the endpoint. */
  headers: Record<string, string>;
}

/** Deciders of a handler, by name; and the seed. */
export interface ScheduleOptions extends Seeded {
  deciders?: { readonly [name: string]: Plugin } | undefined;
}

/** The endpoints of each profile that a handler runs. */
export function schedule(
  name: string,
  parameters: Parameters | null | undefined,
  profiles: { readonly [name: string]: Profile },
  endpoints: readonly EndpointFacts[],
  request?: RequestFacts | null,
  { deciders, seed }: ScheduleOptions = {},
): Schedule {
  return call('schedule', {
    name, parameters, profiles, deciders, endpoints: facts(endpoints), request, seed,
  });
}

/** Whether `latency-slo-admitter` or `probabilistic-admitter` admits the request. */
export function admit(
  name: string,
  parameters: Parameters | null | undefined,
  endpoints: readonly EndpointFacts[],
  request?: RequestFacts | null,
  { seed }: Seeded = {},
): boolean {
  return call('admit', { name, parameters, endpoints: facts(endpoints), request, seed });
}

/** The total of each endpoint: scores are clamped to 0 to 1; NaN counts as zero. */
export function weightedSum(
  weights: readonly number[],
  scores: readonly (readonly number[])[],
): number[] {
  return call<(number | string)[]>('weighted_sum', {
    weights: [...weights], scores: scores.map((row) => [...row]),
  }).map(Number);
}

/** The saturation of a pool: 0 is idle, 1 is full; the detectors exceed 1. */
export function saturation(policy: Named, endpoints: readonly EndpointFacts[]): number {
  return Number(call('saturation', { policy, endpoints: facts(endpoints) }));
}

/** The usage limit of each band. `priorities` run from the highest to the lowest. */
export function ceilings(
  policy: Named,
  priorities: readonly number[],
  saturation: number,
  round: number | bigint = 1,
): number[] {
  return call<(number | string)[]>('ceilings', {
    policy, priorities, saturation, round,
  }).map(Number);
}

/** The HTTP status of an outcome, and its `x-llm-d-request-dropped-reason`. */
export function outcomeStatus(
  outcome: string,
  causes: readonly string[] = [],
  poolEmpty = false,
): [status: number, reason: string | null] {
  return call('outcome_status', { outcome, causes, poolEmpty });
}

/** The expected output tokens: the rounded product of tokens and ratio, at most the two limits. */
export function estimateOutput(
  inputTokens: number,
  ratio = 1.5,
  clientMaxTokens?: number | null,
  operatorCap?: number | null,
): number {
  return call('estimate_output', { inputTokens, ratio, clientMaxTokens, operatorCap });
}

/** The probability with which `probabilistic-admitter` sheds a request. */
export function shedProbability(
  priority: number,
  saturation: number,
  parameters?: Parameters | null,
): number {
  return Number(call('shed_probability', { priority, saturation, parameters }));
}

/** Whether a decider disaggregates prefill from decoding. */
export function pdDecide(decider: string | Plugin, facts: DeciderFacts = {}): boolean {
  return call('pd_decide', { decider, facts });
}

/** The reference's estimate of tokens from text: four bytes each, little-endian. */
export function packTokens(prompt: string): number[] {
  return call('pack_tokens', { prompt });
}

/** The tokens of a block for an engine with blocks of this size; at least 64. */
export function approximateBlockTokens(engine?: number | null): number {
  return call('approximate_block_tokens', { engine });
}

/** Options of `approximateBlockHashes`. */
export interface ApproximateOptions {
  blockTokens: number;
  model?: string | undefined;
  cacheSalt?: string | undefined;
  maxBlocks?: number | undefined;
}

/** The hashes of `approx-prefix-cache-producer`. Text is packed into tokens first. */
export function approximateBlockHashes(
  prompt: string | Iterable<number>,
  options: ApproximateOptions,
): bigint[] {
  const { blockTokens, model, cacheSalt, maxBlocks } = options;
  const given = typeof prompt === 'string' ? { prompt } : { tokens: [...prompt] };
  return keys(call('approximate_block_hashes', {
    ...given, blockTokens, model, cacheSalt, maxBlocks,
  }));
}

/** Options of `requestKeys`. */
export interface RequestKeyOptions {
  blockTokens: number;
  model?: string | undefined;
  /** `'cbor-fnv'` by default. */
  algorithm?: 'cbor-fnv' | 'xxh64' | undefined;
  /** The reference's `hashSeed`; empty by default. */
  seed?: string | undefined;
  /** The key of the block before; the model's root by default. */
  parent?: bigint | null | undefined;
  /** Identifiers of media, for each full block. */
  extraKeys?: readonly (readonly string[])[] | undefined;
}

/** The keys of `precise-prefix-cache-producer` for full blocks. */
export function requestKeys(tokens: Iterable<number>, options: RequestKeyOptions): bigint[] {
  const { blockTokens, model, algorithm, seed, parent, extraKeys } = options;
  return keys(call('request_keys', {
    tokens: [...tokens],
    blockTokens,
    model,
    algorithm,
    seed,
    parent: parent === undefined || parent === null ? parent : hexadecimal(parent),
    extraKeys,
  }));
}

/** The request keys of each key of an engine whose blocks have another size. */
export function mapEngineKeys(
  engine: Iterable<bigint>,
  request: Iterable<bigint>,
): Map<bigint, bigint[]> {
  const mapping = call<Record<string, string[]>>('map_engine_keys', {
    engine: [...engine].map(hexadecimal), request: [...request].map(hexadecimal),
  });
  return new Map(Object.entries(mapping).map(([key, each]) => [BigInt(`0x${key}`), keys(each)]));
}

/** The extra keys of an engine's blocks, aligned with `blocks` blocks of another size. */
export function alignExtraKeys(
  engine: readonly (readonly string[])[],
  blocks: number,
): string[][] {
  return call('align_extra_keys', { engine, blocks });
}

/** The pod and the model of a KV event topic, `kv@POD@MODEL`. */
export function parseTopic(topic: string): { pod: string; model: string } {
  return call('parse_topic', { topic });
}

/** Calls the native function. Its result has the type that the function documents. */
function call<T>(name: string, values: { readonly [name: string]: Data }): T {
  const text = stringify(values);
  return JSON.parse(guarded(() => callPolicy(name, text))) as T;
}

/** Ages in seconds, as the native function has them. */
function facts(endpoints: readonly EndpointFacts[]): Data {
  if (!Array.isArray(endpoints)) {
    throw typeError('endpoints must be an array');
  }
  return (endpoints as readonly EndpointFacts[]).map((endpoint) => {
    if (endpoint?.metricsAgeMs === undefined) {
      return endpoint;
    }
    const { metricsAgeMs, ...others } = endpoint;
    return { ...others, metricsAge: metricsAgeMs === null ? null : metricsAgeMs / 1_000 };
  });
}

function hexadecimal(key: bigint): string {
  return key.toString(16).padStart(16, '0');
}

function keys(texts: string[]): bigint[] {
  return texts.map((text) => BigInt(`0x${text}`));
}
