// What the package shows is what it has: types, exports and fields agree.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import * as esm from 'slotwise';
import * as wire from 'slotwise/wire';
import { pool } from './support/pool.mjs';
import { bytes } from './support/wire.mjs';

const require = createRequire(import.meta.url);
const root = new URL('..', import.meta.url);
const native = require('../native/index.js');
const types = readFileSync(new URL('native/index.d.ts', root), 'utf8');

/** The names in a declaration of the native part. */
function declared(kind, name) {
  const [, body] = new RegExp(`export (?:declare )?${kind} ${name} \\{\\n([^]*?)\\n\\}`).exec(types) ?? [];
  assert.ok(body, `${name} is not declared`);
  return [...body.matchAll(/^ {2}(?:get |export function )?(\w+)[?(:]/gm)].map(([, field]) => field).sort();
}

function evicted() {
  const { scheduler } = pool([]);
  scheduler.submit('x', { ttlMs: 0 });
  return scheduler.pollDecision(1);
}

test('the generated types are those of the addon that was built', () => {
  const methods = Object.getOwnPropertyNames(native.NativeScheduler.prototype);
  assert.deepEqual(declared('class', 'NativeScheduler'), methods.sort());
  assert.deepEqual(declared('namespace', 'requests'), Object.keys(native.requests).sort());
  const { scheduler } = pool(['a']);
  const explanation = scheduler.explain('x');
  const answers = {
    // A scheduler has one profile or several.
    Config: {
      ...new esm.Scheduler({ disaggregation: {}, profile: {} }).config,
      ...new esm.Scheduler({ profiles: { profiles: { default: {} } } }).config,
    },
    DisaggregationConfig: new esm.Scheduler({ disaggregation: {} }).config.disaggregation,
    KvTransferCost: new esm.Scheduler({ disaggregation: {} }).config.disaggregation.kvTransfer,
    IndexLimits: scheduler.config.index,
    PrefillCost: scheduler.config.prefill,
    CostPrices: scheduler.config.prices,
    TierFactors: scheduler.config.tiers,
    FlowConfig: new esm.Scheduler({ flow: { sessionAdmission: {} } }).config.flow,
    BandLimits: scheduler.config.flow.band,
    SessionAdmissionConfig: new esm.Scheduler({ flow: { sessionAdmission: {} } }).config.flow.sessionAdmission,
    Explanation: explanation,
    Candidate: explanation.candidates[0],
    CostTerms: explanation.candidates[0].terms,
    Rejected: scheduler.pick('x', { role: 'decode', model: 'm', labels: { no: 'where' } }),
    Evicted: evicted(),
    Stats: new esm.Scheduler({ flow: { sessionAdmission: {} } }).stats(),
    SessionAdmissionStats: new esm.Scheduler({ flow: { sessionAdmission: {} } }).stats().sessionAdmission,
    EndpointStats: scheduler.stats().endpoints[0],
    RemovedEndpoint: scheduler.removeEndpoint(0),
  };
  for (const [name, answer] of Object.entries(answers)) {
    assert.deepEqual(Object.keys(answer).sort(), declared('interface', name), name);
  }
});

test('the generated files that were committed are those that the build makes', { skip: !process.env.CI }, () => {
  const { status, stdout } = spawnSync('git', ['diff', '--exit-code', '--', 'native'], {
    cwd: fileURLToPath(root),
    encoding: 'utf8',
  });
  assert.equal(status, 0, stdout);
});

test('no type is any', () => {
  const files = ['native/index.d.ts', ...readdirSync(new URL('dist/', root), { recursive: true }).filter((file) => file.endsWith('.d.ts')).map((file) => `dist/${file}`)];
  assert.ok(files.length > 5);
  for (const file of files) {
    const code = readFileSync(new URL(file, root), 'utf8').replace(/\/\*[^]*?\*\//g, '');
    assert.doesNotMatch(code, /\bany\b/, file);
  }
});

test('every declaration has documentation', () => {
  const bare = [...types.matchAll(/\n\n(export (?:declare )?(?:class|interface|function) \w+)/g)].map(([, what]) => what);
  assert.deepEqual(bare, []);
  const lines = types.split('\n');
  const fields = lines.filter((line, at) => /^ {2}\w+\??:/.test(line) && !/\*\/\s*$/.test(lines[at - 1]));
  assert.deepEqual(fields, []);
});

test('import and require give the same package', () => {
  const cjs = require('slotwise');
  assert.deepEqual(Object.keys(esm).sort(), Object.keys(cjs).sort());
  for (const name of Object.keys(cjs)) {
    assert.equal(esm[name], cjs[name], name);
  }
  assert.deepEqual(Object.keys(cjs).sort(), [
    'AdapterError',
    'ConfigError',
    'CostFunctionError',
    'EndpointError',
    'IdleTimeoutError',
    'KvEventError',
    'Lease',
    'LegError',
    'NotBegunError',
    'RedirectError',
    'RejectedError',
    'Scheduler',
    'SlotwiseError',
    'SnapshotError',
    'UnknownEndpointError',
    'UnknownRequestError',
    'WireError',
    'pricesForServiceLevel',
  ]);
});

test('import and require give the same functions over bytes', () => {
  const cjs = require('slotwise/wire');
  assert.deepEqual(Object.keys(wire).sort(), Object.keys(cjs).sort());
  for (const name of Object.keys(cjs)) {
    assert.equal(wire[name], cjs[name], name);
  }
  assert.equal(wire.WireError, esm.WireError);
  assert.deepEqual(Object.keys(cjs).sort(), [
    'AnswerFilter',
    'METRICS_CONTENT_TYPE',
    'ModelFilter',
    'ResponseReader',
    'WireError',
    'addUsage',
    'apiOfPath',
    'attributes',
    'blockHashes',
    'forwardedHeaders',
    'kvTransferBody',
    'kvTransferParams',
    'outcomeOfStatus',
    'readHeaders',
    'readKvBatch',
    'readKvFrames',
    'readMetrics',
    'readOrca',
    'readRequest',
    'refusal',
    'replayRequest',
    'responseHeaders',
    'rewriteModel',
  ]);
});

for (const [subpath, names] of Object.entries({
  engines: [
    'Background',
    'Discovery',
    'Prober',
    'Scraper',
    'Subscriber',
    'discover',
    'drain',
    'fetchGet',
    'httpGet',
    'ofDns',
    'ofFile',
    'ofList',
    'ofSrv',
    'probe',
    'publishersOn',
    'scrape',
    'subscribe',
  ],
  fetch: ['routedFetch'],
  error_responses: ['errorResponse', 'failureResponse', 'shapeOf'],
  fastify: ['default', 'slotwise'],
  gateway: ['Block', 'Gateway', 'Reloading', 'demoEngines'],
  'node-http': ['nodeHandler'],
  web: ['webHandler'],
})) {
  test(`import and require give the same of slotwise/${subpath}`, async () => {
    const [module, cjs] = [await import(`slotwise/${subpath}`), require(`slotwise/${subpath}`)];
    assert.deepEqual(Object.keys(module).sort(), names);
    assert.deepEqual({ ...module }, { ...cjs });
  });
}

test('the generated types of what bytes are read into are those of the addon that was built', () => {
  for (const name of ['NativeResponseReader', 'NativeModelFilter', 'NativeAnswerFilter']) {
    assert.deepEqual(declared('class', name), Object.getOwnPropertyNames(native[name].prototype).sort(), name);
  }
  const { scheduler } = pool(['a']);
  const seven = Buffer.from([0, 0, 0, 0, 0, 0, 0, 7]);
  const metrics = wire.readMetrics(bytes({ file: 'vllm-0.32/default/metrics/metrics_under_load.txt' }));
  const adapters = 'vllm:lora_requests_info{max_lora="2",running_lora_adapters="a",waiting_lora_adapters=""} 1\n';
  const batch = wire.readKvBatch(bytes({ file: 'vllm-0.32/default/kv/s01_cold.seq1.bin' }));
  const view = wire.readRequest(Buffer.from('{"model":"m","prompt":"x"}'), { api: 'completions' });
  const headers = wire.readHeaders({ 'x-vllm-priority': 'soon' });
  const answers = {
    MetricsReport: metrics,
    RankReport: metrics.ranks[0],
    KvCache: metrics.kvCache,
    AdapterReport: wire.readMetrics(Buffer.from(adapters)).adapters,
    OrcaReport: wire.readOrca('named_metrics.num_requests_waiting=1'),
    KvMessage: wire.readKvFrames([seven, seven]),
    KvBatch: batch,
    KvStored: batch.events.find(({ type }) => type === 'stored'),
    SkippedEvents: batch.skippedEvents,
    KvReport: scheduler.handleKvFrames(0, [seven, seven]),
    RequestView: view,
    ByteRange: view.modelRange,
    RequestHeaders: headers,
    UnusableHeader: headers.unusable[0],
    WireProblem: headers.unusable[0].error,
    Outcome: wire.outcomeOfStatus(200),
    RefusalResponse: wire.refusal('shed'),
  };
  for (const [name, answer] of Object.entries(answers)) {
    assert.deepEqual(Object.keys(answer).sort(), declared('interface', name), name);
  }
});

test('the addon is small', (context) => {
  const [file] = readdirSync(new URL('native/', root)).filter((name) => name.endsWith('.node'));
  const addon = readFileSync(new URL(`native/${file}`, root));
  // Continuous integration builds no other addon than the one that is published.
  if (addon.length > 8 * 2 ** 20 && !process.env.CI) {
    return context.skip('built for debugging');
  }
  assert.ok(addon.length <= 4_000_000, `${addon.length} bytes`);
  return undefined;
});
