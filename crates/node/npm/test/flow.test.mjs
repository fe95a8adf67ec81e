// Requests pass flow control: they wait for their turn and an endpoint, and each gets a decision.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { ConfigError, Scheduler } from 'slotwise';
import { left, pool, settle } from './support/pool.mjs';

/** All decisions until there is none. */
function poll(scheduler, now) {
  const decisions = [];
  for (let next = scheduler.pollDecision(now); next !== undefined; next = scheduler.pollDecision(now)) {
    decisions.push(next);
  }
  return decisions;
}

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

const full = (config = {}) => pool([{ name: 'a', maxInFlight: 1 }], config);

test('a submitted request is dispatched, or waits for those before it', () => {
  const { scheduler, clock, ids } = full();
  const first = scheduler.submit('x');
  const [dispatch, ...none] = poll(scheduler);
  assert.deepEqual(none, []);
  assert.deepEqual(
    [dispatch.kind, dispatch.requestId, dispatch.endpointId, dispatch.endpointName, dispatch.queueTimeMs],
    ['dispatch', first, ids[0], 'a', 0],
  );
  const low = scheduler.submit('x');
  const high = scheduler.submit('x', { priority: 1, weight: 2, ttlMs: 5_000 });
  assert.equal(scheduler.pollDecision(), undefined);
  assert.deepEqual([scheduler.stats().queued, scheduler.stats().queuedBytes], [2, 2]);
  assert.deepEqual(scheduler.stats().bands, [1, 0].map((priority) => ({ priority, queued: 1, queuedBytes: 1 })));
  clock.now = 1_500;
  scheduler.complete(first);
  const [next] = poll(scheduler);
  assert.deepEqual([next.requestId, next.queueTimeMs], [high, 1_500]);
  assert.equal(scheduler.stats().queueTimeTotalMs, 1_500);
  scheduler.complete(high);
  assert.deepEqual(poll(scheduler).map(({ requestId }) => requestId), [low]);
  assert.equal(scheduler.cancel(low), true);
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('a request is evicted at its TTL, which nextTimeout returns', () => {
  const { scheduler, clock } = full();
  assert.equal(scheduler.nextTimeout(), undefined);
  scheduler.submit('x');
  poll(scheduler);
  clock.now = 10;
  const patient = scheduler.submit('x', { ttlMs: Infinity });
  assert.equal(scheduler.nextTimeout(), undefined);
  scheduler.submit('x');
  assert.equal(scheduler.nextTimeout(), 60_010);
  const second = scheduler.submit('x', { ttlMs: 0.5 });
  assert.equal(scheduler.nextTimeout(), 10.5);
  assert.deepEqual(poll(scheduler), []);
  const [evicted, ...none] = poll(scheduler, 10.5);
  assert.deepEqual(none, []);
  const { retryAfterMs, ...rest } = evicted;
  assert.deepEqual(rest, { kind: 'evicted', requestId: second, reason: 'ttl_expired', httpStatus: 429, queueTimeMs: 0.5 });
  assert.equal(typeof retryAfterMs, 'number');
  assert.deepEqual(scheduler.stats().evicted, { ttl_expired: 1 });
  assert.equal(poll(scheduler, 60_010).length, 1);
  assert.equal(scheduler.cancel(patient), true);
  assert.equal(scheduler.stats().queued, 0);
});

test('without endpoints, a request waits up to the configured time', () => {
  const { scheduler } = pool([], { flow: { noEndpointTtlMs: 100 } });
  const first = scheduler.submit('x');
  assert.deepEqual(poll(scheduler), []);
  const [evicted] = poll(scheduler, 100);
  assert.deepEqual([evicted.requestId, evicted.reason, evicted.httpStatus, evicted.retryAfterMs], [first, 'no_endpoints', 503, 5_000]);
  const second = scheduler.submit('x', { now: 100 });
  scheduler.addEndpoint('a', 150);
  const [dispatch] = poll(scheduler, 150);
  assert.deepEqual([dispatch.requestId, dispatch.queueTimeMs], [second, 50]);
});

test('what need not wait is rejected at once', () => {
  const { scheduler } = pool([{ name: 'a', models: ['m'], maxInFlight: 1 }], { flow: { band: { maxRequests: 1 } } });
  assert.equal(scheduler.submit('x', { model: 'n' }).reason, 'not_served');
  scheduler.submit('x', { model: 'm' });
  assert.equal(poll(scheduler).length, 1);
  const low = scheduler.submit('x', { model: 'm' });
  const rejected = scheduler.submit('x', { model: 'm' });
  assert.deepEqual([rejected.kind, rejected.reason, rejected.httpStatus], ['rejected', 'queue_full', 429]);
  assert.equal(typeof low, 'number');
  assert.deepEqual(poll(scheduler), []);
});

test('flows share by their prices', () => {
  const { scheduler } = full();
  scheduler.submit('x');
  let [{ requestId: request }] = poll(scheduler);
  const flows = new Map();
  for (let at = 0; at < 12; at += 1) {
    for (const [flow, weight] of [['heavy', 2], ['light', 1]]) {
      flows.set(scheduler.submit(new Uint32Array(100).fill(100 * weight + at), { flow, weight }), flow);
    }
  }
  const order = [];
  for (let at = 0; at < 9; at += 1) {
    scheduler.complete(request);
    [{ requestId: request }] = poll(scheduler);
    order.push(flows.get(request));
  }
  assert.equal(order.filter((flow) => flow === 'heavy').length, 6);
});

test('the configuration of flow control goes in and comes out', () => {
  const { flow } = new Scheduler().config;
  assert.deepEqual(flow, {
    maxRequests: 100_000,
    maxBytes: 4e9,
    band: { maxRequests: 5_000, maxBytes: 1e9 },
    fairness: 'start_time',
    order: 'shortest_work',
    lowerShare: 0,
    lookAheadMs: 0,
    maxBands: 64,
    maxIdleFlows: 10_000,
    maxQueuedPrefillMs: 250,
    ttlMs: 60_000,
    noEndpointTtlMs: 60_000,
    saturation: { type: 'continuous', maxQueuedPrefillMs: 250, kvLimit: 0.8 },
    usageLimit: { type: 'static', limit: 1 },
  });
  const whole = {
    maxRequests: Infinity,
    maxBytes: Infinity,
    band: { maxRequests: 10, maxBytes: 1_000 },
    fairness: 'least_attained_service',
    order: 'fcfs',
    lowerShare: 0.1,
    lookAheadMs: 20,
    maxBands: 8,
    maxIdleFlows: 30,
    maxQueuedPrefillMs: 40,
    ttlMs: 50,
    noEndpointTtlMs: 60,
    saturation: {
      type: 'utilization-detector',
      queueDepthThreshold: 6,
      kvCacheUtilThreshold: 0.7,
      metricsStalenessThresholdMs: 80,
      headroom: 0.2,
    },
    usageLimit: { type: 'priority-holdback', minUsageLimit: 0.5, maxUsageLimit: 0.9, domain: 'value' },
    sessionAdmission: {
      share: 0.8,
      shareMin: 0.5,
      shareMax: 0.9,
      idleTimeMs: 10_000,
      idleTimeMinMs: 1_000,
      idleTimeMaxMs: 100_000,
      maxSessions: 100,
    },
  };
  const { config } = new Scheduler({ flow: whole });
  assert.deepEqual(config.flow, whole);
  assert.deepEqual(new Scheduler(config).config, config);
  const concurrency = { type: 'concurrency-detector', concurrencyMode: 'hybrid', maxConcurrency: 7, maxTokenConcurrency: 8, headroom: 0 };
  const more = { saturation: concurrency, usageLimit: { type: 'soft-reflective' } };
  const got = new Scheduler({ flow: { ...more, sessionAdmission: {} } }).config.flow;
  assert.deepEqual([got.saturation, got.usageLimit], [more.saturation, more.usageLimit]);
  assert.deepEqual([got.sessionAdmission.share, got.sessionAdmission.shareMax], [0.8, 0.8]);
  const { config: high } = new Scheduler({ flow: { sessionAdmission: { share: 0.9 } } });
  assert.equal(high.flow.sessionAdmission.share, 0.9);
});

test('mistakes in it are named as they are written', () => {
  const mistakes = [
    [{ lowerShare: 0.6 }, 'flow.lowerShare'],
    [{ fairness: 'fair' }, 'flow.fairness'],
    [{ order: 'lifo' }, 'flow.order'],
    [{ ttlMs: -1 }, 'flow.ttlMs'],
    [{ band: { maxRequests: 0 } }, 'flow.band.maxRequests'],
    [{ saturation: { type: 'guess' } }, 'flow.saturation.type'],
    [{ saturation: { type: 'concurrency-detector', kvLimit: 0.5 } }, 'flow.saturation.kvLimit'],
    [{ saturation: { maxQueuedPrefillMs: 0 } }, 'flow.saturation.maxQueuedPrefillMs'],
    [{ usageLimit: { type: 'priority-holdback' } }, 'flow.usageLimit.minUsageLimit'],
    [{ usageLimit: { type: 'priority-holdback', minUsageLimit: 0.5, domain: 'slope' } }, 'flow.usageLimit.domain'],
    [{ usageLimit: { domain: 'value' } }, 'flow.usageLimit.domain'],
    [{ usageLimit: { limit: 2 } }, 'flow.usageLimit.limit'],
    [{ sessionAdmission: { idleTimeMs: 1 } }, 'flow.sessionAdmission.idleTimeMs'],
    [{ patience: 1 }, 'flow.patience'],
  ];
  for (const [flow, field] of mistakes) {
    assert.throws(() => new Scheduler({ flow }), (error) => error instanceof ConfigError && error.field === field, field);
  }
  const { scheduler } = pool();
  for (const options of [{ ttlMs: -1 }, { ttlMs: NaN }, { weight: 0 }, { weight: Infinity }]) {
    assert.throws(() => scheduler.submit('x', options), RangeError);
  }
  assert.throws(() => scheduler.submit('x', { ttlMs: '1' }), TypeError);
  assert.throws(() => scheduler.submit('x', { ttl: 1 }), /options\.ttl is not a known field/);
  assert.throws(() => scheduler.pick('x', { ttlMs: 1 }), /options\.ttlMs is not a known field/);
  scheduler.close();
  assert.throws(() => scheduler.submit('x'), { code: 'closed' });
  assert.throws(() => scheduler.pollDecision(), { code: 'closed' });
  assert.throws(() => scheduler.nextTimeout(), { code: 'closed' });
});

test('who submits and who awaits do not take each other’s decisions', async () => {
  const { scheduler } = full();
  const lease = await scheduler.acquire('x');
  const mine = scheduler.submit('x', { priority: 1 });
  const theirs = scheduler.acquire('x');
  await settle();
  lease.complete();
  assert.ok(scheduler.nextTimeout() <= 0, 'there is a decision to be asked for');
  assert.deepEqual(poll(scheduler).map(({ requestId }) => requestId), [mine]);
  scheduler.complete(mine);
  assert.deepEqual(poll(scheduler), []);
  const other = await theirs;
  const late = scheduler.submit('x', { priority: 1 });
  const last = scheduler.acquire('x');
  other.complete();
  assert.equal(scheduler.cancel(late), true);
  assert.equal(scheduler.pollDecision(), undefined, 'a cancelled request has no decision');
  (await last).complete();
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('five thousand wait on one timer', async () => {
  const { scheduler, clock } = full();
  const lease = await scheduler.acquire('x');
  let timers = 0;
  const set = globalThis.setTimeout;
  mock.method(globalThis, 'setTimeout', (...args) => {
    timers += 1;
    return set(...args);
  });
  const ends = new Map();
  const waits = Array.from({ length: 5_000 }, (_, at) => {
    const timeoutMs = 1_000 + ((at * 7_919) % 5_000);
    return scheduler.acquire('x', { timeoutMs, flow: `f${at % 50}` }).then(
      (granted) => ends.set(at, granted),
      (error) => ends.set(at, error),
    );
  });
  await settle();
  assert.equal(scheduler.queued, 5_000);
  // The first would give up before all others.
  assert.equal(timers, 1);
  clock.now = 999;
  mock.timers.tick(999);
  lease.complete();
  await settle();
  const [[, granted]] = ends;
  assert.equal(ends.size, 1);
  assert.equal(granted.dispatch.queueTimeMs, 999);
  for (const at of [3_500, 6_000]) {
    const passed = at - clock.now;
    clock.now = at;
    mock.timers.tick(passed);
    await settle();
  }
  await Promise.all(waits);
  assert.equal(ends.size, 5_000);
  const reasons = [...ends.values()].map(({ reason }) => reason);
  assert.equal(reasons.filter((reason) => reason === 'ttl_expired').length, 4_999);
  granted.complete();
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('preemption candidates are named', () => {
  const { scheduler } = pool([{ name: 'only', maxInFlight: 2 }]);
  const batch = [scheduler.submit('x', { priority: -1 }), scheduler.submit('y', { priority: -2 })];
  while (scheduler.pollDecision() !== undefined);
  assert.deepEqual(scheduler.preemptionCandidates(), []);
  scheduler.submit('z');
  assert.equal(scheduler.pollDecision(), undefined);
  assert.deepEqual([scheduler.preemptionCandidates(), scheduler.preemptionCandidates(1)], [batch.toReversed(), batch.slice(1)]);
});
