// What clients of the gateway get under every behaviour of engines, and that nothing leaks.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ASKED, CHAT, CUT_EVENT, ERROR_EVENT, EVENT, WHOLE, engines, onePool, serving, until } from './support/gateway.mjs';

for (const bad of ['dies', 'empty', 'fails', 401, 403, 404, 429, 500, 503, 'dead']) {
  test(`a request that has not begun is sent elsewhere: ${bad}`, async (t) => {
    const pool = await engines(t, bad === 'dead' ? 'good' : bad, 'good');
    if (bad === 'dead') await pool[0].stop();
    const host = await serving(t, onePool(pool));
    for (let asked = 0; asked < 10; asked += 1) {
      const answer = await host.whole();
      assert.deepEqual([answer.status, answer.body], [200, WHOLE]);
    }
    assert.equal(pool[1].asked, 10);
    assert.equal(host.stats().completed, 10);
  });
}

for (const [manner, status] of [[400, 400], [404, 404], [429, 429], [500, 500], ['empty', 503]]) {
  test(`the client gets the refusal of the last engine: ${manner}`, async (t) => {
    const pool = await engines(t, manner, manner);
    const host = await serving(t, onePool(pool));
    const answer = await host.whole();
    assert.equal(answer.status, status);
    assert.ok('error' in answer.json);
    assert.equal(pool[0].asked + pool[1].asked, status === 400 ? 1 : 2);
    assert.equal(host.gateway.statuses.get(status), 1);
  });
}

test('without a reachable engine, the refusal has the shape of the API', async (t) => {
  const pool = await engines(t, 'good');
  const host = await serving(t, onePool(pool));
  await pool[0].stop();
  const first = await host.whole();
  assert.equal(first.status, 503);
  assert.ok('retry-after' in first.headers);
  assert.equal(first.json.error.code, 'no_endpoints');
  const message = await host.whole({ ...ASKED, max_tokens: 4 }, { path: '/v1/messages' });
  assert.ok([503, 529].includes(message.status));
  assert.equal(message.json.type, 'error');
});

test('a stream that breaks off ends with an error event', async (t) => {
  const host = await serving(t, onePool(await engines(t, 'breaks')));
  assert.equal((await host.whole()).body, EVENT + CUT_EVENT);
  assert.equal(host.stats().failed, 1);
  const message = await host.whole({ ...ASKED, max_tokens: 4 }, { path: '/v1/messages' });
  assert.match(message.body, /event: error\ndata: /);
  assert.ok(host.log.some((line) => line.startsWith('warning an answer broke off')), String(host.log));
});

test('an error within a stream reaches the client', async (t) => {
  const host = await serving(t, onePool(await engines(t, 'error')));
  assert.equal((await host.whole()).body, EVENT + ERROR_EVENT);
  assert.equal(host.stats().failed, 1);
});

for (const manner of ['late', 'slow']) {
  test(`a client that disconnects ends the request at the engine: ${manner}`, async (t) => {
    const pool = await engines(t, manner);
    const host = await serving(t, onePool(pool));
    let request;
    const asked = host.post(ASKED, { sent: (sent) => (request = sent) });
    if (manner === 'slow') {
      const response = await asked;
      await once(response, 'data');
      response.on('error', () => {});
    } else {
      asked.catch(() => {});
      await until(() => pool[0].held === 1);
    }
    request.destroy();
    await until(() => host.stats().cancelled === 1 && host.gateway.openRequests === 0 && pool[0].held === 0);
    assert.equal(host.stats().inFlight, 0);
  });
}

test('clients that leave at any moment leave nothing behind', async (t) => {
  const pool = await engines(t, 'late', 'slow');
  const host = await serving(t, onePool(pool));
  const left = Array.from({ length: 500 }, async (_, number) => {
    let request;
    const asked = host.post(ASKED, { sent: (sent) => (request = sent) }).then((response) => response.on('error', () => {}));
    asked.catch(() => {});
    for (let turn = 0; turn < number % 40; turn += 1) await setImmediate();
    request.destroy();
  });
  await Promise.all(left);
  await until(() => host.gateway.openRequests === 0 && pool.every(({ held }) => held === 0));
  const { inFlight, queued, completed } = host.stats();
  assert.deepEqual([inFlight, queued, completed], [0, 0, 0]);
});

for (const body of ['', '{', '[]', '{"model": 3}', Buffer.from([0xff])]) {
  test(`a malformed body is refused: ${body}`, async (t) => {
    const pool = await engines(t, 'good');
    const host = await serving(t, onePool(pool));
    const answer = await host.whole(body);
    assert.ok([400, 404].includes(answer.status), answer.body);
    assert.ok('error' in answer.json);
    assert.equal(pool[0].asked, 0);
  });
}

test('a body above the limit is refused, whether its length is declared or not', async (t) => {
  const host = await serving(t, onePool(await engines(t, 'good')), { maxBody: 1_000 });
  const large = { ...ASKED, padding: 'x'.repeat(1_000) };
  for (const headers of [{}, { 'transfer-encoding': 'chunked' }]) {
    const answer = await host.whole(large, { headers });
    assert.equal(answer.status, 413);
    assert.equal(answer.json.error.code, 'body_too_large');
  }
  assert.equal((await host.whole()).status, 200);
});

const PATHS = [
  ['GET', '/', 404], ['GET', CHAT, 405], ['POST', '/v1/unknown', 404], ['PUT', CHAT, 405],
  ['GET', '/health', 200], ['HEAD', '/health', 200], ['GET', '/ready', 200], ['GET', '/metrics', 200],
];
for (const [method, path, status] of PATHS) {
  test(`${method} ${path} answers ${status}`, async (t) => {
    const host = await serving(t, onePool(await engines(t, 'good')));
    assert.equal((await host.whole(ASKED, { method, path })).status, status);
  });
}

test('engines get no key of a client, and their own', async (t) => {
  const pool = await engines(t, 'good');
  const host = await serving(t, onePool(pool), { engineKey: 'engine-secret' });
  const headers = { authorization: 'Bearer sk-client', 'x-request-id': 'r1', 'content-type': 'text/plain' };
  assert.equal((await host.whole(ASKED, { headers, path: `${CHAT}?x=1` })).status, 200);
  const [got] = pool[0].headers;
  assert.equal(got.authorization, 'Bearer engine-secret');
  assert.equal(got['content-type'], 'application/json');
  assert.equal(got['x-request-id'], 'r1');
  assert.equal(got.host, new URL(pool[0].url).host);
  assert.doesNotMatch(JSON.stringify(got), /sk-client/);
  assert.deepEqual(pool[0].targets, [`${CHAT}?x=1`]);
});

test('a client that expects to be asked for its body is asked once it is known', async (t) => {
  const host = await serving(t, onePool(await engines(t, 'good')));
  let asked = 0;
  const sent = (request) => request.on('continue', () => (asked += 1));
  const answer = await host.whole(ASKED, { headers: { expect: '100-continue' }, sent });
  assert.deepEqual([answer.status, asked], [200, 1]);
});
