// Every call with invalid arguments returns or throws an Error: no crash, no wrap-around, no
// misread value.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { ConfigError, Lease, Scheduler, WireError } from 'slotwise';
import * as wire from 'slotwise/wire';
import { pool } from './support/pool.mjs';

const RUNS = Number(process.env.FAST_CHECK_RUNS ?? 300);

function detached(type) {
  const view = new type(8);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  return view;
}

const ODD_NUMBERS = [
  NaN, Infinity, -Infinity, -0, -1, 0.5, 1e-320, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e300, Number.MAX_VALUE,
];

const hostile = () => [
  ...ODD_NUMBERS,
  0n, -1n, 2n ** 64n - 1n, 2n ** 64n, 2n ** 200n,
  '', 'a', '\0', '\ud800', 'x'.repeat(100_000),
  null, undefined, true, Symbol('s'), () => {}, [], {}, [[]], [NaN], [-1], [2 ** 32], [1n], new Date(), /x/, new Map(),
  new Array(2 ** 32 - 1), new Array(70_000).fill('a'),
  Object.create(null),
  new Proxy({}, { get: () => { throw new Error('trapped'); } }),
  new Proxy([], {}),
  { get name() { throw new Error('got'); } },
  { name: 'a', models: 'not a list' },
  { toString: () => '7', valueOf: () => 7 },
  new Uint8Array(0), new Uint8Array(3), new Uint8ClampedArray(3), new Int8Array(3), new Float64Array(3), new DataView(new ArrayBuffer(8)),
  new ArrayBuffer(8), new SharedArrayBuffer(8), new Uint8Array(new SharedArrayBuffer(8)),
  new Uint8Array(new ArrayBuffer(8, { maxByteLength: 16 })),
  Buffer.from('text'), Int32Array.of(-1), BigInt64Array.of(-1n), BigInt64Array.of(2n ** 40n),
  ...[Uint8Array, Uint32Array, Int32Array, Uint16Array, BigInt64Array, BigUint64Array].map(detached),
  { blocks: detached(BigUint64Array), blockSize: 16, tokens: 1 },
  { blocks: [], blockSize: 0, tokens: 1 },
  { blocks: [1n], blockSize: 16, tokens: -1 },
];

const any = fc.oneof(
  fc.constantFrom(...hostile()),
  fc.anything({ withBigInt: true, withTypedArray: true, withSparseArray: true, withMap: true, withDate: true }),
  fc.double(),
  fc.string(),
);

/** A known field with any value: most values of most fields are wrong. */
const record = (fields) => fc.record(Object.fromEntries(fields.map((name) => [name, any])), { requiredKeys: [] });

const CONFIG = Object.keys(new Scheduler().config);
const ENDPOINT = ['name', 'models', 'labels', 'role', 'kvCacheTokens', 'blockSize', 'maxInFlight', 'adapterSlots', 'adapterLoadTimeMs', 'prefill', 'eviction'];
const PICK = ['model', 'adapter', 'cacheSalt', 'priority', 'flow', 'session', 'deadline', 'expectedOutputTokens', 'role', 'labels', 'exclude', 'now'];
const EVENT = ['kind', 'blocks', 'parent', 'tokens', 'blockSize', 'tier', 'model', 'adapter', 'cacheSalt'];

const some = (...fields) => fc.oneof(any, record(fields));
const event = fc.oneof(
  some(...EVENT),
  record(EVENT.slice(1)).map((rest) => ({ ...rest, kind: 'BlockStored' })),
  record(['blocks', 'tier']).map((rest) => ({ ...rest, kind: 'BlockRemoved' })),
);

const request = fc.oneof(
  record(['body', 'path', 'headers', 'priorityOrder']),
  record(['headers', 'priorityOrder', 'path']).map((rest) => ({ ...rest, body: Buffer.from('{"messages":[]}') })),
);

const calls = {
  pick: [fc.oneof(any, request), some(...PICK)],
  explain: [any, some(...PICK)],
  addEndpoint: [some(...ENDPOINT), any],
  updateEndpoint: [any, some(...ENDPOINT), any],
  removeEndpoint: [any, any],
  drainEndpoint: [any, any],
  resumeEndpoint: [any, any],
  handleLoad: [any, some('waiting', 'running', 'kvUsage', 'sampledAt'), any],
  handleLoads: [fc.oneof(any, fc.array(some('endpointId', 'waiting', 'kvUsage'))), any],
  pickMany: [fc.oneof(any, fc.array(fc.oneof(any, some('prompt', 'options')))), any],
  handleAdapters: [any, some('active', 'slots'), any],
  describeAdapter: [any, some('rank', 'loadTimeMs', 'slots', 'slowdown')],
  handleKvEvent: [fc.oneof(fc.constant(0), any), event, any],
  handleFirstToken: [any, any],
  handleTokens: [any, any, any],
  complete: [any, some('promptTokens', 'cachedTokens', 'completionTokens'), any],
  fail: [any, any, any],
  cancel: [any, any],
  redirect: [any, any, any],
  handleMetricsPage: [fc.oneof(fc.constant(0), any), any, some('engine', 'now')],
  handleOrca: [fc.oneof(fc.constant(0), any), any, any],
  handleKvFrames: [fc.oneof(fc.constant(0), any), fc.oneof(any, fc.array(any)), some('replay', 'rank', 'now')],
  handleTrtllmEvents: [fc.oneof(fc.constant(0), any), any, some('blockSize', 'rank', 'now')],
  abandonReplay: [any, some('rank', 'now')],
  pollReplay: [any],
  replayFrom: [any, any],
  metricsText: [some('names', 'pool', 'maxEndpoints')],
  snapshot: [any],
  restore: [any, any],
  endpoint: [any],
  endpointNamed: [any],
  endpointNames: [],
  endpointOf: [any],
};

const functions = {
  readMetrics: [any, some('engine', 'fields', 'adapters', 'rankLabel')],
  readOrca: [any],
  readKvFrames: [fc.oneof(any, fc.array(any))],
  readKvBatch: [any],
  replayRequest: [any],
  blockHashes: [any, some('blockSize', 'algorithm', 'seed', 'tagged', 'adapter', 'adapterPath', 'cacheSalt')],
  apiOfPath: [any],
  readRequest: [any, fc.oneof(some('api', 'path'), fc.constant({ api: 'messages' }))],
  rewriteModel: [any, any],
  outcomeOfStatus: [any],
  readHeaders: [fc.oneof(any, record(['x-request-id', 'x-vllm-priority']), fc.array(any))],
  refusal: [fc.oneof(any, record(['kind', 'reason', 'retryAfterMs']), fc.constant('shed')), some('retryAfterMs', 'message', 'shape')],
  attributes: [
    fc.oneof(any, record(['kind', 'reason', 'retryAfterMs', 'queueTimeMs']), record(['requestId', 'alternatives', 'cost']).map((rest) => ({ kind: 'dispatch', ...rest }))),
    some('model', 'adapter', 'session', 'flow', 'priority'),
  ],
};

/** Whether it answered; anything thrown must be an Error. */
function answers(call) {
  try {
    call();
    return true;
  } catch (error) {
    assert.ok(error instanceof Error, `threw ${String(error)}`);
    return false;
  }
}

for (const [name, args] of Object.entries(calls)) {
  test(`${name} answers anything or throws an Error`, () => {
    const { scheduler } = pool(['one', 'two']);
    fc.assert(
      fc.property(fc.tuple(...args), (given) => {
        answers(() => scheduler[name](...given));
      }),
      { numRuns: RUNS },
    );
    // It is as it should be, not only alive.
    const fresh = pool(['one', 'two']).scheduler;
    assert.equal(fresh.pick('x').kind, 'dispatch');
    assert.ok(scheduler.stats().endpoints.length >= 0);
  });
}

for (const [name, args] of Object.entries(functions)) {
  test(`${name} answers anything or throws an Error`, () => {
    fc.assert(
      fc.property(fc.tuple(...args), (given) => {
        answers(() => wire[name](...given));
      }),
      { numRuns: RUNS },
    );
  });
}

test('readers and filters take anything or throw an Error', () => {
  fc.assert(
    fc.property(any, any, any, any, (status, type, chunk, close) => {
      answers(() => new wire.ResponseReader(status, type));
      const reader = new wire.ResponseReader(200, 'text/event-stream');
      answers(() => reader.feed(chunk));
      answers(() => reader.finish(close));
      answers(() => new wire.ModelFilter(type, chunk).feed(chunk));
      answers(() => new wire.ModelFilter('application/json', 'm').feed(chunk));
    }),
    { numRuns: RUNS },
  );
});

test('bytes are read or refused with their offset', () => {
  const { scheduler } = pool(['one']);
  const json = fc.json().map((text) => Buffer.from(text));
  const parts = fc.array(fc.constantFrom('{', '}', '[', ']', ':', ',', '"', '"model"', '"messages"', '"prompt"', '"a"', '1', '-1e400', 'null', ' ', '\\ud800', 'vllm:num_requests_waiting', '\n', '{engine="0"} ', 'NaN'));
  const input = fc.oneof(fc.uint8Array(), json, parts.map((all) => Buffer.from(all.join(''))));
  const read = [
    (bytes) => wire.readMetrics(bytes),
    (bytes) => wire.readOrca(bytes),
    (bytes) => wire.readKvBatch(bytes),
    (bytes) => wire.readKvFrames([bytes, bytes]),
    (bytes) => wire.readRequest(bytes, { path: '/v1/chat/completions' }),
    (bytes) => wire.readRequest(bytes, { api: 'generate' }),
    (bytes) => wire.rewriteModel(bytes, 'm'),
    (bytes) => scheduler.handleMetricsPage(0, bytes),
    (bytes) => scheduler.handleOrca(0, bytes),
    (bytes) => scheduler.handleTrtllmEvents(0, bytes),
    (bytes) => scheduler.handleKvFrames(0, [Buffer.alloc(8), bytes]),
    (bytes) => scheduler.cancel(scheduler.pick({ body: bytes }).requestId),
  ];
  fc.assert(
    fc.property(input, (bytes) => {
      for (const call of read) {
        try {
          call(bytes);
        } catch (error) {
          assert.ok(error instanceof WireError, String(error));
          assert.ok(error.offset <= 2 * bytes.length + 8, `byte ${error.offset} of ${bytes.length}`);
        }
      }
    }),
    { numRuns: RUNS },
  );
  assert.equal(scheduler.stats().inFlight, 0);
});

test('a constructor takes a configuration or throws an Error', () => {
  fc.assert(
    fc.property(some(...CONFIG), some('cost', 'now', 'maxQueued'), (config, options) => {
      answers(() => new Scheduler(config, options));
    }),
    { numRuns: RUNS },
  );
});

test('acquire gives a lease or rejects with an Error', async () => {
  const { scheduler } = pool(['one', 'two']);
  await fc.assert(
    fc.asyncProperty(any, some(...PICK, 'signal', 'timeoutMs'), async (prompt, options) => {
      try {
        const lease = await scheduler.acquire(prompt, options);
        assert.ok(lease instanceof Lease);
        lease.complete();
      } catch (error) {
        assert.ok(error instanceof Error, `rejected with ${String(error)}`);
      }
    }),
    { numRuns: RUNS },
  );
  assert.deepEqual([scheduler.stats().inFlight, scheduler.queued], [0, 0]);
});

test('numbers that do not fit are refused by name and never wrap', () => {
  const { scheduler, ids } = pool(['a']);
  const { requestId: request } = scheduler.pick('x');
  const wrong = [-1, 0.5, NaN, Infinity, 2 ** 32, 2 ** 53, 1e300];
  const places = {
    kvCacheTokens: (value) => scheduler.addEndpoint({ name: 'b', kvCacheTokens: value }),
    blockSize: (value) => scheduler.addEndpoint({ name: 'b', blockSize: value }),
    maxInFlight: (value) => scheduler.addEndpoint({ name: 'b', maxInFlight: value }),
    adapterSlots: (value) => scheduler.addEndpoint({ name: 'b', adapterSlots: value }),
    'prefill.chunk': (value) => scheduler.addEndpoint({ name: 'b', prefill: { chunk: value } }),
    waiting: (value) => scheduler.handleLoad(ids[0], { waiting: value }),
    running: (value) => scheduler.handleLoad(ids[0], { running: value }),
    slots: (value) => scheduler.handleAdapters(ids[0], { active: [], slots: value }),
    expectedOutputTokens: (value) => scheduler.pick('x', { expectedOutputTokens: value }),
    tokens: (value) => scheduler.handleTokens(request, value),
    promptTokens: (value) => scheduler.complete(request, { promptTokens: value }),
    cachedTokens: (value) => scheduler.complete(request, { cachedTokens: value }),
    completionTokens: (value) => scheduler.complete(request, { completionTokens: value }),
    'prompt[0]': (value) => scheduler.pick([value]),
  };
  for (const [name, call] of Object.entries(places)) {
    for (const value of wrong) {
      assert.throws(() => call(value), (error) => {
        assert.ok(error instanceof RangeError, `${name} = ${value}: ${error}`);
        assert.equal(error.code, 'ERR_OUT_OF_RANGE');
        return error.message.startsWith(`${name} must be `);
      });
    }
  }
  const times = {
    now: (value) => scheduler.pick('x', { now: value }),
    deadline: (value) => scheduler.pick('x', { deadline: value }),
    sampledAt: (value) => scheduler.handleLoad(ids[0], { sampledAt: value }),
    adapterLoadTimeMs: (value) => scheduler.addEndpoint({ name: 'b', adapterLoadTimeMs: value }),
  };
  for (const [name, call] of Object.entries(times)) {
    for (const value of [-1, NaN, Infinity, 1e300]) {
      assert.throws(() => call(value), (error) => error instanceof RangeError && error.message.startsWith(`${name} must be `));
    }
  }
  for (const value of [0.5, NaN, 2 ** 31, -(2 ** 31) - 1]) {
    assert.throws(() => scheduler.pick('x', { priority: value }), /^RangeError: priority must be an integer/);
  }
  for (const value of [-1n, 2n ** 64n]) {
    const stored = { kind: 'BlockStored', blocks: [], blockSize: 16 };
    assert.throws(() => scheduler.handleKvEvent(ids[0], { ...stored, blocks: [value] }), /^RangeError: event.blocks\[0\] must/);
    assert.throws(() => scheduler.handleKvEvent(ids[0], { ...stored, parent: value }), /^RangeError: parent must/);
    assert.throws(() => scheduler.pick({ blocks: [value], blockSize: 16, tokens: 16 }), /^RangeError: prompt.blocks\[0\] must/);
  }
  for (const value of [-1, 0.5, 2 ** 53]) {
    assert.throws(() => scheduler.complete(value), /^RangeError: requestId must be an integer/);
    assert.throws(() => scheduler.drainEndpoint(value), /^RangeError: endpointId must be an integer/);
  }
  assert.equal(scheduler.stats().inFlight, 1);
});

test('a configuration that cannot be is refused by field', () => {
  for (const [config, field] of [
    [{ kvCacheTokens: -1 }, 'kvCacheTokens'],
    [{ kvCacheTokens: 2 ** 32 }, 'kvCacheTokens'],
    [{ maxEndpoints: 0 }, 'maxEndpoints'],
    [{ maxEndpoints: 0.5 }, 'maxEndpoints'],
    [{ seed: -1 }, 'seed'],
    [{ seed: 2n ** 64n }, 'seed'],
    [{ backoffMs: NaN }, 'backoffMs'],
    [{ index: { warmWindowMs: -1 } }, 'index.warmWindowMs'],
    [{ prices: { kv: Infinity } }, 'prices.kv'],
    [{ prices: { cacheEvictionOnset: 1 } }, 'prices.cacheEvictionOnset'],
    [{ tiers: { cpu: 1.5 } }, 'tiers.cpu'],
    [{ tiers: { disk: -0.1 } }, 'tiers.disk'],
    [{ tiers: { cpu: NaN } }, 'tiers.cpu'],
    [{ tiers: { gpu: 1 } }, 'tiers.gpu'],
    [{ index: { bytes: -1 } }, 'index.bytes'],
    [{ index: { entries: 9 } }, 'index.entries'],
    [{ prefill: { perToken: -1 } }, 'prefill'],
    [{ kvCapcity: 1 }, 'kvCapcity'],
    [{ prices: { kvv: 1 } }, 'prices.kvv'],
  ]) {
    assert.throws(() => new Scheduler(config), (error) => {
      assert.ok(error instanceof ConfigError, String(error));
      assert.deepEqual([error.code, error.field], ['config', field]);
      return error.message.startsWith(field);
    });
  }
});

test('misspelt options and values of the wrong type are refused by name', () => {
  const { scheduler, ids } = pool(['a']);
  const { requestId: request } = scheduler.pick('x');
  for (const [call, message] of [
    [() => new Scheduler({ kvCacheTokens: '1' }), 'config.kvCacheTokens must be a number, got "1"'],
    [() => new Scheduler({ learnSpeed: 1 }), 'config.learnSpeed must be a boolean, got 1'],
    [() => new Scheduler({}, { scorrer: () => [] }), 'options.scorrer is not a known field'],
    [() => new Scheduler({}, { cost: 1 }), 'options.cost must be a function, got 1'],
    [() => scheduler.addEndpoint({}), 'endpoint.name must be a string, got undefined'],
    [() => scheduler.addEndpoint({ name: 'b', model: 'm' }), 'endpoint.model is not a known field'],
    [() => scheduler.addEndpoint({ name: 'b', models: ['m', 1] }), 'endpoint.models[1] must be a string, got 1'],
    [() => scheduler.addEndpoint({ name: 'b', labels: { zone: 1 } }), 'endpoint.labels.zone must be a string, got 1'],
    [() => scheduler.addEndpoint({ name: 'b', role: 'both' }), `role must be 'unified', 'prefill', 'decode', 'encode', 'encode_prefill' or 'encode_prefill_decode', got "both"`],
    [() => scheduler.addEndpoint({ name: 'b', cacheEviction: 'x' }), `cacheEviction must be 'tail_first' or 'head_first', got "x"`],
    [() => scheduler.addEndpoint({ name: 'b', prefill: { perTokens: 1 } }), 'endpoint.prefill.perTokens is not a known field'],
    [() => scheduler.handleLoad(ids[0], { kv_usage: 1 }), 'load.kv_usage is not a known field'],
    [() => scheduler.handleLoad('0', {}), 'id must be a number, got "0"'],
    [() => scheduler.pick('x', { expectedOuput: 1 }), 'options.expectedOuput is not a known field'],
    [() => scheduler.pick('x', { priority: '1' }), 'priority must be a number, got "1"'],
    [() => scheduler.pick('x', { model: 7 }), 'model must be a string, got 7'],
    [() => scheduler.pick('x', { labels: ['a', 'b'] }), 'labels must be an object of strings, got an array'],
    [() => scheduler.pick('x', null), 'options must be an object, got null'],
    [() => scheduler.pick(undefined), 'prompt must be text, token ids or blocks, got undefined'],
    [() => scheduler.pick({ text: 'x' }), 'prompt must be text, token ids or blocks, got an object'],
    [() => scheduler.pick(['1']), 'prompt[0] must be a token id between 0 and 4294967295, got "1"'],
    [() => scheduler.pick(detached(Uint8Array)), 'prompt lies in a buffer that was transferred'],
    [() => scheduler.complete(request, { prompt_tokens: 1 }), 'usage.prompt_tokens is not a known field'],
    [() => scheduler.fail(request, 'broken'), `failure must be 'unreachable', 'engine' or 'timeout', got "broken"`],
    [() => scheduler.handleKvEvent(ids[0], {}), `event.kind must be 'BlockStored', 'BlockRemoved' or 'AllBlocksCleared', got undefined`],
    [() => scheduler.handleKvEvent(ids[0], { kind: 'AllBlocksCleared', block_size: 16 }), 'event.block_size is not a known field'],
    [() => scheduler.handleAdapters(ids[0], { slots: 4 }), 'adapters.active must be an array of strings, got undefined'],
    [
      () => scheduler.handleKvEvent(ids[0], { kind: 'BlockStored', blocks: [1n], blockSize: 16, tier: 'tape' }),
      `event.tier must be 'gpu', 'cpu' or 'disk', got "tape"`,
    ],
    [
      () => scheduler.handleKvEvent(ids[0], { kind: 'BlockRemoved', blocks: [1n], tier: 'GPU' }),
      `event.tier must be 'gpu', 'cpu' or 'disk', got "GPU"`,
    ],
    [() => scheduler.handleKvEvent(ids[0], { kind: 'BlockRemoved', blocks: [1n], tier: 1 }), 'event.tier must be a string, got 1'],
    [() => scheduler.handleKvEvent(ids[0], { kind: 'BlockRemoved', blocks: [1] }), 'event.blocks[0] must be a bigint, got 1'],
  ]) {
    assert.throws(call, { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE', message });
  }
  assert.deepEqual([scheduler.stats().inFlight, scheduler.stats().endpoints.length], [1, 1]);
});

test('values of another realm are what they are', () => {
  const { scheduler } = pool(['a']);
  const foreign = runInNewContext('({ text: new Uint8Array(40), ids: Uint32Array.of(1, 2), list: [1, 2, 3], options: { model: "m" } })');
  assert.equal(foreign.text instanceof Uint8Array, false);
  assert.equal(scheduler.pick(foreign.text, foreign.options).promptTokens, 10);
  assert.equal(scheduler.pick(foreign.ids).promptTokens, 2);
  assert.equal(scheduler.pick(foreign.list).promptTokens, 3);
});

test('a getter that takes the prompt away during the reading does no harm', () => {
  const { scheduler } = pool(['a']);
  for (const type of [Uint8Array, Uint32Array]) {
    const prompt = new type(1 << 16);
    const options = {
      get model() {
        structuredClone(prompt.buffer, { transfer: [prompt.buffer] });
        return 'm';
      },
    };
    assert.throws(() => scheduler.pick(prompt, options), /transferred/);
  }
  const blocks = new BigUint64Array(64);
  const prompt = {
    blocks,
    blockSize: 16,
    get tokens() {
      structuredClone(blocks.buffer, { transfer: [blocks.buffer] });
      return 1_024;
    },
  };
  assert.throws(() => scheduler.pick(prompt), /transferred/);
});

test('a getter that uses the scheduler during the reading does no harm', () => {
  const { scheduler } = pool(['a']);
  const options = {
    get session() {
      scheduler.pick('a longer prompt than the other one');
      scheduler.addEndpoint('b');
      return 's';
    },
  };
  assert.equal(scheduler.pick('four', options).promptTokens, 1);
  assert.equal(scheduler.stats().inFlight, 2);
});

test('a list of nothing but holes is refused at its first hole', () => {
  const { scheduler } = pool(['a']);
  const message = 'exclude[0] must be a number, got undefined';
  const holes = new Array(2 ** 32 - 1);
  assert.throws(() => scheduler.pick('x', { exclude: holes }), { name: 'TypeError', message });
  assert.throws(() => scheduler.pick(holes), /^TypeError: prompt\[0\] must be a token id/);
  assert.throws(() => scheduler.pick({ blocks: holes, blockSize: 16, tokens: 1 }), /^TypeError: prompt.blocks\[0\] must/);
});

test('a long array is copied whole', () => {
  const { scheduler } = pool(['a']);
  const prompt = Array.from({ length: 300_000 }, (_, at) => at);
  assert.equal(scheduler.pick(prompt).promptTokens, 300_000);
  assert.equal(scheduler.pick(Uint32Array.from(prompt)).cachedTokens, scheduler.pick(prompt).cachedTokens);
});

test('limits that no machine has are only numbers', () => {
  const most = 2 ** 53 - 1;
  const { scheduler } = pool(['a', 'b'], {
    maxEndpoints: 2 ** 32 - 1,
    maxInFlight: most,
    maxInFlightBlocks: most,
    maxPromptBlocks: most,
    maxModels: most,
    maxAdapters: most,
    alternatives: most,
    index: { bytes: most },
  });
  assert.equal(scheduler.pick('x').alternatives.length, 1);
});
