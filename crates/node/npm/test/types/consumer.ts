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
  type HttpRequest,
  type KvReport,
  type KvEvent,
  type Prompt,
  type Rejected,
  type Role,
  type CostFunction,
  type Stats,
  type SubmitOptions,
  type Tier,
  type WireError,
} from 'slotwise';
import { fastify } from 'fastify';
import { Configuration } from 'slotwise/configuration';
import slotwiseForFastify from 'slotwise/fastify';
import { Block, Gateway, type GatewaySettings, type SafetyFunction } from 'slotwise/gateway';
import { nodeHandler } from 'slotwise/node-http';
import { webHandler } from 'slotwise/web';
import { createServer } from 'node:http';
import * as wire from 'slotwise/wire';
import type { Api, Engine, MetricsReport, Outcome, Progress, RequestView } from 'slotwise/wire';

const flow: FlowConfig = { fairness: 'round_robin', order: 'edf', saturation: { type: 'continuous', maxQueuedPrefillMs: 100 }, sessionAdmission: {} };
const config: Config = { flow, seed: 7n, prices: { kv: 3 }, tiers: { cpu: 0.9 }, backoffMs: 500 };
const scorer: CostFunction = ({ cost, names }: Candidates) => cost.map((seconds, at) => (names[at] === 'a' ? 0 : seconds));
const scheduler = new Scheduler(config, { cost: scorer, now: () => performance.now() });

const endpoint: Endpoint = { name: 'a', role: 'unified', cacheEviction: 'tail_first', labels: { zone: 'x' } };
const id: number = scheduler.addEndpoint(endpoint, 0);
scheduler.addEndpoint('b');

export function route(prompt: Prompt): number {
  const decision: Decision = scheduler.pick(prompt, { model: 'm', labels: { zone: 'x' }, role: 'decode' });
  if (decision.kind === 'rejected') {
    const rejected: Rejected = decision;
    const after: number | null = rejected.retryAfterMs;
    // @ts-expect-error a rejection has no endpoint
    decision.endpointId;
    return after ?? rejected.httpStatus;
  }
  const dispatch: Dispatch = decision;
  const others: readonly number[] = dispatch.alternatives;
  return others[0] ?? dispatch.endpointId;
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
    const reason: 'ttl_expired' | 'no_endpoints' | 'deadline_unreachable' | 'displaced' | 'too_large' | 'thread_not_found' =
      decision.reason;
    // @ts-expect-error an eviction has no endpoint
    decision.endpointId;
    return decision.retryAfterMs ?? reason.length + decision.queueTimeMs + decision.httpStatus;
  }
  return scheduler.nextTimeout() ?? decision?.endpointId;
}

export async function* chunks(lease: Lease, source: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const chunk of lease.track(source)) {
    yield chunk.toUpperCase();
  }
}

const event: KvEvent = { kind: 'BlockStored', blocks: BigUint64Array.of(1n), tokens: Uint32Array.of(1), blockSize: 1 };
scheduler.handleKvEvent(id, event);
scheduler.handleKvEvent(id, { kind: 'BlockRemoved', blocks: [1n] });
const tier: Tier = 'cpu';
scheduler.handleKvEvent(id, { kind: 'BlockRemoved', blocks: [1n], tier });
const explanation: Explanation = scheduler.explain('x');
const stats: Stats = scheduler.stats();
const saturated: number = stats.rejected.saturated ?? 0;
const failure: Failure = 'timeout';
const role: Role = 'prefill';
const share: number = scheduler.config.flow.sessionAdmission?.share ?? scheduler.config.flow.lowerShare;
const policy: string = scheduler.config.flow.saturation.type;
const expired: number = (stats.evicted.ttl_expired ?? 0) + stats.queued + stats.queuedBytes;
const bytes: number = scheduler.config.index.bytes;
const differs: boolean | undefined = stats.endpoints[0]?.hashMismatch;
const snapshot: Uint8Array = scheduler.snapshot();
const restored: number = scheduler.restore(snapshot, 0) + scheduler.restore(Buffer.from(snapshot));
const unfit: string = new SnapshotError('', '').code;
export const all = [explanation, saturated, failure, role, bytes, share, policy, expired, differs, restored, unfit];

export async function proxy(request: Request, engine: Response, incoming: Record<string, string | string[] | undefined>): Promise<Outcome> {
  const body = new Uint8Array(await request.arrayBuffer());
  const asked: HttpRequest = { body, path: new URL(request.url).pathname, headers: incoming, priorityOrder: 'high_first' };
  const lease = await scheduler.acquire(asked, { timeoutMs: 1_000 });
  const weighed: number = scheduler.explain({ body, headers: request.headers }).promptTokens;
  lease.begin(engine.status, engine.headers.get('content-type'));
  const progress: Progress = lease.feed(body);
  const begun: boolean = lease.reader?.begun ?? progress.ended;
  // @ts-expect-error a lease is fed through itself
  lease.reader?.feed(body);
  lease.complete(lease.reader?.usage);
  return begun && weighed > 0 ? lease.finish('client_disconnected') : lease.finish();
}

export function observe(page: Uint8Array, frames: Buffer[]): bigint | number {
  const report: MetricsReport = wire.readMetrics(page, { engine: 'custom', fields: { kvUsage: ['a', 'b{c=d}'] }, rankLabel: 'r' });
  const { blockSize, kvCacheTokens, maxAdapters: adapterSlots } = report;
  scheduler.addEndpoint({ name: 'described by its page', blockSize, kvCacheTokens, adapterSlots });
  scheduler.handleMetricsPage(0, page, { fields: { waiting: 'queue' }, rankLabel: 'r' });
  const ofEngine: Engine | null = report.engine;
  scheduler.handleLoad(id, report.load);
  scheduler.handleMetricsPage(id, page, ofEngine === null ? {} : { engine: ofEngine, now: 1 });
  scheduler.handleOrca(id, 'TEXT', 1);
  const applied: KvReport = scheduler.handleKvFrames(id, frames, { replay: true, rank: 1 });
  scheduler.handleTrtllmEvents(id, page, { blockSize: 32 });
  const request: Uint8Array = wire.replayRequest(applied.ask ?? scheduler.replayFrom(id, 1) ?? 0);
  for (const event of wire.readKvBatch(request).events) {
    if (event.type === 'stored') {
      return scheduler.pick(event.tokens ?? []).kind === 'dispatch' ? event.blockSize : 0;
    }
    // @ts-expect-error only stored events have tokens
    event.tokens;
  }
  return scheduler.abandonReplay(id).lost;
}

export function answer(body: Uint8Array, error: RejectedError | WireError): [number, Record<string, string | number>] {
  const view: RequestView = wire.readRequest(body, { api: 'messages' });
  const api: Api | null = wire.apiOfPath('/v1/messages');
  const other: Decision = scheduler.pick(view.prompt, { model: view.model ?? undefined, now: 1 });
  const { status, headers } = wire.refusal('code' in error && error instanceof RejectedError ? error : 'queue_full', { shape: 'anthropic' });
  const text: string = scheduler.metricsText({ names: 'reference', pool: api ?? '' }) + headers[0]?.[0];
  const filter = new wire.ModelFilter('application/json', text);
  const reader = new wire.ResponseReader(status, null);
  reader.feed(filter.feed(body));
  return [reader.finish('broken').status, wire.attributes(other, { model: 'm', priority: 1 })];
}

// @ts-expect-error text is not a body
scheduler.pick({ body: 'text' });
const judge: SafetyFunction = (texts, { stage }) => (stage === 'prompt' ? texts : new Block('no'));
const settings: GatewaySettings = { address: null, safety: judge, kvEvents: [5557, 5558], drainMs: 1_000 };

export async function serveBehind(): Promise<Response> {
  const gateway = new Gateway(new Configuration('endpoints: [http://a]'), settings);
  await fastify().register(slotwiseForFastify, { gateway, prefix: '/llm' });
  createServer(nodeHandler(gateway));
  const url: string | null = gateway.url;
  return webHandler(gateway)(new Request(`${url}/health`), { client: '10.0.0.1' });
}

// @ts-expect-error not a setting
export const misspelt: GatewaySettings = { drain: 1 };
// @ts-expect-error misspelt
scheduler.pick({ body: new Uint8Array(), paht: '/' });
// @ts-expect-error not an engine
scheduler.handleMetricsPage(id, new Uint8Array(), { engine: 'vlm' });
// @ts-expect-error not a way to close
new wire.ResponseReader(200).finish('dropped');
// @ts-expect-error one of the two
wire.readRequest(new Uint8Array(), { api: 'messages', path: '/v1/messages' });
// @ts-expect-error text is not a page
wire.readMetrics('page');
// @ts-expect-error not a reason
wire.refusal('full');
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
scheduler.handleKvEvent(id, { kind: 'BlockStored', blocks: [1n] });
// @ts-expect-error not a tier
scheduler.handleKvEvent(id, { kind: 'BlockRemoved', blocks: [1n], tier: 'tape' });
// @ts-expect-error the constructor of a lease is private
new Lease();
