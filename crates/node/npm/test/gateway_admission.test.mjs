// Keys, quotas, priorities, tenants and routes at the gateway.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { demoEngines } from 'slotwise/gateway';
import { ASKED, CHAT, EVENT, PREFILLED, engines, key, onePool, serving, until } from './support/gateway.mjs';

const ofDay = (measure, limit) => ({ quotas: [{ measure, limit, window: 86_400 }] });

test('keys', async (t) => {
  const pool = await engines(t, 'good');
  const gates = { keys: [key('alice', { models: ['m'] }), key('bob', { models: ['other'] })] };
  const host = await serving(t, onePool(pool, { gates }));
  assert.equal((await host.whole(ASKED, { key: 'alice' })).status, 200);
  const refused = async (options, asked = ASKED) => {
    const { status, json } = await host.whole(asked, options);
    return [status, json.error.code ?? json.error.type];
  };
  assert.deepEqual(await refused({}), [401, 'missing_api_key']);
  assert.deepEqual(await refused({ key: 'eve' }), [401, 'invalid_api_key']);
  assert.deepEqual(await refused({ key: 'bob' }), [403, 'model_not_allowed']);
  const message = { ...ASKED, max_tokens: 9 };
  assert.deepEqual(await refused({ key: 'eve', path: '/v1/messages' }, message), [401, 'authentication_error']);
  assert.equal(pool[0].asked, 1);
});

test('a quota refuses with the time of the next request', async (t) => {
  const pool = await engines(t, 'good');
  const gates = { keys: [key('alice', { limits: ofDay('requests', 1) })] };
  const host = await serving(t, onePool(pool, { gates }));
  const first = await host.whole(ASKED, { key: 'alice' });
  assert.equal(first.status, 200);
  assert.equal(first.headers['x-ratelimit-remaining-requests'], '0');
  const second = await host.whole(ASKED, { key: 'alice' });
  assert.equal(second.status, 429);
  assert.ok(Number(second.headers['retry-after']) > 0);
  assert.equal(second.json.error.code, 'rate_limit_exceeded');
  assert.equal(pool[0].asked, 1);
});

test('quotas count what the engine reports, and refusals cost nothing', async (t) => {
  // The stream of two tokens uses 2 of the output tokens; its estimate is 100.
  const pool = await engines(t, 'good');
  const gates = { keys: [key('alice', { limits: ofDay('output_tokens', 104) })] };
  const host = await serving(t, onePool(pool, { gates }));
  const asked = { ...ASKED, max_tokens: 100 };
  for (const [manner, status] of [['good', 200], [400, 400], ['good', 200], ['good', 200]]) {
    pool[0].manner = manner;
    assert.equal((await host.whole(asked, { key: 'alice' })).status, status);
  }
  assert.equal((await host.whole(asked, { key: 'alice' })).status, 429);
});

test('an answer of no tokens takes none of the quota', async (t) => {
  // An answer without a limit counts as 256 tokens until it ends.
  const pool = await engines(t, 'good');
  const gates = { keys: [key('alice', { limits: ofDay('output_tokens', 100) })] };
  const host = await serving(t, onePool(pool, { gates }));
  assert.notEqual((await host.whole(ASKED, { key: 'alice' })).status, 200);
  assert.equal((await host.whole({ ...ASKED, max_tokens: 0 }, { key: 'alice' })).status, 200);
});

test('concurrent requests are counted until their stream ends', async (t) => {
  const pool = await engines(t, 'slow');
  const gates = { keys: [key('alice', { limits: { concurrent_requests: 1 } })] };
  const host = await serving(t, onePool(pool, { gates }));
  const first = await host.post(ASKED, { key: 'alice' });
  assert.equal((await host.whole(ASKED, { key: 'alice' })).status, 429);
  pool[0].open();
  await first.toArray();
  await until(() => host.gateway.openRequests === 0);
  assert.equal((await host.whole(ASKED, { key: 'alice' })).status, 200);
});

const full = (pool, gates) => ({ ...onePool(pool, { gates }), scheduler: { seed: 1, max_in_flight: 1 } });
const askedAs = ({ bodies }) => bodies.map((body) => JSON.parse(body).user);

/** Requests of these keys, each after the one before is held or queued. */
async function inTurn(host, engine, names) {
  const answers = [];
  for (const [number, name] of names.entries()) {
    answers.push(host.whole({ ...ASKED, user: `${name}${number}` }, { key: name }));
    await until(() => engine.held === 1 && host.scheduler().queued === number);
  }
  engine.open();
  return Promise.all(answers);
}

test('a full pool serves higher priorities first', async (t) => {
  const pool = await engines(t, 'late');
  const gates = { keys: [key('low', { priority: 1 }), key('high', { priority: 5 })] };
  const host = await serving(t, full(pool, gates));
  const answers = await inTurn(host, pool[0], ['low', 'low', 'high']);
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200]);
  assert.deepEqual(askedAs(pool[0]), ['low0', 'high2', 'low1']);
});

test('tenants share a full pool', async (t) => {
  const pool = await engines(t, 'late');
  const gates = { keys: [key('a', { tenant: 'a' }), key('b', { tenant: 'b' })] };
  const host = await serving(t, full(pool, gates));
  await inTurn(host, pool[0], ['a', 'a', 'a', 'b']);
  assert.ok(askedAs(pool[0]).indexOf('b3') <= 2, String(askedAs(pool[0])));
});

test('a full queue refuses at once, and a queued request that leaves is withdrawn', async (t) => {
  const pool = await engines(t, 'late');
  const configuration = onePool(pool);
  Object.assign(configuration.scheduler, { max_in_flight: 1, flow: { max_requests: 1 } });
  const host = await serving(t, configuration);
  const first = host.whole();
  await until(() => pool[0].held === 1);
  let request;
  const second = host.whole(ASKED, { sent: (sent) => (request = sent) });
  await until(() => host.scheduler().queued === 1);
  const third = await host.whole();
  assert.ok([429, 503].includes(third.status));
  assert.ok('retry-after' in third.headers);
  request.destroy();
  await assert.rejects(second);
  await until(() => host.scheduler().queued === 0);
  pool[0].open();
  assert.equal((await first).status, 200);
});

const pools = (engines) =>
  Object.entries(engines).map(([name, { url }]) => ({ name, models: [name], endpoints: [url], scheduler: { seed: 1 } }));
const modelsOf = ({ bodies }) => bodies.map((body) => JSON.parse(body).model);
const split = (pool, name, targets) => ({
  name,
  pool,
  rules: [{ models: [name], targets: Object.entries(targets).map(([model, weight]) => ({ model, weight })) }],
});

test('a model is rewritten and its name is put back', async (t) => {
  const demo = await demoEngines(1, { tokenMs: 0, blockMs: 0 });
  t.after(() => demo.close());
  const host = await serving(t, {
    pools: [{ name: 'default', models: ['demo'], endpoints: demo.urls }],
    rewrites: [split('default', 'chat', { demo: 1 })],
  });
  const asked = { ...ASKED, model: 'chat' };
  assert.equal((await host.whole({ ...asked, stream: false })).json.model, 'chat');
  const { body } = await host.whole(asked);
  assert.ok(body.includes('"chat"') && !body.includes('"demo"'), body);
  const message = await host.whole({ ...asked, max_tokens: 9 }, { path: '/v1/messages' });
  assert.ok(message.body.includes('message_stop') && !message.body.includes('"demo"'));
  const unknown = await host.whole({ ...asked, model: 'gpt' });
  assert.equal(unknown.status, 404);
  assert.ok(unknown.json.error.message.includes("'chat' or 'demo'"));
  const { json } = await host.get('/v1/models');
  assert.deepEqual(json.data.map(({ id }) => id), ['chat', 'demo']);
  assert.equal((await host.get('/v1/models/chat')).json.id, 'chat');
  assert.equal((await host.get('/v1/models/none')).status, 404);
});

const mirrored = (main, shadow) => ({
  pools: pools({ m: main, shadow }),
  rules: [{ name: 'all', backends: [{ pool: 'm' }], mirrors: [{ pool: 'shadow' }] }],
  rewrites: [split('shadow', 'm', { shadow: 1 })],
});

test('a mirror gets a copy with its model and the query, and never delays', async (t) => {
  const [main, shadow] = await engines(t, 'good', 'late');
  const host = await serving(t, mirrored(main, shadow));
  assert.equal((await host.whole(ASKED, { path: `${CHAT}?x=1` })).status, 200);
  await until(() => shadow.held === 1);
  assert.deepEqual([modelsOf(main), modelsOf(shadow)], [['m'], ['shadow']]);
  assert.deepEqual(shadow.targets, [`${CHAT}?x=1`]);
  shadow.open();
  await until(() => host.gateway.mirrors.size === 0);
  assert.equal(host.stats('shadow').completed, 1);
});

test('copies that a pool has no room for are dropped', async (t) => {
  const [main, shadow] = await engines(t, 'good', 'late');
  const configuration = mirrored(main, shadow);
  configuration.pools[1].scheduler.max_in_flight = 2;
  const host = await serving(t, configuration);
  const answers = await Promise.all(Array.from({ length: 8 }, () => host.whole()));
  assert.ok(answers.every(({ status }) => status === 200));
  await until(() => host.gateway.mirrors.dropped === 6 && shadow.held === 2);
  shadow.open();
  await until(() => host.gateway.mirrors.size === 0);
  assert.equal(host.stats('shadow').completed, 2);
});

test('a failing mirror changes nothing', async (t) => {
  const [main, shadow] = await engines(t, 'good', 500);
  const host = await serving(t, mirrored(main, shadow));
  assert.equal((await host.whole()).status, 200);
  await until(() => shadow.asked === 1 && host.gateway.mirrors.size === 0);
  await shadow.stop();
  assert.equal((await host.whole()).status, 200);
});

test('a fallback pool serves what the first pool has no room for', async (t) => {
  const [main, spare] = await engines(t, 'late', 'good');
  const configured = pools({ m: main, spare });
  configured[0].fallback = 'spare';
  Object.assign(configured[0].scheduler, { max_in_flight: 1, flow: { max_requests: 1 } });
  configured[1].models = ['m'];
  const host = await serving(t, { pools: configured });
  const first = host.whole();
  await until(() => main.held === 1);
  const second = host.whole();
  await until(() => host.scheduler('m').queued === 1);
  assert.equal((await host.whole()).status, 200);
  assert.equal(spare.asked, 1);
  main.open();
  assert.deepEqual([(await first).status, (await second).status], [200, 200]);
});

test('a rule limits the time of a request', async (t) => {
  const [late, slow] = await engines(t, 'late', 'slow');
  const rules = ['late', 'slow'].map((name) => ({
    name,
    matches: [{ headers: [{ name: 'x-pool', value: name }] }],
    backends: [{ pool: name }],
    timeout: 5,
  }));
  const host = await serving(t, { pools: pools({ late, slow }), rules });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const refused = host.whole({ ...ASKED, model: 'late' }, { headers: { 'x-pool': 'late' } });
  await until(() => late.held === 1);
  t.mock.timers.tick(5_000);
  const answer = await refused;
  assert.deepEqual([answer.status, answer.json.error.code], [504, 'request_timeout']);
  // After the first byte, an error event ends the stream.
  for (const [path, shape] of [[CHAT, /^data: {"error":.*"code":"request_timeout"}}\n\n$/], ['/v1/messages', /^event: error\ndata: /]]) {
    const asked = { ...ASKED, model: 'slow', max_tokens: 4 };
    const response = await host.post(asked, { path, headers: { 'x-pool': 'slow' } });
    const [first] = await once(response, 'data');
    assert.equal(first.toString(), EVENT);
    t.mock.timers.tick(5_000);
    assert.match(Buffer.concat(await response.toArray()).toString(), shape);
  }
  assert.deepEqual(host.log.filter((line) => line.includes('more than 5 s')).length, 2);
  // The engines are not to blame.
  const counts = ['late', 'slow'].map((pool) => host.stats(pool));
  assert.deepEqual(counts.map(({ inFlight, failed, cancelled }) => [inFlight, failed, cancelled]), [[0, 0, 1], [0, 0, 2]]);
});

for (const connector of ['nixl', 'bootstrap', 'sidecar']) {
  test(`a connector tells engines of each other: ${connector}`, async (t) => {
    const [prefill, decode] = await engines(t, 'prefill', 'good');
    const endpoints = [{ name: prefill.url, role: 'prefill' }, { name: decode.url, role: 'decode' }];
    const scheduler = { seed: 1, disaggregation: { prefill: { type: 'always-disagg-pd-decider' } } };
    const host = await serving(t, { endpoints, scheduler }, { connector });
    const answer = await host.whole({ ...ASKED, max_tokens: 64 });
    assert.equal(answer.status, 200);
    assert.ok(answer.body.endsWith('[DONE]\n\n'));
    await until(() => host.stats().inFlight === 0);
    assert.equal(host.stats().stages['prefill-decode'], 1);
    const [[first], [decoded]] = [prefill, decode].map(({ bodies }) => bodies.map((body) => JSON.parse(body)));
    const { hostname, host: address } = new URL(prefill.url);
    assert.equal(decoded.max_tokens, 64);
    if (connector === 'nixl') {
      assert.deepEqual([first.max_tokens, first.stream], [1, false]);
      assert.deepEqual(decoded.kv_transfer_params, PREFILLED.kv_transfer_params);
    } else if (connector === 'bootstrap') {
      assert.deepEqual(first, decoded);
      assert.equal(decoded.bootstrap_host, hostname);
    } else {
      assert.equal(first, undefined);
      assert.equal(decode.headers[0]['x-prefiller-host-port'], address);
    }
  });
}
