/**
 * Which cluster serves a request to a pool that several clusters export.
 *
 * ```ts
 * const clusters = new Clusters({
 *   pools: [{
 *     name: 'llama',
 *     exports: [{ cluster: 'near' }, { cluster: 'far', networkTime: 0.04 }],
 *   }],
 * });
 * clusters.report('llama', 'near', { now: 0, utilization: { 'vllm:kv_cache_usage_perc': 0.2 } });
 * clusters.choose('llama', { now: 100 }).cluster; // 'near'
 * clusters.complete('llama', 'near', { now: 1_500 });
 * ```
 *
 * Times of calls and answers are milliseconds on one clock of the host, and `now` never goes back.
 * Times of the configuration are seconds, as in files.
 */
import { SlotwiseError } from './errors.js';
import { type Data, Machine } from './machine.js';

/** Why a cluster was chosen. */
export type Reason = 'nearest' | 'prefix' | 'spill' | 'fail_over' | 'ramp' | 'score' | 'full' | 'last_resort';

/** Whether a cluster may get a request, and otherwise why not. */
export type Standing =
  | 'room' | 'full' | 'ramping' | 'silent' | 'failing' | 'unready' | 'draining' | 'excluded';

/** What a metric in dry run would have decided. */
export interface DryRun {
  /** The name of the metric. */
  readonly metric: string;
  /** The cluster, or `null` if it would have found none. */
  readonly cluster: string | null;
  /** Why the cluster would have been chosen. */
  readonly reason: Reason | null;
}

/** The cluster that serves a request. */
export interface Choice {
  /** The name of the cluster. */
  readonly cluster: string;
  /** Its region. */
  readonly region: string;
  /** Why it was chosen. */
  readonly reason: Reason;
  /** Milliseconds for the network round trip, the wait and the prefill of uncached tokens. */
  readonly costMs: number;
  /** Tokens of the prompt whose KV cache the cluster holds, as far as is known. */
  readonly cachedTokens: number;
  /** What each metric in dry run would have decided. */
  readonly dryRun: readonly DryRun[];
}

/** A cluster that exports the pool, as one request sees it. */
export interface Candidate {
  /** The name of the cluster. */
  readonly cluster: string;
  /** Its region. */
  readonly region: string;
  /** Whether it may get the request. */
  readonly standing: Standing;
  /** Its load in relation to its target: 1 is at the target. */
  readonly load: number;
  /** This router's requests in flight. */
  readonly inFlight: number;
  /** The share of its requests that it gets while it comes back; 1 otherwise. */
  readonly share: number;
  /** Milliseconds of the network round trip. */
  readonly networkMs: number;
  /** Milliseconds of the reported wait. */
  readonly waitMs: number;
  /** Tokens of the prompt whose KV cache it holds, as far as is known. */
  readonly cachedTokens: number;
  /** Milliseconds for the network round trip, the wait and the prefill of uncached tokens. */
  readonly costMs: number;
}

/** All candidates of a request, and the choice. */
export interface Explanation {
  /** The choice, which has not been made. */
  readonly choice: Choice | null;
  /** The candidates, the nearest first. */
  readonly candidates: readonly Candidate[];
}

/** Whether the time-out of a pool leaves room above its durations. */
export interface TimeoutHint {
  /** Milliseconds of the configured time-out. */
  readonly timeoutMs: number | null;
  /** Milliseconds of the observed 99th percentile of the durations. */
  readonly p99Ms: number;
  /** The least recommended time-out: twice the 99th percentile. */
  readonly leastMs: number;
  /** Whether the time-out is shorter than recommended. */
  readonly isTooShort: boolean;
}

/** The time of a call. */
export interface At {
  /** Milliseconds on the host's clock. */
  readonly now: number;
}

/** What a host knows about a request before it chooses a cluster. */
export interface ClusterInquiry extends At {
  /** The tokens of the prompt; an estimate suffices. */
  readonly promptTokens?: number | undefined;
  /** The session, if the client may name one: its last cluster holds its prefix. */
  readonly session?: string | undefined;
  /** Tokens of the prompt that clusters hold; they replace what the session implies. */
  readonly cachedTokens?: Readonly<Record<string, number>> | undefined;
  /** Clusters that must not be chosen. */
  readonly exclude?: readonly string[] | undefined;
}

/** What a cluster reports about its endpoints. */
export interface ClusterReport extends At {
  /** Whether its health checks pass; `true` by default. */
  readonly healthy?: boolean | undefined;
  /** The number of endpoints that accept requests; all that the export lists, or 1, by default. */
  readonly readyEndpoints?: number | undefined;
  /** Requests in flight from all routers; those of this one by default. */
  readonly inFlight?: number | undefined;
  /** Utilisation as a share, by the metric's name. */
  readonly utilization?: Readonly<Record<string, number>> | undefined;
  /** The mean of requests that wait at an endpoint, for scorers. */
  readonly queue?: number | undefined;
  /** Milliseconds that a new request is predicted to wait in its queues. */
  readonly waitMs?: number | undefined;
}

/** No cluster can serve a request. */
export class NoClusterError extends SlotwiseError {
  /** The status of the client's answer. */
  readonly httpStatus: number;

  constructor(message: string, code: string, httpStatus: number) {
    super(message, code);
    this.httpStatus = httpStatus;
  }
}

interface Refused {
  readonly refused: { readonly message: string; readonly code: string; readonly http_status: number };
}

interface NativeChoice {
  readonly cluster: string;
  readonly region: string;
  readonly reason: Reason;
  readonly cost: number;
  readonly cached_tokens: number;
  readonly dry_run: readonly DryRun[];
}

interface NativeCandidate {
  readonly cluster: string;
  readonly region: string;
  readonly standing: Standing;
  readonly load: number | string;
  readonly in_flight: number;
  readonly share: number;
  readonly network_time: number;
  readonly wait: number;
  readonly cached_tokens: number;
  readonly cost: number;
}

interface NativeHint {
  readonly timeout: number | null;
  readonly p99: number;
  readonly least: number;
  readonly is_too_short: boolean;
}

/** The clusters behind one router. */
export class Clusters {
  readonly #machine: Machine;

  /**
   * `config` has pools with their exports, and times in seconds; an invalid field is a `TypeError`
   * with its path. Every export is silent until its first report.
   */
  constructor(config: { readonly [name: string]: Data }) {
    this.#machine = new Machine('clusters', { config });
  }

  /** Records what a cluster reports. */
  report(pool: string, cluster: string, { now, waitMs = 0, ...report }: ClusterReport): void {
    const values = { ...report, wait: waitMs / 1_000 };
    this.#machine.call('report', { now: now / 1_000, pool, cluster, report: values });
  }

  /**
   * Chooses a cluster, and books the request on it until `complete`, `fail` or `cancel`. Throws a
   * `NoClusterError` if no cluster may get the request.
   */
  choose(pool: string, { now, ...inquiry }: ClusterInquiry): Choice {
    const values = { now: now / 1_000, pool, ...inquiry };
    return choice(accepted(this.#machine.call<NativeChoice | Refused>('choose', values)));
  }

  /** What `choose` would return and why, without an effect. */
  explain(pool: string, { now, ...inquiry }: ClusterInquiry): Explanation {
    type Answer = { choice: NativeChoice | null; candidates: readonly NativeCandidate[] };
    const values = { now: now / 1_000, pool, ...inquiry };
    const answer = accepted(this.#machine.call<Answer | Refused>('explain', values));
    return {
      choice: answer.choice === null ? null : choice(answer.choice),
      candidates: answer.candidates.map(candidate),
    };
  }

  /** Books a request on a cluster that the host selected itself. */
  begin(pool: string, cluster: string, { now }: At): void {
    this.#machine.call('begin', { now: now / 1_000, pool, cluster });
  }

  /** A request ended well. Its duration counts for `timeoutHint`. */
  complete(pool: string, cluster: string, { now, durationMs }: At & { readonly durationMs?: number | undefined }): void {
    const duration = durationMs === undefined ? undefined : durationMs / 1_000;
    this.#machine.call('complete', { now: now / 1_000, pool, cluster, duration });
  }

  /** A request ended because of the cluster. */
  fail(pool: string, cluster: string, { now }: At): void {
    this.#machine.call('fail', { now: now / 1_000, pool, cluster });
  }

  /** A request ended because of its client. */
  cancel(pool: string, cluster: string, { now }: At): void {
    this.#machine.call('cancel', { now: now / 1_000, pool, cluster });
  }

  /** Adds an export, changes one, or takes a withdrawal back. */
  export(pool: string, exported: { readonly [name: string]: Data }, { now }: At): void {
    this.#machine.call('export', { now: now / 1_000, pool, export: exported });
  }

  /**
   * Changes the configuration; sessions, requests in flight and health are kept. Exports that are
   * missing are withdrawn, and new ones get a growing share.
   */
  setConfig(config: { readonly [name: string]: Data }, { now }: At): void {
    this.#machine.call('set_config', { now: now / 1_000, config });
  }

  /** Withdraws an export: it gets nothing new. */
  withdraw(pool: string, cluster: string, { now }: At): void {
    this.#machine.call('withdraw', { now: now / 1_000, pool, cluster });
  }

  /** The withdrawn exports whose last request ended since the last call. */
  drained(): { readonly pool: string; readonly cluster: string }[] {
    return this.#machine.call('drained');
  }

  /**
   * Whether the pool's time-out is at least twice the 99th percentile of its durations; `null`
   * until 100 durations were observed.
   */
  timeoutHint(pool: string): TimeoutHint | null {
    const hint = this.#machine.call<NativeHint | null>('timeout_hint', { pool });
    return hint === null ? null : {
      timeoutMs: hint.timeout === null ? null : hint.timeout * 1_000,
      p99Ms: hint.p99 * 1_000,
      leastMs: hint.least * 1_000,
      isTooShort: hint.is_too_short,
    };
  }

  /** When an export's health or ramp changes next without an input, in milliseconds. */
  nextTimeout(): number | null {
    const at = this.#machine.call<number | null>('next_timeout');
    return at === null ? null : at * 1_000;
  }
}

function accepted<T extends object>(answer: T | Refused): T {
  if ('refused' in answer) {
    const { message, code, http_status: status } = answer.refused;
    throw new NoClusterError(message, code, status);
  }
  return answer;
}

function choice({ cost, cached_tokens: cachedTokens, dry_run: dryRun, ...rest }: NativeChoice): Choice {
  return { ...rest, costMs: cost * 1_000, cachedTokens, dryRun };
}

function candidate(native: NativeCandidate): Candidate {
  const { load, in_flight: inFlight, network_time: network, wait, cached_tokens: cachedTokens, cost, ...rest } = native;
  return {
    ...rest,
    load: Number(load),
    inFlight,
    networkMs: network * 1_000,
    waitMs: wait * 1_000,
    cachedTokens,
    costMs: cost * 1_000,
  };
}
