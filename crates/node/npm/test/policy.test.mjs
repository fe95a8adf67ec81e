// The reference's policies: the same cases as in Rust, and what hosts of Node may pass.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename } from 'node:path';
import { test } from 'node:test';
import * as policy from 'slotwise/policy';

const folder = new URL('../../../core/tests/vectors/plugins/', import.meta.url);
const files = readdirSync(folder).filter((file) => file.endsWith('.json'));
const keys = read(new URL('../../../wire/tests/block_keys/keys.json', import.meta.url)).cases;

/** JSON with the integers that a number does not hold as text. */
function read(file) {
  const text = readFileSync(file, 'utf8').replace(/"(seed|tokens)": (\d{16,})/g, '"$1": "$2"');
  return JSON.parse(text);
}

function ofPlugin(kind, { plugin, parameters, endpoints = [], request, scores = [], seed = 0, ...rest }) {
  const { profile, profiles, deciders } = rest;
  const seeded = { seed: BigInt(seed) };
  switch (kind) {
    case 'scorer':
      return policy.score(plugin, parameters, endpoints, request);
    case 'filter':
      return policy.filter(plugin, parameters, endpoints, request, seeded);
    case 'picker':
      return policy.pick(plugin, parameters, scores, seeded);
    case 'handler':
      return policy.schedule(plugin, parameters, profiles, endpoints, request, { deciders, ...seeded });
    case 'explain':
      return policy.explain(profile, endpoints, request, seeded);
    default:
      throw new Error(`no kind ${kind}`);
  }
}

const tables = {
  saturation: (parameters, { endpoints }) => policy.saturation(parameters, endpoints),
  ceilings: (parameters, { priorities, saturation, round }) =>
    policy.ceilings(parameters, priorities, saturation, round),
  outcome_status: (_, { outcome, causes, pool_empty: poolEmpty }) =>
    policy.outcomeStatus(outcome, causes, poolEmpty),
  estimate_output: (_, given) =>
    policy.estimateOutput(given.input_tokens, given.ratio, given.client_max_tokens, given.operator_cap),
  shed_probability: (parameters, { priority, saturation }) =>
    policy.shedProbability(priority, saturation, parameters),
  latency_slo_admitter: (parameters, { request, endpoints }) =>
    policy.admit('latency-slo-admitter', parameters, endpoints, request),
};

/** Whether two results are equal, numbers within 1e-9. */
function close(result, expected) {
  if (typeof result === 'number' && typeof expected === 'number') {
    return Math.abs(result - expected) <= 1e-9 * Math.max(1, Math.abs(expected));
  }
  if (Array.isArray(result) && Array.isArray(expected)) {
    return result.length === expected.length && result.every((each, at) => close(each, expected[at]));
  }
  return result === expected;
}

/** Data with its fields in camel case. */
function inCamelCase(data) {
  if (Array.isArray(data)) {
    return data.map(inCamelCase);
  }
  if (typeof data !== 'object' || data === null) {
    return data;
  }
  const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [camel(key), inCamelCase(value)]));
}

for (const file of files) {
  const name = basename(file, '.json');
  test(`every case of ${name} has the expected result`, () => {
    const { kind, cases } = read(new URL(file, folder));
    assert.ok(cases.length > 10);
    for (const each of cases) {
      const run = () =>
        kind === undefined ? tables[name](each.parameters, each.inputs) : ofPlugin(kind, each);
      if (typeof each.error === 'string') {
        assert.throws(run, (error) => error.message.includes(each.error), each.name);
        continue;
      }
      const result = run();
      if (kind === 'handler') {
        assert.deepEqual(result, each.expected, each.name);
        continue;
      }
      if (kind === 'explain') {
        assert.deepEqual(result, inCamelCase(each.expected), each.name);
        continue;
      }
      assert.ok(close(result, each.expected), `${each.name}: ${result}, expected ${each.expected}`);
    }
  });
}

const numbers = (texts) => texts.map((text) => BigInt(`0x${text}`));
const texts = (hashes) => hashes.map((hash) => hash.toString(16).padStart(16, '0'));

function ofKeys(each) {
  const options = { blockTokens: each.block_tokens, model: each.model };
  switch (each.function) {
    case 'pack_tokens':
      return policy.packTokens(each.prompt);
    case 'block_tokens':
      return policy.approximateBlockTokens(each.engine);
    case 'approximate': {
      const more = { cacheSalt: each.cache_salt, maxBlocks: each.max_blocks };
      return texts(policy.approximateBlockHashes(each.tokens, { ...options, ...more }));
    }
    case 'request_keys': {
      const { algorithm, seed, extra_keys: extraKeys } = each;
      const more = { algorithm, seed, extraKeys, parent: BigInt(`0x${each.parent}`) };
      return texts(policy.requestKeys(each.tokens, { ...options, ...more }));
    }
    case 'map_engine_keys': {
      const mapping = policy.mapEngineKeys(numbers(each.engine), numbers(each.request));
      return Object.fromEntries([...mapping].map(([key, to]) => [texts([key])[0], texts(to)]));
    }
    case 'topic':
      return policy.parseTopic(each.topic);
    default: // vLLM's names: see wire_vectors.test.mjs
      return each.expected;
  }
}

test('block keys are those of the reference', () => {
  assert.ok(keys.length > 80);
  for (const each of keys) {
    assert.deepEqual(ofKeys(each), each.expected, each.name);
  }
});

test('the examples of the manual hold', () => {
  const endpoints = [{ waiting: 3, kvUsage: 0.2 }, { waiting: 0, kvUsage: 0.6 }];
  const queue = policy.score('queue-scorer', null, endpoints);
  const cache = policy.score('kv-cache-utilization-scorer', null, endpoints);
  assert.deepEqual(queue, [0, 1]);
  const totals = policy.weightedSum([2, 2], [queue, cache]);
  assert.deepEqual(policy.pick('max-score-picker', null, totals, { seed: 7 }), [1]);
  const profile = { scorers: [{ scorer: { type: 'queue-scorer' }, weight: 2 }] };
  assert.deepEqual(policy.select(profile, endpoints), [1]);
  const decider = { type: 'prefix-based-pd-decider', parameters: { nonCachedTokens: 512 } };
  assert.equal(policy.pdDecide(decider, { promptTokens: 2_000 }), true);
  assert.deepEqual(policy.alignExtraKeys([['image'], []], 1), [['image']]);
  assert.ok(policy.names().scorers.includes('lora-affinity-scorer'));
});

test('numbers beyond JSON are read and returned', () => {
  assert.deepEqual(policy.weightedSum([1], [[NaN, Infinity, -Infinity]]), [0, 1, 0]);
  assert.equal(policy.saturation('utilization-detector', [{ kvUsage: Infinity }]), Infinity);
  assert.equal(policy.saturation('utilization-detector', [{ metricsAgeMs: null }]), 1);
  assert.equal(policy.saturation('utilization-detector', [{ metricsAgeMs: 10 }]), 0);
  assert.equal(policy.pick('random-picker', null, [1, 1], { seed: 2n ** 64n - 1n }).length, 1);
});

test('what cannot be used is named', () => {
  for (const [call, part] of [
    [() => policy.score('quue', null, []), 'queue-scorer'],
    [() => policy.score('queue-scorer', { x: 1 }, []), 'queue-scorer: unknown field `x`'],
    [() => policy.score('queue-scorer', null, [{ wait: 1 }]), '`wait`'],
    [() => policy.score('queue-scorer', null, [{ waiting: 'a' }]), 'invalid type: string'],
    [() => policy.score('queue-scorer', null, [{ waiting: -1 }]), '-1'],
    [() => policy.score('queue-scorer', null, 'a'), 'endpoints must be an array'],
    [() => policy.score('queue-scorer', { f() {} }, []), 'a function cannot be used here'],
    [() => policy.saturation('none', []), 'utilization-detector'],
    [() => policy.pdDecide('none'), 'always-disagg-pd-decider'],
    [() => policy.requestKeys([1], { blockTokens: 1, algorithm: 'x' }), "'xxh64'"],
    [() => policy.requestKeys([1], { blockTokens: 0 }), 'nonzero'],
    [() => policy.alignExtraKeys([], 1e9), 'blocks must be at most'],
  ]) {
    assert.throws(call, (error) => {
      assert.ok(error instanceof TypeError, `${error}`);
      return error.message.includes(part) || assert.fail(error.message);
    });
  }
});

test('import and require give the same functions', () => {
  const required = createRequire(import.meta.url)('slotwise/policy');
  assert.deepEqual(Object.keys(policy).sort(), Object.keys(required).sort());
});
