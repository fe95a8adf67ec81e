// What a strict consumer may write, and what must not compile.
import {
  ConfigError,
  Lease,
  RejectedError,
  Scheduler,
  SlotwiseError,
  SnapshotError,
  type AcquireOptions,
  type Candidates,
  type Config,
  type Decision,
  type Dispatch,
  type Endpoint,
  type Evicted,
  type Explanation,
  type Failure,
  type FlowConfig,
  type KvEvent,
  type Prompt,
  type Rejected,
  type Role,
  type Scorer,
  type Stats,
  type SubmitOptions,
  type Tier,
} from 'slotwise';

const flow: FlowConfig = { fairness: 'round_robin', order: 'edf', saturation: { type: 'continuous', holdMs: 100 }, guard: {} };
const config: Config = { flow, seed: 7n, weights: { kv: 3 }, tiers: { cpu: 0.9 }, holdOffMs: 500 };
const scorer: Scorer = ({ cost, names }: Candidates) => cost.map((seconds, at) => (names[at] === 'a' ? 0 : seconds));
const scheduler = new Scheduler(config, { scorer, now: () => performance.now() });

const endpoint: Endpoint = { name: 'a', role: 'unified', eviction: 'tail_first', labels: { zone: 'x' } };
const id: number = scheduler.addEndpoint(endpoint, 0);
scheduler.addEndpoint('b');

export function route(prompt: Prompt): number {
  const decision: Decision = scheduler.pick(prompt, { model: 'm', labels: { zone: 'x' }, role: 'decode' });
  if (decision.kind === 'rejected') {
    const rejected: Rejected = decision;
    const after: number | null = rejected.retryAfterMs;
    // @ts-expect-error a rejection has no endpoint
    decision.endpoint;
    return after ?? rejected.httpStatus;
  }
  const dispatch: Dispatch = decision;
  const others: readonly number[] = dispatch.alternatives;
  return others[0] ?? dispatch.endpoint;
}

export async function stream(source: ReadableStream<Uint8Array>, options: AcquireOptions): Promise<ReadableStream<Uint8Array>> {
  try {
    const lease: Lease = await scheduler.acquire([1, 2, 3], { ...options, timeoutMs: 1_000 });
    lease.firstToken();
    return lease.track(source);
  } catch (error) {
    if (error instanceof RejectedError && error.reason === 'saturated') {
      throw new Error(`try again in ${error.retryAfterMs ?? 0} ms`, { cause: error });
    }
    if (error instanceof ConfigError) {
      throw new Error(error.field);
    }
    throw error instanceof SlotwiseError ? new Error(error.code) : error;
  }
}

export function wait(prompt: Prompt, options: SubmitOptions): number | undefined {
  const answer: number | Rejected = scheduler.submit(prompt, { ...options, flow: 'tenant', ttlMs: Infinity, weight: 2 });
  if (typeof answer !== 'number') {
    return undefined;
  }
  const decision: Dispatch | Evicted | undefined = scheduler.pollDecision(0);
  if (decision?.kind === 'evicted') {
    const reason: 'ttl_expired' | 'no_endpoints' | 'deadline_unreachable' | 'displaced' | 'too_large' = decision.reason;
    // @ts-expect-error an eviction has no endpoint
    decision.endpoint;
    return decision.retryAfterMs ?? reason.length + decision.queuedMs + decision.httpStatus;
  }
  return scheduler.nextTimeout() ?? decision?.endpoint;
}

export async function* chunks(lease: Lease, source: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const chunk of lease.track(source)) {
    yield chunk.toUpperCase();
  }
}

const event: KvEvent = { kind: 'stored', blocks: BigUint64Array.of(1n), tokens: Uint32Array.of(1), blockSize: 1 };
scheduler.handleKvEvent(id, event);
scheduler.handleKvEvent(id, { kind: 'removed', blocks: [1n] });
const tier: Tier = 'cpu';
scheduler.handleKvEvent(id, { kind: 'removed', blocks: [1n], tier });
const explanation: Explanation = scheduler.explain('x');
const stats: Stats = scheduler.stats();
const saturated: number = stats.rejected.saturated ?? 0;
const failure: Failure = 'timeout';
const role: Role = 'prefill';
const share: number = scheduler.config.flow.guard?.share ?? scheduler.config.flow.lowerShare;
const policy: string = scheduler.config.flow.saturation.type;
const expired: number = (stats.evicted.ttl_expired ?? 0) + stats.waiting + stats.waitingBytes;
const bytes: number = scheduler.config.index.bytes;
const differs: boolean | undefined = stats.endpoints[0]?.hashesDiffer;
const snapshot: Uint8Array = scheduler.snapshot();
const restored: number = scheduler.restore(snapshot, 0) + scheduler.restore(Buffer.from(snapshot));
const unfit: string = new SnapshotError('', '').code;
export const all = [explanation, saturated, failure, role, bytes, share, policy, expired, differs, restored, unfit];

// @ts-expect-error text is not a snapshot
scheduler.restore('bytes');
// @ts-expect-error misspelt
scheduler.pick('x', { modle: 'm' });
// @ts-expect-error a pick never waits
scheduler.pick('x', { ttlMs: 1 });
// @ts-expect-error not a way to be fair
new Scheduler({ flow: { fairness: 'fair' } });
// @ts-expect-error not a role
scheduler.pick('x', { role: 'both' });
// @ts-expect-error not a failure
scheduler.fail(1, 'broken');
// @ts-expect-error text is not a load
scheduler.handleLoad(id, 'busy');
// @ts-expect-error floats are not token ids
scheduler.pick(new Float64Array(2));
// @ts-expect-error a stored event has a block size
scheduler.handleKvEvent(id, { kind: 'stored', blocks: [1n] });
// @ts-expect-error not a tier
scheduler.handleKvEvent(id, { kind: 'removed', blocks: [1n], tier: 'tape' });
// @ts-expect-error nobody constructs a lease
new Lease();
