// A configuration changes while its pool serves: nothing is lost, nothing is booked twice.
// `crates/gateway/tests/a_reload_loses_nothing.rs` does the same with several pools.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError, Scheduler } from 'slotwise';
import { Configuration } from 'slotwise/configuration';

/** A pool with these endpoints. */
function file(endpoints, limit, seed = 0) {
  const listed = endpoints.map((at) => `{name: 'http://${at}', max_in_flight: ${100 + (limit % 3) * 50}}`);
  return new Configuration(
    `pools: [{name: main, endpoints: [${listed}], scheduler: {seed: ${seed}, max_in_flight: ${limit}, `
      + 'flow: {max_queued_prefill: 5}}}]',
  );
}

/** A generator of small random numbers. */
function random(state) {
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 8) % below;
  };
}

test('nothing is lost under load', () => {
  const rng = random(7);
  const scheduler = new Scheduler({ seed: 3 });
  scheduler.apply(file([0, 1, 2, 3], 600), 'main', 0);
  const [queued, running] = [new Set(), []];
  let [submitted, ended, last, removed] = [0, 0, -1, 0];
  const poll = (now, inOrder = true) => {
    for (let decision = scheduler.pollDecision(now); decision !== undefined; decision = scheduler.pollDecision(now)) {
      assert.equal(decision.kind, 'dispatch');
      assert.ok(decision.endpointName.startsWith('http://'), decision.endpointName);
      assert.ok(queued.delete(decision.requestId));
      assert.ok(!inOrder || decision.requestId > last, 'first come, first served');
      last = decision.requestId;
      running.push(decision.requestId);
    }
  };
  const end = (now) => {
    const [id] = running.splice(rng(running.length), 1);
    scheduler.complete(id, {}, now);
    ended += 1;
  };
  for (let now = 0; now < 2_000; now += 1) {
    if (now % 50 === 0) {
      const kept = [...new Set([rng(4), rng(4), rng(4)])];
      scheduler.apply(file(kept, 300 + rng(600)), 'main', now);
      assert.throws(() => scheduler.apply(file([9], 1, 4), 'main', now), (error) => {
        return error instanceof ConfigError && /seed/.test(error.message);
      });
      assert.equal(scheduler.endpointNamed('http://9'), null);
    }
    const id = scheduler.submit(new Uint32Array(40).fill(now), { model: 'm', ttlMs: 3_600_000 }, now);
    assert.equal(typeof id, 'number');
    queued.add(id);
    submitted += 1;
    poll(now);
    if (running.length > 600 || rng(3) === 0) {
      for (let left = Math.min(2, running.length); left > 0; left -= 1) {
        end(now);
      }
    }
    removed += scheduler.removeIdle(now).length;
    if (now % 10 === 0) {
      const stats = scheduler.stats();
      assert.deepEqual([stats.queued, stats.inFlight], [queued.size, running.length]);
      const booked = stats.endpoints.reduce((sum, { prefilling, running: decoding }) => sum + prefilling + decoding, 0);
      assert.equal(booked, running.length, 'each is booked once');
    }
  }
  assert.ok(removed > 0);
  while (queued.size + running.length > 0) {
    poll(3_000, false);
    end(3_000);
  }
  assert.deepEqual([ended, scheduler.stats().completed], [submitted, submitted]);
});

test('what comes back stays', () => {
  const scheduler = new Scheduler();
  const { seed } = scheduler.config;
  const [a, b] = scheduler.apply(file([0, 1], 10), 'main');
  const discovered = scheduler.addEndpoint('http://d');
  const dispatch = scheduler.pick('x', { exclude: [b, discovered] });
  assert.equal(dispatch.endpointName, 'http://0');
  assert.deepEqual(scheduler.apply(file([1], 10), 'main'), [b]);
  assert.deepEqual([scheduler.acceptingEndpoints, scheduler.removeIdle()], [2, []]);
  assert.deepEqual(scheduler.apply(file([0, 1], 10), 'main'), [a, b]);
  assert.deepEqual([scheduler.removeIdle(), scheduler.acceptingEndpoints], [[], 3]);
  scheduler.apply(file([1], 20), 'main');
  scheduler.complete(dispatch.requestId);
  assert.deepEqual(scheduler.removeIdle(), [a]);
  assert.notEqual(scheduler.endpoint(discovered), null);
  assert.deepEqual([scheduler.config.maxInFlight, scheduler.config.seed], [20, seed]);
  assert.throws(() => scheduler.apply(file([1], 20), 'other'), /must be 'main', got "other"/);
});

test('a new endpoint wakes what is queued', async () => {
  const full = "{name: 'http://1', max_in_flight: 1}";
  const scheduler = new Scheduler();
  scheduler.apply(new Configuration(`endpoints: [${full}]`), 'default');
  const running = await scheduler.acquire('x');
  const waiting = scheduler.acquire('x');
  assert.equal(scheduler.stats().queued, 1);
  scheduler.apply(new Configuration(`endpoints: [${full}, 'http://0']`), 'default');
  const lease = await waiting;
  assert.deepEqual([running.endpointName, lease.endpointName], ['http://1', 'http://0']);
  lease.complete();
  running.complete();
});
