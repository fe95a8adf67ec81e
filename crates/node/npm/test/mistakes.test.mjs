// Mistakes of hosts throw errors that state the remedy and change nothing.
import assert from 'node:assert/strict';
import { afterEach, mock, test } from 'node:test';
import { Scheduler } from 'slotwise';
import { pool } from './support/pool.mjs';

afterEach(() => mock.restoreAll());

test('a now on another clock is an error', () => {
  const scheduler = new Scheduler();
  const id = scheduler.addEndpoint('a');
  for (const call of [() => scheduler.handleLoad(id, {}, Date.now()), () => scheduler.pick('x', { now: performance.now() + 4e6 })]) {
    assert.throws(call, { name: 'RangeError', message: /more than an hour ahead.* Pass performance\.now\(\) and not Date\.now\(\)/ });
  }
  assert.equal(scheduler.pick('x', { now: performance.now() + 3e6 }).kind, 'dispatch');
  const { scheduler: own } = pool(['a']);
  assert.equal(own.pick('x', { now: Date.now() }).kind, 'dispatch');
});

test('a cost function that always picks comes to an end', () => {
  const told = mock.method(process, 'emitWarning', () => {});
  const scheduler = new Scheduler({}, { cost: ({ cost }) => (scheduler.pick('x'), cost) });
  scheduler.addEndpoint('a');
  assert.equal(scheduler.pick('x').kind, 'dispatch');
  assert.equal(scheduler.stats().inFlight, 16);
  assert.equal(told.mock.callCount(), 1);
  assert.match(told.mock.calls[0].arguments[0], /a cost function runs within itself 16 times/);
});

test('the default seed is random', () => {
  const seeds = [undefined, {}, { seed: undefined }, {}].map((config) => new Scheduler(config).config.seed);
  assert.equal(new Set(seeds).size, seeds.length);
  assert.ok(seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0));
  assert.equal(new Scheduler({ seed: 0 }).config.seed, 0);
});

test('an error for an invalid id or name states what to pass', () => {
  const { scheduler } = pool(['a']);
  for (const [call, message] of [
    [() => scheduler.drainEndpoint('a'), 'id must be a number, got "a": pass what addEndpoint returned, or endpointNamed("a")'],
    [() => scheduler.endpointNamed(0), 'name must be a string, got 0: endpoint(0)?.name is the name of an id'],
    [() => scheduler.complete(scheduler.pick('x')), 'requestId must be a number, got an object: pass its .requestId'],
    [() => scheduler.cancel('abc'), 'requestId must be a number, got "abc": pass dispatch.requestId, which is no X-Request-ID'],
    [() => scheduler.pick('x', { flow: 7 }), 'flow must be a string, got 7: pass String(7)'],
    [() => scheduler.pick('x', { session: 7n }), 'session must be a string, got 7: pass String(7)'],
  ]) {
    assert.throws(call, { name: 'TypeError', message });
  }
});

test('a rejection used as a dispatch throws an error with the next step', () => {
  const { scheduler } = pool([]);
  const rejected = scheduler.pick('x');
  for (const field of ['endpointId', 'endpointName', 'requestId', 'alternatives']) {
    assert.throws(() => rejected[field], /not dispatched \(no_endpoints\).* check decision\.kind === 'dispatch' first/);
  }
  assert.ok(!Object.keys(rejected).includes('endpointId') && Object.keys(rejected).includes('reason'));
  assert.equal({ ...rejected }.endpointId, undefined);
  const request = scheduler.submit('x', { ttlMs: 0 });
  const evicted = scheduler.pollDecision(1);
  assert.deepEqual([evicted.kind, evicted.requestId], ['evicted', request]);
  assert.throws(() => evicted.endpointId, /so it has no endpointId/);
});

test('lengths of time that are hardly meant warn once', () => {
  const told = mock.method(process, 'emitWarning', () => {});
  const { scheduler } = pool(['a']);
  for (const make of [
    () => scheduler.submit('x', { ttlMs: 5 }),
    () => new Scheduler({ flow: { maxQueuedPrefillMs: 0.25 } }),
    () => new Scheduler({ backoffMs: 1 }),
  ]) {
    make();
    make();
  }
  assert.deepEqual(told.mock.calls.map(({ arguments: [message] }) => message), [
    'ttlMs is 5 milliseconds, where 10 to 3600000 is plausible: times are milliseconds, not seconds',
    'flow.maxQueuedPrefillMs is 0.25 milliseconds, where 1 to 30000 is plausible: times are milliseconds, not seconds',
    'backoffMs is 1 milliseconds, where 10 to 600000 is plausible: times are milliseconds, not seconds',
  ]);
});

test('a share in per cent and a deadline on another clock are errors', () => {
  const { scheduler, ids: [id] } = pool(['a']);
  for (const kvUsage of [85, 1.2, -0.1]) {
    assert.throws(() => scheduler.handleLoad(id, { kvUsage }), { name: 'RangeError', message: /kvUsage must be a share between 0 and 1 \(divide per cent by 100\)/ });
  }
  scheduler.handleLoad(id, { kvUsage: 1 });
  assert.throws(() => scheduler.pick('x', { deadline: Date.now() }), /deadline must be milliseconds on the scheduler's clock/);
});
