// The gateway behind other servers: Fastify, node:http and Hono, with the same behaviour in each.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import slotwise from 'slotwise/fastify';
import { Gateway } from 'slotwise/gateway';
import { nodeHandler } from 'slotwise/node-http';
import { webHandler } from 'slotwise/web';
import { ASKED, CHAT, CUT_EVENT, EVENT, WHOLE, engines, key, onePool, read, until } from './support/gateway.mjs';

/** A gateway that a host passes requests on to. */
function gatewayOf(pool, { settings, ...configuration } = {}) {
  const others = { address: null, scrapeEveryMs: 3_600_000, maxBody: 10_000, log: () => {}, ...settings };
  return new Gateway(read(onePool(pool, configuration)), others);
}

/** Each adapter by its name: starts a server, and returns its address and how to stop it. */
const ADAPTERS = {
  async fastify(gateway) {
    // Connections without a request: what is in flight has ended before they are closed.
    const app = fastify({ forceCloseConnections: true });
    app.get('/own', async () => 'own');
    await app.register(slotwise, { gateway, prefix: '/llm' });
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    return { url, prefix: '/llm', stop: () => app.close() };
  },
  async 'node:http'(gateway) {
    await gateway.start();
    const server = createServer(nodeHandler(gateway)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const stop = async () => {
      await gateway.stop();
      server.close();
      server.closeAllConnections();
    };
    return { url: `http://127.0.0.1:${server.address().port}`, prefix: '', stop };
  },
};

for (const [name, serve] of Object.entries(ADAPTERS)) {
  async function start(t, pool, more) {
    const gateway = gatewayOf(pool, more);
    const host = await serve(gateway);
    t.after(() => host.stop());
    return { gateway, ...host, chat: host.url + host.prefix + CHAT };
  }
  const post = (url, asked = ASKED, init = {}) => fetch(url, { method: 'POST', body: JSON.stringify(asked), ...init });

  test(`${name}: a stream passes, and the engine gets its own path`, async (t) => {
    const pool = await engines(t, 'dies', 'good');
    const { chat, gateway } = await start(t, pool);
    for (let asked = 0; asked < 5; asked += 1) {
      const response = await post(`${chat}?x=1`);
      assert.deepEqual([response.status, await response.text()], [200, WHOLE]);
    }
    assert.deepEqual(new Set(pool[1].targets), new Set([`${CHAT}?x=1`]));
    await until(() => gateway.openRequests === 0);
  });

  test(`${name}: pages, refusals and limits are those of the gateway`, async (t) => {
    const pool = await engines(t, 'good');
    const { chat, url, prefix } = await start(t, pool, { gates: { keys: [key('alice')] } });
    const alice = { headers: { authorization: 'Bearer sk-alice' } };
    assert.equal((await fetch(`${url}${prefix}/ready`)).status, 200);
    assert.match(await (await fetch(`${url}${prefix}/metrics`)).text(), /# EOF\n$/);
    assert.equal((await post(chat)).status, 401);
    assert.equal((await post(chat, { ...ASKED, padding: 'x'.repeat(10_000) }, alice)).status, 413);
    assert.equal((await fetch(`${url}${prefix}/none`)).status, 404);
    const answer = await post(chat, ASKED, alice);
    assert.deepEqual([answer.status, await answer.text()], [200, WHOLE]);
    assert.equal(pool[0].asked, 1);
  });

  test(`${name}: a client that leaves ends the request at the engine`, async (t) => {
    const pool = await engines(t, 'slow');
    const { chat, gateway } = await start(t, pool);
    const client = new AbortController();
    const response = await post(chat, ASKED, { signal: client.signal });
    const reader = response.body.getReader();
    assert.equal(Buffer.from((await reader.read()).value).toString(), EVENT);
    client.abort();
    await until(() => gateway.openRequests === 0 && pool[0].held === 0);
    assert.equal(gateway.pools.get('default').scheduler.stats().cancelled, 1);
  });

  test(`${name}: what breaks off ends with an error event, or breaks off`, async (t) => {
    const pool = await engines(t, 'breaks');
    const { chat } = await start(t, pool);
    assert.equal(await (await post(chat)).text(), EVENT + CUT_EVENT);
    pool[0].manner = 'within';
    await assert.rejects(async () => (await post(chat)).text());
  });
}

test('the routes of a Fastify server beside the plugin stay as they are', async (t) => {
  const { url, stop } = await ADAPTERS.fastify(gatewayOf(await engines(t, 'good')));
  t.after(stop);
  assert.equal(await (await fetch(`${url}/own`)).text(), 'own');
});

test('closing a Fastify server finishes what is in flight', async (t) => {
  const pool = await engines(t, 'slow');
  const gateway = gatewayOf(pool);
  const { url, stop } = await ADAPTERS.fastify(gateway);
  const response = await fetch(`${url}/llm${CHAT}`, { method: 'POST', body: JSON.stringify(ASKED) });
  const stopped = stop();
  await until(() => gateway.stopping);
  pool[0].open();
  assert.equal(await response.text(), WHOLE);
  await stopped;
});

test('a body that was read before is a mistake that the log explains', async (t) => {
  const log = [];
  const settings = { log: (_, message) => log.push(message) };
  const gateway = gatewayOf(await engines(t, 'good'), { settings });
  const handle = nodeHandler(gateway);
  const server = createServer(async (request, response) => {
    await request.toArray();
    handle(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const url = `http://127.0.0.1:${server.address().port}${CHAT}`;
  assert.equal((await fetch(url, { method: 'POST', body: JSON.stringify(ASKED) })).status, 500);
  assert.match(log[0], /put the gateway before parsers of bodies/);
});

/** An application of Hono with the gateway behind it. */
async function hono(t, pool, more) {
  const gateway = gatewayOf(pool, more);
  await gateway.start();
  t.after(() => gateway.stop());
  const handle = webHandler(gateway);
  const app = new Hono();
  app.all('*', (context) => handle(context.req.raw, { client: '10.0.0.9' }));
  const post = (asked = ASKED, init = {}) => app.request(CHAT, { method: 'POST', body: JSON.stringify(asked), ...init });
  return { app, gateway, post };
}

test('Hono: a stream passes, and pages and refusals are those of the gateway', async (t) => {
  const pool = await engines(t, 'dies', 'good');
  const { app, gateway, post } = await hono(t, pool);
  for (let asked = 0; asked < 5; asked += 1) {
    const response = await post();
    assert.equal(response.headers.get('content-type'), 'text/event-stream');
    assert.deepEqual([response.status, await response.text()], [200, WHOLE]);
  }
  assert.equal(gateway.openRequests, 0);
  assert.equal((await app.request('/health')).status, 200);
  assert.equal((await app.request('/health', { method: 'HEAD' })).status, 200);
  assert.equal((await post({ ...ASKED, padding: 'x'.repeat(10_000) })).status, 413);
  assert.equal((await app.request('/none', { method: 'POST' })).status, 404);
});

test('Hono: a client that leaves or drops the body ends the request at the engine', async (t) => {
  const pool = await engines(t, 'slow');
  const { gateway, post } = await hono(t, pool);
  const first = await post();
  await first.body.cancel();
  const client = new AbortController();
  const second = await post(ASKED, { signal: client.signal });
  const rest = second.text();
  client.abort();
  await assert.rejects(rest);
  await until(() => gateway.openRequests === 0 && pool[0].held === 0);
  assert.equal(gateway.pools.get('default').scheduler.stats().cancelled, 2);
});

test('Hono: what breaks off ends with an error event, and clients have limits by their address', async (t) => {
  const limits = { quotas: [{ measure: 'requests', limit: 1, window: 86_400 }] };
  const { post } = await hono(t, await engines(t, 'breaks'), { gates: { anonymous: { limits } } });
  assert.equal(await (await post()).text(), EVENT + CUT_EVENT);
  assert.equal((await post()).status, 429);
});
