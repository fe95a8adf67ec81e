// Another configuration while requests are in flight, the end of a gateway, and its admin page.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Gateway, Reloading } from 'slotwise/gateway';
import { ASKED, EVENT, WHOLE, engines, key, onePool, read, serving, until } from './support/gateway.mjs';

/** A file of a configuration. */
function fileOf(t) {
  const folder = mkdtempSync(join(tmpdir(), 'slotwise-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'gateway.json');
  return { path, write: (text) => writeFileSync(path, typeof text === 'string' ? text : JSON.stringify(text)) };
}

test('endpoints leave and join under load, and no request is lost', async (t) => {
  const { path, write } = fileOf(t);
  const [old, kept, added] = await engines(t, 'slow', 'good', 'good');
  const host = await serving(t, onePool([old, kept]));
  write(onePool([old, kept]));
  const reloading = new Reloading(host.gateway, path);
  const load = Array.from({ length: 20 }, () => host.whole());
  await until(() => old.asked + kept.asked === 20);
  write(onePool([kept, added]));
  assert.ok(reloading.poll());
  assert.ok(!reloading.poll());
  const before = old.asked;
  const later = Array.from({ length: 20 }, () => host.whole());
  await Promise.all(later);
  assert.equal(old.asked, before);
  assert.ok(added.asked > 0);
  old.open();
  const answers = await Promise.all([...load, ...later]);
  assert.ok(answers.every(({ status }) => status === 200));
  host.gateway.pools.removeIdle();
  assert.deepEqual(host.stats().endpoints.map(({ name }) => name), [kept.url, added.url]);
  assert.deepEqual([host.stats().inFlight, host.stats().completed], [0, 40]);
});

test('a bad file is reported and changes nothing', async (t) => {
  const { path, write } = fileOf(t);
  const pool = await engines(t, 'good', 'good');
  const good = onePool(pool.slice(0, 1));
  const host = await serving(t, good);
  const reloading = new Reloading(host.gateway, path);
  const bad = ['endpoint: [x]', '[', { ...good, scheduler: { kv_limit: 2 } }, { ...onePool(pool), scheduler: { seed: 2 } }];
  for (const configuration of bad) {
    write(configuration);
    assert.ok(!reloading.reload());
    assert.match(host.gateway.reloadError, /gateway\.json|seed/);
    assert.deepEqual(host.stats().endpoints.map(({ name }) => name), [pool[0].url]);
    assert.equal((await host.whole()).status, 200);
  }
  unlinkSync(path);
  assert.ok(!reloading.reload());
  assert.match(host.gateway.reloadError, /cannot be read: no such file or directory/);
  write(onePool(pool));
  assert.ok(reloading.reload());
  assert.equal(host.gateway.reloadError, null);
  assert.equal(host.stats().endpoints.length, 2);
});

test('a pool that leaves serves its last requests', async (t) => {
  const { path, write } = fileOf(t);
  const [old, next] = await engines(t, 'slow', 'good');
  const host = await serving(t, { pools: [{ name: 'old', endpoints: [old.url] }] });
  const first = host.whole();
  await until(() => old.held === 1);
  write({ pools: [{ name: 'next', endpoints: [next.url] }] });
  assert.ok(new Reloading(host.gateway, path).reload());
  assert.equal((await host.whole()).status, 200);
  assert.equal(next.asked, 1);
  assert.deepEqual(Array.from(host.gateway.pools, ({ name }) => name), ['next', 'old']);
  old.open();
  assert.equal((await first).status, 200);
  host.gateway.pools.removeIdle();
  assert.deepEqual(Array.from(host.gateway.pools, ({ name }) => name), ['next']);
});

test('quotas in use survive a reload', async (t) => {
  const { path, write } = fileOf(t);
  const limits = { quotas: [{ measure: 'requests', limit: 2, window: 86_400 }] };
  const gates = { keys: [key('alice', { limits })] };
  const pool = await engines(t, 'good', 'good');
  const host = await serving(t, onePool(pool.slice(0, 1), { gates }));
  const status = async () => (await host.whole(ASKED, { key: 'alice' })).status;
  assert.equal(await status(), 200);
  write(onePool(pool, { gates }));
  assert.ok(new Reloading(host.gateway, path).reload());
  assert.deepEqual([await status(), await status()], [200, 429]);
});

test('a change while the gateway starts is applied, also with the size and time of the old file', async (t) => {
  const { path, write } = fileOf(t);
  const pool = await engines(t, 'good', 'good');
  write(onePool(pool.slice(0, 1)));
  const before = statSync(path);
  const host = await serving(t, onePool(pool.slice(0, 1)));
  write(onePool(pool.slice(1)));
  utimesSync(path, before.atime, before.mtime);
  const reloading = new Reloading(host.gateway, path);
  assert.ok(reloading.poll());
  assert.ok(!reloading.poll());
  await host.whole();
  assert.equal(pool[1].asked, 1);
});

test('health checks change with the file, and all else goes on', async (t) => {
  const [engine] = await engines(t, 'good');
  const without = { endpoints: [engine.url] };
  const check = { path: '/checked', interval: 0.02, timeout: 0.01 };
  const host = await serving(t, without);
  const { following } = host.gateway;
  assert.deepEqual(following.works(), ['default: metrics pages']);
  host.gateway.apply(read({ ...without, health_check: check }));
  await until(() => engine.probes > 0);
  engine.probeStatus = 500;
  await until(() => host.stats().endpoints[0].backoff === 'probe');
  host.gateway.apply(read({ ...without, health_check: { ...check, path: '/elsewhere' } }));
  const works = following.works();
  assert.equal(works.length, 2);
  assert.ok(works[0].includes('/elsewhere'));
  assert.throws(() => host.gateway.apply(read({ ...without, health_check: check, scheduler: { seed: 2 } })));
  assert.deepEqual(following.works(), works);
  host.gateway.apply(read(without));
  assert.deepEqual(following.works(), ['default: metrics pages']);
});

test('metrics pages are read, and a pool without endpoints is not ready', async (t) => {
  const [engine] = await engines(t, 'good');
  const host = await serving(t, onePool([engine]), { scrapeEveryMs: 10 });
  await until(() => engine.scrapes > 1 && host.stats().endpoints[0].kvCacheTokens === 16 * 32_768);
  assert.equal((await host.get('/ready')).status, 200);
  host.scheduler().drainEndpoint(host.scheduler().endpointNamed(engine.url));
  assert.equal((await host.get('/ready')).status, 503);
});

test('an endpoint that is no URL and a source of an unknown pool are mistakes', () => {
  assert.throws(() => new Gateway(read({ endpoints: ['foo'] })), /'foo' of the pool 'default' must be a URL, such as/);
  const discover = { b: async () => [] };
  assert.throws(() => new Gateway(read({ endpoints: ['http://a'] }), { discover }), /no pool is named 'b'/);
});

test('engines that a source lists are served', async (t) => {
  const pool = await engines(t, 'good');
  const discover = { default: async () => pool.map(({ url }) => url) };
  const host = await serving(t, { pools: [{ name: 'default' }] }, { discover });
  assert.equal((await host.whole()).status, 200);
});

test('a stop finishes what is in flight, and refuses the rest', async (t) => {
  const pool = await engines(t, 'slow');
  const host = await serving(t, onePool(pool), { graceMs: 1_000 });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const first = host.whole();
  await until(() => pool[0].held === 1);
  assert.equal((await host.get('/ready')).status, 200);
  const stop = host.gateway.stop();
  assert.deepEqual([(await host.get('/ready')).status, (await host.get('/health')).status], [503, 200]);
  const refused = await host.whole();
  assert.deepEqual([refused.status, refused.json.error.code], [503, 'shutting_down']);
  pool[0].open();
  assert.equal((await first).body, WHOLE);
  t.mock.timers.tick(1_000);
  await stop;
  await assert.rejects(host.whole());
});

test('a stop breaks off what takes too long', async (t) => {
  const pool = await engines(t, 'slow');
  const host = await serving(t, onePool(pool), { drainMs: 20 });
  const response = await host.post();
  const got = response.toArray();
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const stop = host.gateway.stop();
  t.mock.timers.tick(20);
  await stop;
  await assert.rejects(got);
  assert.ok(host.log.includes('warning 1 requests are broken off at the stop'));
  await until(() => host.stats().inFlight === 0);
});

test('a thousand streams at once end with none in flight', async (t) => {
  const pool = await engines(t, 'slow', 'slow', 'slow', 'slow');
  const host = await serving(t, onePool(pool));
  const load = [];
  while (load.length < 1_000) {
    load.push(...Array.from({ length: 50 }, () => host.whole()));
    await until(() => pool.reduce((sum, { held }) => sum + held, 0) === load.length);
  }
  assert.deepEqual([host.gateway.openRequests, host.stats().inFlight], [1_000, 1_000]);
  pool.forEach((engine) => engine.open());
  assert.ok((await Promise.all(load)).every(({ status, body }) => status === 200 && body === WHOLE));
  assert.deepEqual([host.stats().completed, host.stats().inFlight], [1_000, 0]);
  assert.ok(Math.max(...pool.map(({ asked }) => asked)) < 400);
  const { body } = await host.get('/metrics');
  assert.ok(body.includes('slotwise_gateway_requests_total{status="200"} 1000'));
  assert.ok(body.includes('slotwise_completed_requests_total{pool="default"} 1000'));
  assert.ok(body.endsWith('# EOF\n') && body.split('# EOF').length === 2);
});

const admin = { admin: { host: '127.0.0.1', port: 0 } };
const EVIL = '</script><img src=x onerror=alert(1)>"\'&';

/** What the admin page reads. */
async function state(host) {
  return (await host.get('state.json', { base: host.gateway.adminUrl })).json;
}

test('the admin page shows pools, and explains decisions while it is open', async (t) => {
  const pool = await engines(t, 'good', 'good');
  const host = await serving(t, onePool(pool), admin);
  await host.whole();
  assert.equal((await state(host)).decisions[0].explanation, null);
  await host.whole({ ...ASKED, model: EVIL });
  const { pools: [one], decisions: [decision] } = await state(host);
  assert.deepEqual([one.name, one.completed], ['default', 2]);
  assert.deepEqual(one.endpoints.map(({ name }) => name).sort(), pool.map(({ url }) => url).sort());
  assert.deepEqual([decision.status, decision.model], [200, EVIL]);
  assert.ok(decision.explanation.includes(decision.endpoint));
  for (let asked = 0; asked < 70; asked += 1) await host.whole({ ...ASKED, model: 'x'.repeat(1_000) });
  const { decisions } = await state(host);
  assert.deepEqual([decisions.length, decisions[0].number, decisions[0].model.length], [64, 72, 200]);
});

test('endpoints are drained and resumed', async (t) => {
  const pool = await engines(t, 'good', 'good');
  const host = await serving(t, onePool(pool), admin);
  const asked = { pool: 'default', endpoint: pool[0].url, action: 'drain' };
  const headers = { 'content-type': 'application/json' };
  const act = (action) => host.whole(action, { path: 'endpoint', base: host.gateway.adminUrl, headers });
  assert.deepEqual((await act(asked)).json, { in_flight: 0 });
  for (let count = 0; count < 5; count += 1) await host.whole();
  assert.equal(pool[0].asked, 0);
  assert.equal((await act({ ...asked, action: 'resume' })).status, 200);
  assert.ok((await state(host)).pools[0].endpoints.every(({ draining }) => !draining));
  for (const wrong of [{}, [], { ...asked, action: 'x' }, { ...asked, endpoint: 'x' }]) {
    assert.ok([400, 404].includes((await act(wrong)).status));
  }
});

test('other sites can neither read nor act', async (t) => {
  const pool = await engines(t, 'good');
  const host = await serving(t, onePool(pool), admin);
  const base = host.gateway.adminUrl;
  const asked = { pool: 'default', endpoint: pool[0].url, action: 'drain' };
  const form = await host.whole(asked, { path: 'endpoint', base, headers: { 'content-type': 'text/plain' } });
  assert.equal(form.status, 415);
  assert.ok(!('access-control-allow-origin' in form.headers));
  assert.equal((await host.get('state.json', { base, headers: { host: 'attacker.example' } })).status, 421);
  // The page is not on the clients' listener.
  assert.equal((await host.get('/state.json')).status, 404);
});

test('the page is that of the Python gateway, and its policy allows no other script', async (t) => {
  const page = readFileSync(new URL('../admin.html', import.meta.url), 'utf8');
  const python = new URL('../../../../python/slotwise/gateway/admin.html', import.meta.url);
  assert.equal(page, readFileSync(python, 'utf8'));
  const host = await serving(t, onePool(await engines(t, 'good')), admin);
  const { body, headers } = await host.get('', { base: host.gateway.adminUrl });
  const policy = headers['content-security-policy'];
  assert.equal(body, page);
  assert.ok(policy.includes("default-src 'none'") && !policy.includes('unsafe'));
  assert.equal(policy.split("'sha256-").length, 3);
});

test('an event of a stream reaches the client before the next one exists', async (t) => {
  const pool = await engines(t, 'slow');
  const host = await serving(t, onePool(pool));
  const response = await host.post();
  const [first] = await new Promise((resolve) => response.once('data', (chunk) => resolve([chunk])));
  assert.equal(first.toString(), EVENT);
  pool[0].open();
  await response.toArray();
});
