// The quickstart of both READMEs runs as it stands: it routes a streaming request to an engine.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { after, before, test } from 'node:test';
import ts from 'typescript';
import { startEngine, textOf } from './support/engine.mjs';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const [, quickstart] = /## Quickstart\n\n```ts\n([^]*?)```/.exec(readme);
// Inside the package, where it is known by its name.
const file = fileURLToPath(new URL(`./quickstart.${process.pid}.tmp.mjs`, import.meta.url));
const body = { model: 'm', messages: [{ role: 'user', content: 'Say hello.' }] };

let engines;
let chat;
let scheduler;

before(async () => {
  engines = [await startEngine(), await startEngine({ breakAfter: 1 }), await startEngine({ status: 503 }), await startEngine()];
  const [good, , , dead] = engines;
  await dead.stop();
  process.env.ENGINES = good.url;
  const code = `${quickstart}\nexport { scheduler };\n`;
  const { outputText } = ts.transpileModule(code, { compilerOptions: { target: 'es2022', module: 'esnext' } });
  writeFileSync(file, outputText);
  ({ chat, scheduler } = await import(pathToFileURL(file)));
});

after(async () => {
  rmSync(file, { force: true });
  await Promise.all(engines.slice(0, 3).map((engine) => engine.stop()));
});

/** Sends everything to one engine. */
function only(engine) {
  scheduler.updateEndpoint(0, engine.url);
}

const counts = () => {
  const { completed, failed, unreachable, cancelled, inFlight } = scheduler.stats();
  return { completed, failed, unreachable, cancelled, inFlight };
};

test('the README of the whole project shows the same', () => {
  const whole = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
  assert.ok(whole.includes(quickstart));
});

test('the quickstart is short', () => {
  const lines = quickstart.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('/**'));
  assert.ok(lines.length <= 20, `${lines.length} lines`);
});

test('it streams an answer, and the request is complete', async () => {
  const response = await chat(body);
  assert.equal(response.status, 200);
  assert.equal(scheduler.stats().inFlight, 1);
  assert.equal(await textOf(response.body), 'Hello, world');
  assert.deepEqual(engines[0].asked, [{ path: '/v1/chat/completions', ...body, stream: true }]);
  assert.deepEqual(counts(), { completed: 1, failed: 0, unreachable: 0, cancelled: 0, inFlight: 0 });
});

test('a client that goes away cancels its request', async () => {
  const response = await chat(body);
  await response.body.cancel();
  assert.deepEqual(counts(), { completed: 1, failed: 0, unreachable: 0, cancelled: 1, inFlight: 0 });
  await assert.rejects(chat(body, AbortSignal.abort()), { name: 'AbortError' });
  assert.equal(counts().inFlight, 0);
});

test('a stream that breaks off fails its request', async () => {
  only(engines[1]);
  const response = await chat(body);
  await assert.rejects(textOf(response.body));
  assert.deepEqual(counts(), { completed: 1, failed: 1, unreachable: 0, cancelled: 1, inFlight: 0 });
});

test('an engine that answers with an error of its own fails its request', async () => {
  only(engines[2]);
  const response = await chat(body);
  assert.equal(response.status, 503);
  await textOf(response.body);
  assert.deepEqual(counts(), { completed: 1, failed: 2, unreachable: 0, cancelled: 1, inFlight: 0 });
});

test('the proxy of the README passes on bytes, and answers refusals', async () => {
  const [, example] = /## From bytes\n[^]*?```ts\n([^]*?)```/.exec(readme);
  const { outputText } = ts.transpileModule(`${example}\nexport { scheduler };\n`, {
    compilerOptions: { target: 'es2022', module: 'esnext' },
  });
  const proxyFile = file.replace('quickstart', 'proxy');
  writeFileSync(proxyFile, outputText);
  try {
    const { proxy, scheduler: own } = await import(pathToFileURL(proxyFile));
    const ask = (more = {}) =>
      proxy(new Request('http://gateway/v1/chat/completions', { method: 'POST', body: JSON.stringify({ ...body, ...more.body }), headers: more.headers }));
    const refused = await ask({ headers: { 'x-llm-d-inference-ttl': '1ms' } });
    assert.equal(refused.status, 503);
    assert.equal((await refused.json()).error.code, 'no_endpoints');
    const id = own.addEndpoint(engines[0].url);
    const answer = await ask({ headers: { 'x-session-id': 's' } });
    assert.equal(await textOf(answer.body), 'Hello, world');
    assert.equal(own.stats().completed, 1);
    await (await ask()).body.cancel();
    assert.equal(own.stats().cancelled, 1);
    own.updateEndpoint(id, engines[1].url);
    const broken = await ask();
    await assert.rejects(textOf(broken.body));
    own.updateEndpoint(id, engines[2].url);
    await textOf((await ask()).body);
    const { failed, inFlight } = own.stats();
    assert.deepEqual([failed, inFlight], [2, 0]);
  } finally {
    rmSync(proxyFile, { force: true });
  }
});

test('an engine that cannot be reached fails its request', async () => {
  only(engines[3]);
  await assert.rejects(chat(body), TypeError);
  assert.deepEqual(counts(), { completed: 1, failed: 3, unreachable: 1, cancelled: 1, inFlight: 0 });
});
