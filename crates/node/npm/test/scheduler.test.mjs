// A scheduler's calls convert, ask and convert back.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  ConfigError,
  EndpointError,
  KvEventError,
  RedirectError,
  Scheduler,
  SlotwiseError,
  SnapshotError,
  UnknownEndpointError,
  UnknownRequestError,
} from 'slotwise';
import { pool } from './support/pool.mjs';

test('a dispatch holds the endpoint and the cost of a request', () => {
  const { scheduler, ids } = pool();
  const first = scheduler.pick(new Uint32Array(1_000), { model: 'm', session: 's' });
  assert.equal(first.kind, 'dispatch');
  assert.equal(first.requestId, 1);
  assert.ok(ids.includes(first.endpointId));
  assert.equal(first.endpointName, scheduler.endpoint(first.endpointId).name);
  assert.deepEqual(first.alternatives, ids.filter((id) => id !== first.endpointId));
  assert.equal(first.promptTokens, 1_000);
  assert.equal(first.queueTimeMs, 0);
  assert.ok(first.cost > 0);
  const again = scheduler.pick(new Uint32Array(1_000), { model: 'm', session: 's' });
  assert.deepEqual([again.endpointId, again.cachedTokens, again.bestCachedTokens], [first.endpointId, 992, 992]);
});

test('a rejection is a value with the reason and the time to retry', () => {
  const { scheduler, clock } = pool([{ name: 'a', maxInFlight: 1 }]);
  scheduler.pick('hello');
  clock.now = 100;
  const rejected = scheduler.pick('hello');
  assert.equal(rejected.kind, 'rejected');
  assert.equal(rejected.reason, 'saturated');
  assert.equal(rejected.httpStatus, 429);
  assert.ok(rejected.retryAfterMs > 0);
  assert.match(rejected.message, /all endpoints are at their limit/);
  assert.equal(new Scheduler().pick('hello').retryAfterMs, 5_000);
});

test('prompts of all kinds are the same prompt', () => {
  const ids = Array.from({ length: 320 }, (_, at) => at * 7);
  const forms = [
    Uint32Array.from(ids),
    Int32Array.from(ids),
    Uint16Array.from(ids),
    BigInt64Array.from(ids, BigInt),
    ids,
    Uint32Array.from([99, ...ids, 99]).subarray(1, -1),
  ];
  for (const form of forms) {
    const { scheduler } = pool();
    scheduler.pick(Uint32Array.from(ids));
    assert.equal(scheduler.explain(form).bestCachedTokens, 304, form.constructor.name);
  }
  const text = 'Grüße, 模型 🦀! '.repeat(40);
  for (const form of [text, Buffer.from(text), new TextEncoder().encode(text)]) {
    const { scheduler } = pool();
    const { promptTokens } = scheduler.pick(text);
    assert.equal(promptTokens, Math.ceil(Buffer.byteLength(text) / 4));
    assert.ok(scheduler.explain(form).bestCachedTokens > 200, form.constructor.name);
    assert.equal(scheduler.explain(`x${text}`).bestCachedTokens, 0);
  }
});

test('text of any length is read to its end', () => {
  const { scheduler } = pool(['a'], { kvCacheTokens: 4e9 });
  for (const length of [0, 1, 21_845, 21_846, 30_000, 65_537, 1_000_000, 1_398_101, 1_398_102, 5_000_000]) {
    assert.equal(scheduler.explain('x'.repeat(length)).promptTokens, Math.ceil(length / 4), `${length} letters`);
    assert.equal(scheduler.explain('é'.repeat(length)).promptTokens, Math.ceil((2 * length) / 4), `${length} umlauts`);
    assert.equal(scheduler.explain('模'.repeat(length)).promptTokens, Math.ceil((3 * length) / 4), `${length} signs`);
  }
});

test('ready hashes are used as they are, up to the last of their 64 bits', () => {
  const { scheduler, ids } = pool(['a']);
  const blocks = BigUint64Array.of(0xffff_ffff_ffff_ffffn, 0n, 1n << 63n);
  scheduler.pick({ blocks, blockSize: 16, tokens: 50 });
  assert.equal(scheduler.explain({ blocks: [...blocks], blockSize: 16, tokens: 50 }).bestCachedTokens, 48);
  assert.equal(scheduler.explain({ blocks: [1n], blockSize: 16, tokens: 50 }).bestCachedTokens, 0);
  scheduler.handleKvEvent(ids[0], { kind: 'BlockStored', blocks: [7n, 8n], blockSize: 16 });
  scheduler.handleKvEvent(ids[0], { kind: 'BlockStored', blocks: [0n], parent: 8n, blockSize: 16 });
  assert.equal(scheduler.explain({ blocks: [7n, 8n, 0n], blockSize: 16, tokens: 50 }).bestCachedTokens, 48);
});

test('blocks live in tiers, and leave one at a time', () => {
  const { scheduler, ids } = pool();
  const blocks = [1n, 2n, 3n];
  scheduler.handleKvEvent(ids[0], { kind: 'BlockStored', blocks, blockSize: 16 });
  assert.ok(scheduler.stats().indexBytes > 0);
  scheduler.handleKvEvent(ids[1], { kind: 'BlockStored', blocks, blockSize: 16, tier: 'cpu' });
  scheduler.handleKvEvent(ids[1], { kind: 'BlockRemoved', blocks });
  const [near, host] = scheduler.explain({ blocks, blockSize: 16, tokens: 49 }).candidates;
  assert.deepEqual([near.name, near.cachedTokens, host.name, host.cachedTokens], ['a', 48, 'b', 48]);
  // A fifth of 48 tokens at 23 us, for which a second of prefill is two.
  assert.ok(Math.abs(host.cost - near.cost - 2 * 48 * (1 - scheduler.config.tiers.cpu) * 23e-6) < 1e-12);
  scheduler.handleKvEvent(ids[1], { kind: 'BlockRemoved', blocks, tier: 'cpu' });
  assert.deepEqual(scheduler.stats().endpoints.map(({ storedTokens }) => storedTokens), [48, 0]);
  scheduler.handleKvEvent(ids[1], { kind: 'BlockStored', blocks: [7n], blockSize: 16, tier: 'disk' });
  assert.ok(scheduler.stats().endpoints.every(({ hashMismatch }) => hashMismatch === false));
});

test('labels, roles, models and deadlines keep requests away', () => {
  const { scheduler, ids } = pool([
    { name: 'a', models: ['m'], labels: { zone: 'x' } },
    { name: 'p', role: 'prefill' },
  ]);
  const why = (options) => scheduler.pick('hello', options).reason;
  assert.equal(why({ model: 'other' }), 'not_served');
  assert.equal(why({ model: 'm', labels: { zone: 'y' } }), 'not_served');
  assert.equal(why({ role: 'decode' }), 'not_served');
  assert.equal(scheduler.pick('hello', { model: 'm', labels: { zone: 'x' } }).endpointId, ids[0]);
  assert.equal(scheduler.pick('hello', { model: 'other', role: 'prefill' }).endpointId, ids[1]);
  assert.equal(scheduler.pick(new Uint32Array(9_000), { model: 'm', deadline: 1, now: 1 }).reason, 'deadline_unreachable');
  const { candidates } = scheduler.explain('hello', { model: 'other' });
  assert.deepEqual(candidates.map(({ excluded }) => excluded), ['not_served', 'not_served']);
});

test('the configuration and the endpoints come back as they were given', () => {
  const seed = 0xffff_ffff_ffff_fff7n;
  const { config } = new Scheduler({
    seed,
    backoffMs: 12.5,
    index: { warmWindowMs: 1 },
    prices: { kv: 3, decodeCap: 1.5 },
    tiers: { cpu: 0 },
    prefill: { perToken: 1e-5 },
    learnSpeed: false,
  });
  assert.equal(config.seed, seed);
  assert.equal(config.backoffMs, 12.5);
  assert.equal(config.index.warmWindowMs, 1);
  assert.equal(config.index.bytes, 2 ** 30);
  assert.deepEqual(config.tiers, { cpu: 0, disk: 0.5 });
  assert.deepEqual([config.prices.kv, config.prices.decodeCap, config.prices.queue], [3, 1.5, 1]);
  assert.deepEqual([config.prefill.perToken, config.prefill.perPair], [1e-5, 1.33e-9]);
  assert.equal(config.learnSpeed, false);
  assert.deepEqual(new Scheduler(config).config, config);

  const endpoint = {
    name: 'a',
    models: ['m', 'n'],
    labels: { zone: 'x' },
    role: 'decode',
    kvCacheTokens: 1_000,
    blockSize: 32,
    maxInFlight: 7,
    adapterSlots: 2,
    adapterLoadTimeMs: 1.5,
    prefill: { perToken: 1e-5, perPair: 0, perStep: 0, minStep: 0, chunk: 512 },
    cacheEviction: 'head_first',
    noticesDisconnect: false,
  };
  const { scheduler, ids } = pool([endpoint]);
  assert.deepEqual(scheduler.endpoint(ids[0]), endpoint);
  scheduler.updateEndpoint(ids[0], scheduler.endpoint(ids[0]));
  const removed = scheduler.removeEndpoint(ids[0]);
  assert.deepEqual(removed, { endpoint, inFlight: [] });
  assert.equal(scheduler.endpoint(ids[0]), null);
});

test('the defaults that the types promise are the defaults', () => {
  const types = readFileSync(new URL('../native/index.d.ts', import.meta.url), 'utf8');
  const { config } = new Scheduler();
  // `prefill` is a number among the prices, and an object in the configuration.
  const { flow } = new Scheduler({ flow: { sessionAdmission: {} } }).config;
  const detectors = ['utilization-detector', 'concurrency-detector'].map((type) => {
    return new Scheduler({ flow: { saturation: { type } } }).config.flow.saturation;
  });
  const holdback = new Scheduler({ flow: { usageLimit: { type: 'priority-holdback', minUsageLimit: 0 } } }).config.flow.usageLimit;
  const { disaggregation } = new Scheduler({ disaggregation: { prefill: { type: 'prefix-based-pd-decider' } } }).config;
  const policies = [flow, flow.band, flow.saturation, flow.usageLimit, flow.sessionAdmission, ...detectors, holdback];
  const groups = [config.index, config.prefill, config.prices, config.tiers, config.producers, config.autoscaling, config, ...policies, disaggregation.prefill.parameters, disaggregation.kvTransfer, { blockSize: 16, weight: 1 }];
  const documented = types.matchAll(
    /Default:[\s*]+([\d.,]*\d(?:e-\d+)?)(?:, [a-z][^.]*)?\.[\s*/]*(\w+)\?:/g,
  );
  let count = 0;
  for (const [, value, name] of documented) {
    const number = Number(value.replaceAll(',', ''));
    assert.ok(groups.some((group) => group[name] === number), `${name} is not ${value} by default`);
    count += 1;
  }
  assert.ok(count >= 30, `only ${count} defaults were found`);
});

test('what changes is seen at once', () => {
  const { scheduler, ids } = pool();
  const names = () => scheduler.stats().endpoints.map(({ name }) => name);
  const before = scheduler.membership;
  scheduler.updateEndpoint(ids[0], 'c');
  assert.deepEqual(names(), ['c', 'b']);
  assert.deepEqual([...scheduler.endpointNames()], [[ids[0], 'c'], [ids[1], 'b']]);
  assert.notEqual(scheduler.membership, before);
  assert.equal(scheduler.endpointNamed('c'), ids[0]);
  assert.equal(scheduler.endpointNamed('a'), null);
  scheduler.drainEndpoint(ids[1]);
  assert.equal(scheduler.pick('x').endpointName, 'c');
  scheduler.resumeEndpoint(ids[1]);
  scheduler.drainEndpoint(ids[0]);
  const { requestId: request, endpointId: endpoint, endpointName: name } = scheduler.pick('x');
  assert.equal(name, 'b');
  assert.equal(scheduler.endpointOf(request), endpoint);
  assert.deepEqual(scheduler.removeEndpoint(ids[1]).inFlight, [request]);
  assert.equal(scheduler.cancel(request), true);
  assert.equal(scheduler.cancel(request), false);
  assert.equal(scheduler.endpointOf(request), null);
});

test('more alternatives than the first guess are all returned', () => {
  const names = Array.from({ length: 40 }, (_, at) => `e${at}`);
  const { scheduler, ids } = pool(names, { alternatives: 1_000 });
  const { endpointId: endpoint, alternatives } = scheduler.pick('x');
  assert.deepEqual([endpoint, ...alternatives].sort((a, b) => a - b), ids);
});

test('an explanation is what a pick then does, and a table for people', () => {
  const { scheduler } = pool();
  const explanation = scheduler.explain('hello', { model: 'm' });
  assert.equal(explanation.rejected, null);
  const total = Object.values(explanation.candidates[0].terms).reduce((sum, term) => sum + term);
  assert.ok(Math.abs(total - explanation.candidates[0].cost) < 1e-12);
  assert.match(explanation.table, /prefill .*\nb /);
  const dispatch = scheduler.pick('hello', { model: 'm' });
  assert.deepEqual([dispatch.endpointId, dispatch.cost], [explanation.endpointId, explanation.candidates[0].cost]);
  const none = new Scheduler().explain('hello');
  assert.deepEqual([none.endpointId, none.rejected.reason, none.candidates], [null, 'no_endpoints', []]);
});

test('errors keep their kind, their code and their message', () => {
  const { scheduler, ids } = pool(['a', 'b'], { maxEndpoints: 2 });
  const { requestId: request } = scheduler.pick('x');
  scheduler.handleFirstToken(request);
  const cases = [
    [() => scheduler.addEndpoint('a'), EndpointError, 'duplicate_name', 'endpoint 0 already has that name'],
    [() => scheduler.addEndpoint('c'), EndpointError, 'pool_full', 'the pool is full: max_endpoints is 2'],
    [() => scheduler.updateEndpoint(9, 'z'), EndpointError, 'unknown_endpoint', 'unknown endpoint 9'],
    [() => scheduler.drainEndpoint(9), UnknownEndpointError, 'unknown_endpoint', 'unknown endpoint 9'],
    [() => scheduler.complete(9), UnknownRequestError, 'unknown_request', 'request 9 is not in flight'],
    [() => scheduler.redirect(request, ids[0]), RedirectError, 'request_started', 'request 1 has had its first token'],
    [
      () => scheduler.handleKvEvent(ids[0], { kind: 'BlockStored', blocks: [1n], parent: 5n, blockSize: 16 }),
      KvEventError,
      'unknown_parent',
      'unknown parent block 0000000000000005: events were lost, replay them',
    ],
    [() => new Scheduler({ kvLimit: 2 }), ConfigError, 'config', 'kvLimit must lie in (0, 1]'],
    [() => new Scheduler({ index: { bytes: 0 } }), ConfigError, 'config', 'index.bytes must not be zero'],
    [() => new Scheduler({ tiers: { cpu: 1.5 } }), ConfigError, 'config', 'tiers.cpu must lie in [0, 1]'],
  ];
  for (const [call, kind, code, message] of cases) {
    assert.throws(call, (error) => {
      assert.ok(error instanceof kind && error instanceof SlotwiseError && error instanceof Error, String(error));
      assert.deepEqual([error.name, error.code, error.message], [kind.name, code, message]);
      return true;
    });
  }
  assert.throws(() => new Scheduler({ prices: { decodeCap: -1 } }), { field: 'prices.decodeCap' });
});

test('what is known of caches outlives a scheduler', () => {
  const ids = Uint32Array.from({ length: 2_000 }, (_, at) => at);
  const before = pool(['a', 'b'], { seed: 7 }).scheduler;
  const first = before.pick(ids);
  const snapshot = before.snapshot();
  assert.ok(snapshot instanceof Uint8Array);
  const bytes = Buffer.from(snapshot);
  before.close();
  // In a buffer of its own, and somewhere in a larger one.
  const within = Buffer.concat([Buffer.alloc(3), bytes, Buffer.alloc(5)]).subarray(3, 3 + bytes.length);
  for (const same of [snapshot, bytes, within]) {
    const { scheduler } = pool(['b', 'c', 'a'], { seed: 7 });
    assert.equal(scheduler.restore(same), 2);
    const second = scheduler.pick(ids);
    assert.deepEqual([second.endpointName, second.cachedTokens], [first.endpointName, 1_984]);
  }
  // Both are bytes of their own.
  const { scheduler, clock } = pool(['a', 'b'], { seed: 7 });
  assert.equal(scheduler.restore(snapshot, 10), 2);
  assert.equal(clock.now, 0);
  const kept = scheduler.snapshot();
  kept.fill(0);
  assert.deepEqual(Buffer.from(scheduler.snapshot()), bytes);
});

test('an unreadable snapshot throws an error and changes nothing', () => {
  const { scheduler: source } = pool(['a', 'b'], { seed: 7 });
  source.pick('You are a helpful assistant. '.repeat(40));
  const snapshot = source.snapshot();
  const flipped = (at) => Uint8Array.from(snapshot, (byte, place) => (place === at ? byte ^ 0xff : byte));
  const cases = [
    [new Uint8Array(0), { seed: 7 }, 'snapshot_foreign'],
    [Buffer.from('{"not": "a snapshot"}'), { seed: 7 }, 'snapshot_foreign'],
    [flipped(8), { seed: 7 }, 'snapshot_version'],
    [flipped(snapshot.length - 1), { seed: 7 }, 'snapshot_damaged'],
    [snapshot.subarray(0, -1), { seed: 7 }, 'snapshot_damaged'],
    [snapshot, { seed: 8 }, 'snapshot_seed'],
    [snapshot, { seed: 7, index: { bytes: 1 } }, 'snapshot_too_large'],
  ];
  for (const [bytes, config, code] of cases) {
    const { scheduler } = pool(['a', 'b'], config);
    const stats = scheduler.stats();
    assert.throws(() => scheduler.restore(bytes), (error) => {
      assert.ok(error instanceof SnapshotError && error instanceof SlotwiseError, String(error));
      assert.deepEqual([error.name, error.code], ['SnapshotError', code]);
      return true;
    });
    assert.deepEqual(scheduler.stats(), stats);
  }
  assert.throws(() => source.restore(snapshot), { name: 'SnapshotError', code: 'snapshot_busy' });
  const { scheduler } = pool();
  for (const nothing of [undefined, null, 'text', [1, 2], snapshot.buffer, Uint16Array.of(1)]) {
    assert.throws(() => scheduler.restore(nothing), { code: 'ERR_INVALID_ARG_TYPE', message: /^snapshot must be a Uint8Array/ });
  }
  const moved = Uint8Array.from(snapshot);
  structuredClone(moved.buffer, { transfer: [moved.buffer] });
  assert.throws(() => scheduler.restore(moved), { code: 'ERR_INVALID_ARG_TYPE', message: /transferred/ });
});

test('a closed scheduler answers nothing', () => {
  const { scheduler, ids } = pool();
  const { requestId: request } = scheduler.pick('x');
  scheduler.close();
  scheduler.close();
  assert.equal(scheduler.closed, true);
  const calls = [
    () => scheduler.pick('x'),
    () => scheduler.explain('x'),
    () => scheduler.stats(),
    () => scheduler.config,
    () => scheduler.endpoint(ids[0]),
    () => scheduler.endpointNamed('a'),
    () => scheduler.endpointOf(request),
    () => scheduler.addEndpoint('c'),
    () => scheduler.updateEndpoint(ids[0], 'c'),
    () => scheduler.removeEndpoint(ids[0]),
    () => scheduler.drainEndpoint(ids[0]),
    () => scheduler.resumeEndpoint(ids[0]),
    () => scheduler.handleLoad(ids[0], {}),
    () => scheduler.handleAdapters(ids[0], { active: [] }),
    () => scheduler.handleKvEvent(ids[0], { kind: 'AllBlocksCleared' }),
    () => scheduler.handleFirstToken(request),
    () => scheduler.handleTokens(request, 1),
    () => scheduler.complete(request),
    () => scheduler.fail(request),
    () => scheduler.cancel(request),
    () => scheduler.redirect(request, ids[0]),
    () => scheduler.snapshot(),
    () => scheduler.restore(new Uint8Array(0)),
  ];
  for (const call of calls) {
    assert.throws(call, { name: 'SlotwiseError', code: 'closed', message: 'the scheduler is closed' }, String(call));
  }
});

test('the clock of the host is used unless there is another', () => {
  const scheduler = new Scheduler({}, {});
  scheduler.addEndpoint('a');
  const before = performance.now();
  scheduler.handleLoad(0, { running: 1 });
  scheduler.pick('x');
  assert.ok(scheduler.stats().endpoints[0].reportAgeMs >= 0);
  // Both are readings of one clock, rounded to microseconds.
  assert.ok(scheduler.stats().endpoints[0].reportAgeMs <= performance.now() - before + 0.002);
  const { scheduler: other, clock } = pool(['a']);
  other.handleLoad(0, { running: 1, sampledAt: 0 });
  clock.now = 12.345;
  other.cancel(1);
  assert.equal(other.stats().endpoints[0].reportAgeMs, 12.345);
  other.cancel(1, 20);
  assert.equal(other.stats().endpoints[0].reportAgeMs, 20);
});
