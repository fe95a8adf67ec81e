// Machines: the same cases as in Rust, and the typed faces of Node.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { Clusters, NoClusterError } from 'slotwise/clusters';
import { Configuration } from 'slotwise/configuration';
import { Gates, RefusedError, SafetyCheck } from 'slotwise/gates';
import { HealthChecks } from 'slotwise/health_checks';
import { NoRouteError, Routing } from 'slotwise/routing';

const { Machine } = createRequire(import.meta.url)('../dist/machine.js');
const folder = new URL('../../../gateway/tests/machines/', import.meta.url);

for (const file of readdirSync(folder).sort()) {
  test(`every call has the expected answer: ${file}`, () => {
    for (const { doc, kind, arguments: given, calls, error } of JSON.parse(readFileSync(new URL(file, folder), 'utf8'))) {
      if (error !== undefined) {
        assert.throws(() => new Machine(kind, given), (thrown) => thrown.message.includes(error), doc);
        continue;
      }
      const machine = new Machine(kind, given);
      for (const call of calls) {
        const answer = () => machine.call(call.call, call.arguments);
        if (call.error === undefined) {
          assert.deepEqual(answer(), call.expect, doc);
        } else {
          assert.throws(answer, (thrown) => thrown.message.includes(call.error), doc);
        }
      }
    }
  });
}

test('a route is typed', () => {
  const routing = new Routing({ pools: [{ name: 'a' }], rules: [{ name: 'r', backends: [{ pool: 'a' }], timeout: 2 }] });
  const target = { pool: 'a', model: 'm', base: 'm', adapter: null };
  const route = { rule: 'r', target, fallbacks: [], mirrors: [], priority: null, timeoutMs: 2_000 };
  assert.deepEqual(routing.route('m', { path: '/v1', headers: { x: '1' } }), route);
  assert.deepEqual(routing.models(), []);
  assert.throws(() => new Routing({}).route('m'), (error) => {
    return error instanceof NoRouteError && error.code === 'model_not_found' && error.httpStatus === 404;
  });
});

test('gates are typed', () => {
  const sha256 = createHash('sha256').update('sk-1').digest('hex');
  const gates = new Gates({ keys: [{ name: 'alice', sha256, tenant: 'team', limits: { tokensPerMinute: 100 } }] });
  const headers = { Authorization: 'Bearer sk-1', 'x-other': ['a', 'b'] };
  const caller = { name: 'alice', anonymous: false, tenant: 'team', priority: null, weight: null };
  assert.deepEqual(gates.identify(new Headers({ 'x-api-key': 'sk-1' })), caller);
  const demand = { model: 'm', promptTokens: 50, outputTokens: 30 };
  const grant = gates.admit(headers, demand, { now: 0 });
  assert.deepEqual(grant.caller, caller);
  assert.deepEqual(grant.headers[1], ['x-ratelimit-remaining-tokens', '20']);
  const standing = { scope: 'key', measure: 'tokens', windowMs: 60_000, limit: 100, used: 80, remaining: 20, resetMs: 60_500 };
  assert.deepEqual(gates.standings(headers, { now: 500 }), [standing]);
  assert.throws(() => gates.admit(headers, demand, { now: 500 }), (error) => {
    assert.ok(error instanceof RefusedError);
    assert.deepEqual([error.code, error.httpStatus, error.retryAfterMs, error.exceeded], ['rate_limit_exceeded', 429, 60_500, standing]);
    assert.equal(JSON.parse(error.body('anthropic')).error.type, 'rate_limit_error');
    return true;
  });
  assert.deepEqual([grant.settle({ promptTokens: 10, completionTokens: 0 }, 600), grant.cancel(700)], [true, false]);
  assert.ok(gates.admit(headers, demand, { now: 700 }).cancel(800));
  gates.setConfig({ anonymous: {} });
  assert.throws(() => gates.identify(headers), RefusedError);
  assert.equal(gates.identify({}, { client: '10.0.0.1' }).name, '10.0.0.1');
});

test('a check of a stream is typed', () => {
  const check = new SafetyCheck('stream', { questionBytes: 4, lookBack: 8 });
  const event = Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"grüße"}}]}\n\n');
  check.feed(event.subarray(0, 50), 0);
  assert.deepEqual([check.wantsInput, check.pollQuestion(), check.nextTimeout], [true, null, null]);
  check.feed(event.subarray(50), 0);
  const question = check.pollQuestion();
  assert.deepEqual(question, { id: 0, texts: ['grüße'], deadline: 1_000 });
  assert.equal(check.nextTimeout, 1_000);
  assert.ok(check.handleVerdict(question.id, { verdict: 'allow' }, 1));
  assert.ok(!check.handleVerdict(question.id, { verdict: 'allow' }, 1));
  assert.equal(check.pollOutput(), null);
  check.finish(2);
  assert.deepEqual([Buffer.from(check.pollOutput()), check.ended, check.refused], [event, true, null]);
});

test('health checks are typed', () => {
  const checks = new HealthChecks({ interval: 5, timeout: 1 }, { seed: 7 });
  assert.equal(checks.nextTimeout, null);
  checks.watch(4, 0);
  assert.equal(checks.poll(0), null);
  const probe = checks.poll(5_000);
  assert.deepEqual(probe, { kind: 'probe', endpointId: 4, number: 1, deadline: 6_000 });
  checks.handleResult(probe, false);
  assert.equal(checks.poll(10_000).number, 2);
  assert.deepEqual(checks.poll(11_000), { kind: 'report', endpointId: 4, passed: false });
  checks.handleFailure(4);
  checks.unwatch(4);
  assert.equal(checks.nextTimeout, null);
  assert.throws(() => new HealthChecks({ interval: 1, timeout: 2 }), /timeout/);
});

test('a configuration describes clusters', () => {
  const described = new Configuration(`
clusters: {members: [{name: eu-1, region: eu}, {name: us-1, region: us, network_time: 0.04}]}
pools:
- {name: llama, timeout: 120, exports: [{cluster: eu-1}, {cluster: us-1}],
   balancing: {max_in_flight_per_endpoint: 1}}
- {name: local}
`);
  const { timeout, exports, balancing } = described.pool('llama');
  assert.deepEqual([timeout, exports.length, balancing.metrics], [120, 2, []]);
  assert.deepEqual(described.clusters('local').pools, []);
  const clusters = new Clusters(described.clusters());
  clusters.report('llama', 'eu-1', { now: 0 });
  clusters.report('llama', 'us-1', { now: 0 });
  assert.equal(clusters.choose('llama', { now: 0 }).region, 'eu');
  assert.equal(clusters.choose('llama', { now: 0 }).region, 'us');
});

test('a choice of a cluster is typed', () => {
  const exports = [{ cluster: 'a', region: 'eu', networkTime: 0.5 }];
  const clusters = new Clusters({ pools: [{ name: 'p', timeout: 1, exports }] });
  clusters.report('p', 'a', { now: 0, readyEndpoints: 2, inFlight: 1, waitMs: 250 });
  const choice = clusters.choose('p', { now: 1_000, promptTokens: 5_000, cachedTokens: { a: 2_500 } });
  assert.deepEqual(choice, {
    cluster: 'a', region: 'eu', reason: 'full', costMs: 750, cachedTokens: 2_500, dryRun: [],
  });
  const { candidates } = clusters.explain('p', { now: 1_000 });
  assert.deepEqual(candidates, [{
    cluster: 'a', region: 'eu', standing: 'full', load: 1, inFlight: 1, share: 1,
    networkMs: 500, waitMs: 125, cachedTokens: 0, costMs: 625,
  }]);
  clusters.complete('p', 'a', { now: 2_000, durationMs: 1_000 });
  for (let request = 0; request < 99; request++) {
    clusters.begin('p', 'a', { now: 2_000 });
    clusters.complete('p', 'a', { now: 2_000, durationMs: 1_000 });
  }
  clusters.setConfig({ pools: [{ name: 'p', timeout: 1, exports }] }, { now: 2_000 });
  const hint = clusters.timeoutHint('p');
  assert.equal(hint.timeoutMs, 1_000);
  assert.equal(hint.isTooShort, true);
  assert.equal(clusters.nextTimeout(), 10_000);
  clusters.begin('p', 'a', { now: 2_000 });
  clusters.withdraw('p', 'a', { now: 3_000 });
  assert.throws(() => clusters.choose('p', { now: 3_000 }), (error) => {
    return error instanceof NoClusterError && error.code === 'no_cluster' && error.httpStatus === 503;
  });
  clusters.cancel('p', 'a', { now: 3_000 });
  assert.deepEqual(clusters.drained(), [{ pool: 'p', cluster: 'a' }]);
  clusters.export('p', { cluster: 'b' }, { now: 4_000 });
  assert.throws(() => clusters.fail('p', 'b', { now: 4_000 }), /no request in flight/);
});
