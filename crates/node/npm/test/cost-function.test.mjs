// A cost of the host's own takes the place of the built-in one, and its faults do no harm.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { pool, left } from './support/pool.mjs';

let warnings;
beforeEach(() => {
  warnings = [];
  mock.method(process, 'emitWarning', (message, options) => warnings.push({ message, ...options }));
});
afterEach(() => mock.restoreAll());

const COLUMNS = ['queue', 'kvAdmissionWait', 'prefill', 'cacheEviction', 'kv', 'decode', 'adapter', 'failureBackoff'];

test('a cost function sees the candidates that could have the request, as they are explained', () => {
  let seen;
  const { scheduler, ids } = pool(['a', 'b', 'c', { name: 'd', role: 'prefill' }], {}, {
    cost: (candidates) => {
      seen = candidates;
      return candidates.cost;
    },
  });
  scheduler.pick(new Uint32Array(500));
  scheduler.drainEndpoint(ids[1]);
  const { candidates } = scheduler.explain(new Uint32Array(600));
  const dispatch = scheduler.pick(new Uint32Array(600));
  const open = candidates.filter(({ excluded }) => excluded === null);
  assert.equal(open.length, 2);
  assert.ok(seen.endpoints instanceof Float64Array && seen.cachedTokens instanceof Uint32Array);
  assert.deepEqual([...seen.endpoints], open.map(({ endpointId }) => endpointId));
  assert.deepEqual(seen.names, open.map(({ name }) => name));
  assert.deepEqual([...seen.cachedTokens], open.map(({ cachedTokens }) => cachedTokens));
  assert.deepEqual([...seen.firstTokenIn], open.map(({ firstTokenIn }) => firstTokenIn));
  for (const column of COLUMNS) {
    assert.deepEqual([...seen[column]], open.map(({ terms }) => terms[column]), column);
  }
  assert.deepEqual([...seen.cost], open.map(({ cost }) => cost));
  assert.equal(seen.promptTokens, 600);
  assert.deepEqual([dispatch.endpointId, dispatch.cost], [open[0].endpointId, open[0].cost]);
  assert.deepEqual(warnings, []);
});

test('a cost function decides', () => {
  const prices = { a: 3, b: 1, c: Infinity };
  const { scheduler } = pool(['a', 'b', 'c'], {}, { cost: ({ names }) => names.map((name) => prices[name]) });
  const name = (id) => scheduler.endpoint(id).name;
  for (const prompt of ['hello', new Uint32Array(100), [1, 2, 3], { blocks: [1n], blockSize: 16, tokens: 20 }]) {
    const dispatch = scheduler.pick(prompt);
    assert.deepEqual([dispatch.endpointName, ...dispatch.alternatives.map(name)], ['b', 'a', 'c']);
    assert.equal(dispatch.cost, 1);
  }
});

test('without candidates, a cost function is not called', () => {
  const { scheduler } = pool([], {}, { cost: () => assert.fail('asked') });
  assert.equal(scheduler.pick('x').reason, 'no_endpoints');
  assert.deepEqual(warnings, []);
});

test('a cost function that fails is reported, and the built-in cost decides', () => {
  const faults = [
    [() => { throw new Error('no idea'); }, /no idea/],
    [() => { throw 'a string'; }, /"a string"/],
    [() => [1], /returned 1 costs for 2 candidates/],
    [() => [1, 2, 3], /returned 3 costs for 2 candidates/],
    [() => [1, NaN], /cost of [ab] is not a number: NaN/],
    [() => ['1', 2], /cost of [ab] is not a number: "1"/],
    [() => undefined, /must return a Float64Array or an array of numbers, got undefined/],
    [async () => [1, 2], /got an object/],
    [() => new Float32Array(2), /got an object/],
  ];
  for (const [scorer, message] of faults) {
    warnings = [];
    const { scheduler } = pool(['a', 'b'], {}, { cost: scorer });
    const { scheduler: plain } = pool(['a', 'b']);
    for (let times = 0; times < 3; times += 1) {
      assert.deepEqual(scheduler.pick('hello'), plain.pick('hello'));
    }
    assert.equal(warnings.length, 1, 'once, not at every pick');
    assert.match(warnings[0].message, message);
    assert.deepEqual([warnings[0].type, warnings[0].code], ['SlotwiseWarning', 'SLOTWISE_SCORER']);
  }
});

test('a cost function may use the scheduler that calls it', () => {
  let depth = 0;
  const picked = [];
  const { scheduler, ids } = pool(['a', 'b'], {}, {
    cost: ({ cost }) => {
      if (depth < 3) {
        depth += 1;
        picked.push(scheduler.pick('another prompt, which must not take the place of the first'));
        scheduler.handleLoad(ids[0], { running: depth });
        scheduler.addEndpoint(`new ${scheduler.stats().endpoints.length}`);
        scheduler.stats();
      }
      return cost;
    },
  });
  const prompt = 'the prompt that is asked about '.repeat(20);
  const dispatch = scheduler.pick(prompt);
  assert.equal(dispatch.promptTokens, Math.ceil(prompt.length / 4));
  // What was sent is what was asked about, to its last block.
  assert.ok(scheduler.explain(prompt).bestCachedTokens >= dispatch.promptTokens - 16);
  assert.deepEqual(picked.map(({ kind }) => kind), ['dispatch', 'dispatch', 'dispatch']);
  for (const { requestId: request } of [dispatch, ...picked]) {
    assert.ok(scheduler.cancel(request));
  }
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
  assert.deepEqual(warnings, []);
});

test('a cost function may close the scheduler that calls it', () => {
  const { scheduler } = pool(['a'], {}, {
    cost: ({ cost }) => {
      scheduler.close();
      return cost;
    },
  });
  assert.throws(() => scheduler.pick('x'), { code: 'closed' });
  assert.deepEqual(warnings, []);
});

test('what a cost function does to its columns changes nothing but its answer', () => {
  const { scheduler, ids } = pool(['a', 'b'], {}, {
    cost: (candidates) => {
      candidates.endpoints.fill(77);
      structuredClone(candidates.endpoints.buffer, { transfer: [candidates.endpoints.buffer] });
      return candidates.names.map((name) => (name === 'b' ? 0 : 1));
    },
  });
  assert.equal(scheduler.pick('x').endpointId, ids[1]);
  assert.deepEqual(warnings, []);
});

test('requests that had to wait are not scored again', async () => {
  let asked = 0;
  const { scheduler } = pool([{ name: 'a', maxInFlight: 1 }], {}, {
    cost: ({ cost }) => {
      asked += 1;
      return cost;
    },
  });
  const lease = await scheduler.acquire('x');
  const waits = scheduler.acquire('x', { timeoutMs: Infinity });
  await Promise.resolve();
  lease.complete();
  (await waits).complete();
  assert.equal(asked, 1);
});
