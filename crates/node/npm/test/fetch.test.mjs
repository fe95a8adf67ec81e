// A `fetch` that routes, without client libraries: what is sent where, and how each request ends.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { Scheduler } from 'slotwise';
import { routedFetch } from 'slotwise/fetch';
import { textOf } from './support/engine.mjs';

const [A, B] = ['http://a:1', 'http://b:2/'];
const BODY = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] });
const CHAT = 'https://api.openai.com/v1/chat/completions';
const JSON_TYPE = { 'content-type': 'application/json' };
const ANSWER = { choices: [{ index: 0, message: { role: 'assistant', content: 'Yes' }, finish_reason: 'stop' }], usage: { prompt_tokens: 3, completion_tokens: 1 } };

const answer = (status = 200, body = ANSWER, headers = {}) =>
  new Response(JSON.stringify(body), { status, headers: { ...JSON_TYPE, ...headers } });

function routed(engines, respond, options = {}) {
  const scheduler = new Scheduler({ seed: 1 });
  engines.forEach((engine) => scheduler.addEndpoint(engine));
  const sent = [];
  const fetch = routedFetch(scheduler, {
    fetch: async (url, init) => {
      sent.push({ url, ...init, headers: Object.fromEntries(new Headers(init.headers)), text: String(Buffer.from(init.body ?? '')) });
      return respond(url, init);
    },
    ...options,
  });
  return { scheduler, fetch, sent };
}

function counts(scheduler) {
  const { completed, failed, cancelled, inFlight, queued } = scheduler.stats();
  return [completed, failed, cancelled, inFlight + queued];
}

test('a request keeps its path and body, and an engine replaces the host', async () => {
  const { fetch, sent, scheduler } = routed([B], () => answer());
  assert.equal(fetch.scheduler, scheduler);
  const headers = { ...JSON_TYPE, authorization: 'Bearer secret', 'x-trace': '7' };
  const response = await fetch(`${CHAT}?v=1`, { method: 'POST', body: BODY, headers });
  assert.deepEqual([response.status, await response.json()], [200, ANSWER]);
  const [{ url, method, redirect, text }] = sent;
  assert.deepEqual([url, method, redirect, text], ['http://b:2/v1/chat/completions?v=1', 'POST', 'manual', BODY]);
  assert.deepEqual(sent[0].headers, { ...JSON_TYPE, 'x-trace': '7' });
  assert.deepEqual(counts(scheduler), [1, 0, 0, 0]);
});

test('every form of a request is read', async () => {
  const { fetch, sent } = routed([A], () => answer());
  const init = { method: 'POST', body: BODY, headers: JSON_TYPE };
  const forms = [
    [new Request(CHAT, init)],
    [new URL(CHAT), init],
    ['/v1/chat/completions', init],
    [CHAT, { ...init, method: 'post', body: Buffer.from(BODY) }],
    [CHAT, { ...init, body: new Blob([BODY]) }],
    [CHAT, { ...init, body: new Blob([BODY]).stream(), duplex: 'half' }],
    [new Request(CHAT, { ...init, body: 'another' }), { body: BODY }],
    [CHAT, { method: 'POST', body: Buffer.from(BODY) }],
  ];
  for (const form of forms) {
    await (await fetch(...form)).text();
  }
  assert.equal(sent.length, forms.length);
  for (const { url, text, headers } of sent) {
    assert.deepEqual([url, text, headers['content-type']], ['http://a:1/v1/chat/completions', BODY, 'application/json']);
  }
  const form = new FormData();
  form.set('model', 'm');
  form.set('file', new Blob(['RIFF']), 'a.wav');
  await (await fetch('/v1/audio/transcriptions', { method: 'POST', body: form })).text();
  assert.match(sent.at(-1).headers['content-type'], /^multipart\/form-data; boundary=/);
  assert.match(sent.at(-1).text, /RIFF/);
});

test('keys go to the engines only if the host says so', async () => {
  const options = { headers: { authorization: 'Bearer of the engine' } };
  const headers = { ...JSON_TYPE, authorization: 'Bearer secret' };
  const seen = [];
  for (const more of [{}, options, { credentials: true }, { ...options, credentials: true }]) {
    const { fetch, sent } = routed([A], () => answer(), more);
    await (await fetch(CHAT, { method: 'POST', body: BODY, headers })).text();
    await fetch('/v1/models', { headers });
    seen.push(sent.map((one) => one.headers.authorization));
  }
  const engine = 'Bearer of the engine';
  assert.deepEqual(seen, [[undefined, undefined], [engine, engine], ['Bearer secret', 'Bearer secret'], [engine, engine]]);
});

test('attributes are those of all requests, or of each', async () => {
  const asked = [];
  const attributes = (request) => {
    asked.push([request.path, request.headers.get('x-tenant'), String(Buffer.from(request.body))]);
    return { timeoutMs: 0, exclude: [0] };
  };
  const { fetch, sent } = routed([A], () => answer(), { attributes });
  const response = await fetch(CHAT, { method: 'POST', body: BODY, headers: { 'x-tenant': 't' } });
  assert.deepEqual([response.status, sent.length], [503, 0]);
  assert.deepEqual(asked, [['/v1/chat/completions', 't', BODY]]);
  const fixed = routed([A], () => answer(), { attributes: { exclude: [0], timeoutMs: 0 } });
  assert.equal((await fixed.fetch(CHAT, { method: 'POST', body: BODY })).status, 503);
});

test('a failure before the first byte goes to another engine', async () => {
  for (const failure of [new TypeError('fetch failed'), answer(500, {}), answer(429, {}, { 'retry-after': '9' })]) {
    const { fetch, sent, scheduler } = routed([A, B], () => {
      if (sent.length !== 1) return answer();
      if (failure instanceof Error) throw failure;
      return failure;
    });
    const response = await fetch(CHAT, { method: 'POST', body: BODY });
    assert.deepEqual([response.status, await response.json(), sent.length], [200, ANSWER, 2]);
    assert.notEqual(sent[0].url, sent[1].url);
    assert.equal(counts(scheduler)[3], 0);
  }
});

test('if all engines are full, the client gets the refusal with its retry time', async () => {
  const { fetch, scheduler } = routed([A, B], () => answer(429, { error: { message: 'full' } }, { 'retry-after': '9' }));
  const response = await fetch(CHAT, { method: 'POST', body: BODY });
  assert.deepEqual([response.status, response.headers.get('retry-after')], [429, '9']);
  assert.deepEqual(await response.json(), { error: { message: 'full' } });
  assert.equal(counts(scheduler)[3], 0);
});

test('a refusal of the scheduler and a malformed body are responses', async () => {
  const { fetch } = routed([], () => assert.fail('nothing is sent'));
  const none = await fetch('/v1/messages', { method: 'POST', body: '{"model":"m","max_tokens":1,"messages":[]}' });
  assert.deepEqual([none.status, (await none.json()).type], [503, 'error']);
  const malformed = await fetch(CHAT, { method: 'POST', body: '{' });
  assert.deepEqual([malformed.status, (await malformed.json()).error.code], [400, 'truncated']);
  assert.equal((await fetch('/v1/models')).status, 503);
  await assert.rejects(fetch('http://['), TypeError);
});

test('other requests go to an engine, and leave no trace', async () => {
  const { fetch, sent, scheduler } = routed([A, B], (url) => {
    if (url.startsWith('http://a')) throw new TypeError('fetch failed');
    return answer(200, { data: [] });
  });
  for (let round = 0; round < 4; round += 1) {
    assert.deepEqual(await (await fetch('/v1/models?x=1')).json(), { data: [] });
  }
  assert.equal(sent.at(-1).url, 'http://b:2/v1/models?x=1');
  assert.ok(sent.length <= 5, 'an engine that is unreachable is not asked again at once');
  assert.deepEqual(counts(scheduler), [0, 0, 0, 0]);
  // A request that may have an effect is not repeated.
  const failing = routed([A, B], () => {
    throw new TypeError('fetch failed');
  });
  await assert.rejects(failing.fetch('/v1/files', { method: 'POST', body: 'x' }), /fetch failed/);
  assert.equal(failing.sent.length, 1);
  await assert.rejects(failing.fetch('/v1/models'), /fetch failed/);
});

test('a request for a stored response goes to its engine', async () => {
  const { fetch, sent } = routed([A, B], () =>
    answer(200, { id: 'resp_7', object: 'response', status: 'completed', output: [], usage: { input_tokens: 1, output_tokens: 1 } }));
  await (await fetch('/v1/responses', { method: 'POST', body: '{"model":"m","input":"Hi"}' })).text();
  const [engine] = sent[0].url.split('/v1');
  for (let round = 0; round < 8; round += 1) {
    await (await fetch('/v1/responses/resp_7')).text();
  }
  assert.deepEqual(new Set(sent.slice(1).map(({ url }) => url)), new Set([`${engine}/v1/responses/resp_7`]));
});

test('an abort rejects with its reason, wherever the request is', async () => {
  const reason = new Error('enough');
  const aborted = AbortSignal.abort(reason);
  const { fetch, scheduler } = routed([A], (_, { signal }) => new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  }));
  for (const path of [CHAT, '/v1/models']) {
    const method = path === CHAT ? 'POST' : 'GET';
    const init = method === 'POST' ? { method, body: BODY } : { method };
    await assert.rejects(fetch(path, { ...init, signal: aborted }), reason);
    const abort = new AbortController();
    const waiting = fetch(new Request(new URL(path, CHAT), { ...init, signal: abort.signal }));
    abort.abort(reason);
    await assert.rejects(waiting, reason);
  }
  assert.equal(counts(scheduler)[3], 0);
});

test('mistakes are errors', async () => {
  const scheduler = new Scheduler();
  assert.throws(() => routedFetch(scheduler, { attribute: {} }), /attribute/);
  assert.throws(() => routedFetch({ engine: [A] }), /engine/);
  assert.throws(() => routedFetch(scheduler, { fetch: 'fetch' }), /fetch/);
  assert.throws(() => routedFetch(scheduler, { headers: [['a']] }), /pair/);
  await assert.rejects(routedFetch({ engines: [A], config: { seeed: 1 } }), /seeed/);
  await assert.rejects(routedFetch({ engines: [A], scrape: { intervalMs: 0 } }), /intervalMs/);
});

test('with engines, it scrapes them until it is closed, and lets requests in flight end', async () => {
  const asked = [];
  const pages = createServer(({ url }, response) => {
    asked.push(url);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n');
    if (url.startsWith('/v1')) finish = () => response.end('data: {"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
    else response.end();
  });
  let finish;
  pages.listen(0, '127.0.0.1');
  await once(pages, 'listening');
  const log = { info() {}, warn() {}, error: assert.fail };
  try {
    const fetch = await routedFetch({
      engines: [`http://127.0.0.1:${pages.address().port}`],
      scrape: { intervalMs: 1, timeoutMs: 60_000 },
      log,
    });
    const response = await fetch(CHAT, { method: 'POST', body: BODY.replace('{', '{"stream":true,') });
    while (!asked.includes('/metrics')) await new Promise((resolve) => setTimeout(resolve, 1));
    const closing = fetch.close();
    assert.equal(fetch.close(), closing);
    finish();
    assert.equal(await textOf(response.body), 'Hello');
    await closing;
    assert.ok(fetch.scheduler.closed);
    await assert.rejects(fetch(CHAT, { method: 'POST', body: BODY }), { code: 'closed' });
  } finally {
    pages.closeAllConnections();
    pages.close();
  }
});

test('10,000 aborted requests leave no request, no timer and no handle: the process ends by itself', async () => {
  // Engines that answer late, and that hold their answer after the first token.
  const open = new Set();
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    open.add(response);
    response.on('close', () => open.delete(response));
    request.resume();
    if (requests % 2 === 0) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n');
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const args = [fileURLToPath(new URL('support/aborts.mjs', import.meta.url)), `http://127.0.0.1:${server.address().port}`];
  const child = await new Promise((resolve) => {
    execFile(process.execPath, args, (error, stdout, stderr) => resolve({ error, stdout, stderr }));
  });
  assert.equal(child.error, null, child.stderr);
  const { aborted, begun, stats, resources } = JSON.parse(child.stdout);
  assert.equal(aborted, 10_000);
  assert.ok(begun > 0 && begun < 10_000, `${begun} were aborted in their stream, the others before`);
  assert.deepEqual([stats.inFlight, stats.queued, stats.completed, stats.failed], [0, 0, 0, 0]);
  assert.ok(stats.cancelled > 0 && stats.cancelled <= 10_000);
  assert.ok(!resources.includes('Timeout'), resources.join());
  while (open.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  server.closeAllConnections();
  server.close();
});
