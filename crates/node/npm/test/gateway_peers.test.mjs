// Gateways that share their pools by sockets in a directory: one setting for each.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Gateway } from 'slotwise/gateway';
import { seedOf } from 'slotwise/peers';
import { keyOf } from 'slotwise/peers/unix';
import { engines, onePool, read, serving, until } from './support/gateway.mjs';

const manual = (name) => readFileSync(new URL(`../../../../docs/src/${name}`, import.meta.url), 'utf8');
const PAGE = manual('gateways_transports.md');
const METRICS = manual('observability.md');
const KEY = 'sixteen bytes or more';

function folder(t) {
  const made = mkdtempSync(join(tmpdir(), 'slotwise-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

const sockets = (directory, pool) => {
  const channel = join(directory, `channel-${pool}`);
  return existsSync(channel) ? readdirSync(channel).filter((name) => name.endsWith('.sock')) : [];
};
const alive = ({ gateway }, pool = 'default') => gateway.peering.alive(pool);
const inFlight = ({ gateway }) => {
  const text = [...gateway.peering.pages(['default'])].map(([, page]) => page).join('');
  return Number(/^slotwise_gateway_peers_in_flight (\d+)$/m.exec(text)[1]);
};
const seed = ({ gateway }, pool = 'default') => gateway.pools.get(pool).scheduler.config.seed;

test('two gateways count each other', async (t) => {
  const pool = await engines(t, 'slow', 'slow');
  const peers = `unix:${folder(t)}`;
  const here = await serving(t, onePool(pool), { peers, name: 'a', admin: { host: '127.0.0.1', port: 0 } });
  const there = await serving(t, onePool(pool), { peers, name: 'b' });
  await until(() => alive(here)[0] === 'b' && alive(there)[0] === 'a');
  assert.deepEqual((await here.get('/health')).json, { status: 'ok', peers: { default: 1 } });
  const state = await here.get('state.json', { base: here.gateway.adminUrl });
  const { peers: shown } = state.json.pools[0];
  assert.deepEqual(shown, { name: 'a', alive: ['b'], connected: true, dropped: 0, rejections: {} });

  const first = here.whole();
  await until(() => inFlight(there) === 1);
  // The other engine is idle.
  const second = there.whole();
  await until(() => pool[0].held === 1 && pool[1].held === 1);
  pool.forEach((engine) => engine.open());
  assert.deepEqual([(await first).status, (await second).status], [200, 200]);
  await until(() => inFlight(here) + inFlight(there) === 0);

  const { body } = await here.get('/metrics');
  const listed = new Set((PAGE + METRICS).match(/slotwise_gateway_peer\w+/g));
  for (const [name] of body.matchAll(/^slotwise_gateway_peer\w+/gm)) assert.ok(listed.has(name), name);
  for (const name of listed) assert.ok(body.includes(`\n${name}{pool="default"`), name);
  assert.ok(body.includes('peer_message_age_seconds{pool="default",peer="b"} '));
  const families = [...body.matchAll(/^# TYPE (\S+)/gm)].map(([, family]) => family);
  assert.equal(families.length, new Set(families).size);
  assert.ok(body.includes('slotwise_gateway_peers_alive{pool="default"} 1\n'));
  assert.ok(body.endsWith('# EOF\n') && body.split('# EOF').length === 2);
});

test('a stop sends the ends of the last requests, then leaves', async (t) => {
  const pool = await engines(t, 'slow', 'slow');
  const directory = folder(t);
  const here = await serving(t, onePool(pool), { peers: `unix:${directory}` });
  const there = await serving(t, onePool(pool), { peers: `unix:${directory}` });
  await until(() => alive(here).length === 1 && alive(there).length === 1);
  const last = there.whole();
  await until(() => inFlight(here) === 1);
  const stop = there.gateway.stop();
  // It still shares while it drains.
  const other = here.whole();
  await until(() => inFlight(there) === 1 && pool.every(({ held }) => held === 1));
  pool.forEach((engine) => engine.open());
  assert.deepEqual([(await last).status, (await other).status], [200, 200]);
  await stop;
  assert.equal(sockets(directory, 'default').length, 1);
  await until(() => inFlight(here) === 0);
});

test('a reload shares new pools and leaves others', async (t) => {
  const directory = folder(t);
  const peers = `unix:${directory}`;
  const [{ url }] = await engines(t, 'good');
  const pools = (...names) => ({ pools: names.map((name) => ({ name, endpoints: [url], models: [name] })) });
  const here = await serving(t, pools('one'), { peers });
  const there = await serving(t, pools('one', 'two'), { peers });
  await until(() => alive(here, 'one').length === 1 && alive(there, 'one').length === 1);
  assert.deepEqual(alive(there, 'two'), []);
  here.gateway.apply(read(pools('two')));
  await until(() => alive(here, 'two').length === 1 && alive(there, 'two').length === 1);
  // The pool that left is idle, so its socket goes.
  await until(() => sockets(directory, 'one').length === 1);
  assert.deepEqual(alive(here, 'one'), []);
  assert.equal(seed(here, 'two'), seedOf(keyOf(directory)));
  // A further configuration without a seed keeps it.
  here.gateway.apply(read(pools('two')));
  assert.equal(seed(here, 'two'), here.gateway.peering.seed);
  await Promise.all([here.gateway.stop(), there.gateway.stop()]);
  assert.deepEqual(['one', 'two'].flatMap((pool) => sockets(directory, pool)), []);
});

test('the seed of the configuration is kept', (t) => {
  const directory = folder(t);
  const settings = { peers: `unix:${directory}` };
  const made = (more, given) => ({ gateway: new Gateway(read({ endpoints: [], ...more }), given) });
  assert.equal(seed(made({ scheduler: { seed: 4 } }, settings)), 4);
  assert.equal(seed(made({}, settings)), seedOf(keyOf(directory)));
  assert.equal(seed(made({}, { ...settings, peersKey: KEY })), seedOf(KEY));
  assert.notEqual(seed(made({}, {})), seed(made({}, {})), 'drawn');
  assert.equal(made({}, {}).gateway.peering, null);
});

test('a gateway that shares nothing shows no peers', async (t) => {
  const host = await serving(t, onePool(await engines(t, 'good')), { admin: { host: '127.0.0.1', port: 0 } });
  assert.deepEqual((await host.get('/health')).json, { status: 'ok' });
  assert.equal((await host.get('state.json', { base: host.gateway.adminUrl })).json.pools[0].peers, null);
  assert.doesNotMatch((await host.get('/metrics')).body, /gateway_peer/);
});

test('incomplete settings are mistakes', () => {
  const made = (settings) => () => new Gateway(read({ endpoints: [] }), settings);
  assert.throws(made({ peers: 'redis://a' }), /need a key: --peers-key-file FILE/);
  assert.throws(made({ peers: 'http://a', peersKey: KEY }), /must be redis:\/\//);
});

test('the options are those of the gateway for Python', async (t) => {
  const { parse } = await import(new URL('../dist/gateway/arguments.js', import.meta.url).href);
  const path = join(folder(t), 'key');
  const words = ['--engines', 'http://a:1', '--peers', 'redis://a', '--peers-key-file', path];
  // Whitespace around a key does not belong to it; its other bytes do, text or not.
  for (const key of [KEY, Buffer.from([0xa0, ...Array(16).fill(0), 0x85])]) {
    writeFileSync(path, Buffer.concat([Buffer.from(' '), Buffer.from(key), Buffer.from('\r\n')]));
    const { settings } = await parse([...words, '--gateway-name', 'eu-1']);
    assert.deepEqual([settings.peers, settings.name], ['redis://a', 'eu-1']);
    assert.deepEqual(Buffer.from(settings.peersKey), Buffer.from(key));
  }
});
