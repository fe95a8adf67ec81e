// The typed face of the ingress.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Configuration } from 'slotwise/configuration';
import { RefusedError } from 'slotwise/gates';
import { Ingress } from 'slotwise/ingress';

const sha256 = createHash('sha256').update('sk-1').digest('hex');
const FILE = `
pools:
- {name: llama, models: [llama-3], fallback: spare}
- {name: spare, models: [llama-1]}
rules:
- {name: all, backends: [{pool: llama}], mirrors: [{pool: llama}], timeout: 30}
rewrites:
- {name: names, pool: llama, rules: [{models: [chat], targets: [{model: llama-3}]}]}
- {name: less, pool: spare, rules: [{targets: [{model: llama-1}]}]}
objectives:
- {name: batch, priority: -5}
gates:
  keys:
  - {name: alice, tenant: team, priority: 5, weight: 2, models: [chat], sha256: ${sha256},
     limits: {requests_per_minute: 2}}
`;
const KEY = { authorization: 'Bearer sk-1' };
const ALICE = { name: 'alice', anonymous: false, tenant: 'team', priority: 5, weight: 2 };

const refusal = (act) => {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof RefusedError, error);
    return error;
  }
  return assert.fail('it was admitted');
};

test('an admitted request is typed', () => {
  const ingress = new Ingress(new Configuration(FILE), { allow: { session: true, objective: true, flow: false } });
  assert.deepEqual(ingress.identify(new Headers(KEY)), ALICE);
  const headers = { ...KEY, 'x-session-id': ['s1'], 'x-gateway-inference-objective': 'batch' };
  const admitted = ingress.admit({ model: 'chat', path: '/v1/completions', headers, now: 0 });
  const target = { pool: 'llama', model: 'llama-3', base: 'llama-3', adapter: null };
  assert.deepEqual(admitted, {
    grant: 0,
    caller: ALICE,
    rule: 'all',
    targets: [target, { pool: 'spare', model: 'llama-1', base: 'llama-1', adapter: null }],
    mirrors: [target],
    options: { flow: 'team', priority: -5, weight: 2 },
    session: 's1',
    timeoutMs: 30_000,
    headers: [
      ['x-ratelimit-limit-requests', '2'],
      ['x-ratelimit-remaining-requests', '1'],
      ['x-ratelimit-reset-requests', '1m1s'],
    ],
    answersAs: 'chat',
  });
  assert.deepEqual([ingress.cancel(admitted, 0), ingress.settle(admitted, {}, 0)], [true, false]);
  assert.deepEqual(ingress.models(ALICE), ['chat']);
});

test('refusals have what the client gets', () => {
  const ingress = new Ingress(new Configuration(FILE));
  for (const [model, headers, status, code] of [
    ['chat', {}, 401, 'missing_api_key'],
    ['chat', { 'x-api-key': 'sk-2' }, 401, 'invalid_api_key'],
    ['llama-3', KEY, 403, 'model_not_allowed'],
    ['gpt', KEY, 404, 'model_not_found'],
  ]) {
    const refused = refusal(() => ingress.admit({ model, headers, now: 0 }));
    assert.deepEqual([refused.httpStatus, refused.code, refused.retryAfterMs], [status, code, null]);
    assert.equal(JSON.parse(refused.body()).error.code, code);
  }
  ingress.admit({ model: 'chat', headers: KEY, now: 1_000 });
  ingress.admit({ model: 'chat', headers: KEY, now: 1_000 });
  const refused = refusal(() => ingress.admit({ model: 'chat', headers: KEY, now: 31_000 }));
  assert.deepEqual([refused.httpStatus, refused.retryAfterMs], [429, 31_000]);
  assert.deepEqual(refused.headers.find(([name]) => name === 'retry-after'), ['retry-after', '31']);
});

test('a reload keeps what is booked', () => {
  const ingress = new Ingress(new Configuration(FILE));
  const first = ingress.admit({ model: 'chat', headers: KEY, now: 0 });
  ingress.setConfig(new Configuration(FILE.replace('requests_per_minute: 2', 'concurrent_requests: 1')));
  assert.equal(refusal(() => ingress.admit({ model: 'chat', headers: KEY, now: 0 })).code, 'concurrency_limit_exceeded');
  assert.throws(() => ingress.setConfig({ routing: { pools: [{ name: 'a' }, { name: 'a' }] } }), /must be unique/);
  assert.ok(ingress.settle(first, { promptTokens: 1, completionTokens: 1 }, 1_000));
  assert.equal(ingress.admit({ model: 'chat', headers: KEY, now: 1_000 }).rule, 'all');
  assert.throws(() => new Ingress({ routing: {} }, { allow: ['weight'] }), /must be one of/);
});
