// The code of the READMEs runs unchanged, against engines that answer, refuse, fail, break off or
// are unreachable.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { test } from 'node:test';
import ts from 'typescript';
import { Engine, textOf } from './support/engine.mjs';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const [, quickstart] = /## Quickstart\n\n```ts\n([^]*?)```/.exec(readme);
const [, fromBytes] = /## From bytes\n[^]*?```ts\n([^]*?)```/.exec(readme);
const chatRequest = { model: 'm', messages: [{ role: 'user', content: 'Say hello.' }] };
let modules = 0;

/** Runs code of the README with engines of these manners in its pool. */
async function withEngines(code, manners, run) {
  const engines = await Promise.all(manners.map((manner) => new Engine(manner === 'dead' ? 'good' : manner).start()));
  await Promise.all(engines.filter((_, at) => manners[at] === 'dead').map((engine) => engine.stop()));
  // Inside the package, where it is known by its name.
  const file = fileURLToPath(new URL(`./quickstart.${process.pid}.${(modules += 1)}.tmp.mjs`, import.meta.url));
  const { outputText } = ts.transpileModule(`${code}\nexport { scheduler };\n`, {
    compilerOptions: { target: 'es2022', module: 'esnext' },
  });
  writeFileSync(file, outputText);
  process.env.ENGINES = engines.map(({ url }) => url).join(',');
  try {
    const module = await import(pathToFileURL(file));
    if (!code.includes('ENGINES')) engines.forEach(({ url }) => module.scheduler.addEndpoint(url));
    const ask = (signal) => (module.chat ?? ((body) => module.proxy(incoming(body, signal))))(chatRequest, signal);
    await run({ ask, engines, scheduler: module.scheduler });
  } finally {
    rmSync(file, { force: true });
    await Promise.all(engines.filter((_, at) => manners[at] !== 'dead').map((engine) => engine.stop()));
  }
}

function incoming(body, signal) {
  const url = 'http://gateway/v1/chat/completions';
  return new Request(url, { method: 'POST', body: JSON.stringify({ ...body, stream: true }), signal });
}

const counts = (scheduler) => {
  const { completed, failed, cancelled, inFlight } = scheduler.stats();
  return { completed, failed, cancelled, inFlight };
};

test('the README of the whole project shows the same', () => {
  const whole = readFileSync(new URL('../../../../README.md', import.meta.url), 'utf8');
  assert.ok(whole.includes(quickstart));
});

test('the quickstart is short', () => {
  const lines = quickstart.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('/**'));
  assert.ok(lines.length <= 20, `${lines.length} lines`);
});

for (const [name, code] of Object.entries({ quickstart, 'from bytes': fromBytes })) {
  test(`${name}: an answer is streamed, and the request is complete`, () =>
    withEngines(code, ['good'], async ({ ask, engines, scheduler }) => {
      const response = await ask();
      assert.equal(response.status, 200);
      assert.equal(scheduler.stats().inFlight, 1);
      assert.equal(await textOf(response.body), 'xx');
      const [{ bodies, targets, headers }] = engines;
      assert.deepEqual([targets, headers[0]['content-type']], [['/v1/chat/completions'], 'application/json']);
      assert.deepEqual(bodies.map((body) => JSON.parse(body)), [{ ...chatRequest, stream: true }]);
      assert.deepEqual(counts(scheduler), { completed: 1, failed: 0, cancelled: 0, inFlight: 0 });
    }));

  test(`${name}: a client that leaves cancels its request`, () =>
    withEngines(code, ['slow'], async ({ ask, scheduler }) => {
      await (await ask()).body.cancel();
      assert.deepEqual(counts(scheduler), { completed: 0, failed: 0, cancelled: 1, inFlight: 0 });
      await assert.rejects(async () => ask(AbortSignal.abort()), { name: 'AbortError' });
      assert.equal(counts(scheduler).inFlight, 0);
    }));

  for (const manner of [404, 429, 500, 'dies', 'empty', 'fails', 'dead']) {
    test(`${name}: an engine of the manner ${manner} costs no request`, () =>
      withEngines(code, [manner, manner, 'good'], async ({ ask, engines, scheduler }) => {
        for (let sent = 0; sent < 10; sent += 1) {
          const response = await ask();
          assert.equal(response.status, 200);
          assert.equal(await textOf(response.body), 'xx');
        }
        assert.equal(engines[2].asked, 10);
        const { completed, inFlight } = counts(scheduler);
        assert.deepEqual([completed, inFlight], [10, 0]);
      }));
  }

  for (const [manner, status, ends] of [
    [400, 400, { completed: 0, failed: 0, cancelled: 1, inFlight: 0 }],
    ['refuses', 200, { completed: 0, failed: 0, cancelled: 1, inFlight: 0 }],
    ['error', 200, { completed: 0, failed: 1, cancelled: 0, inFlight: 0 }],
    ['dead', 503, { completed: 0, failed: 1, cancelled: 0, inFlight: 0 }],
  ]) {
    test(`${name}: the client of an engine of the manner ${manner} gets ${status}`, () =>
      withEngines(code, [manner], async ({ ask, scheduler }) => {
        const response = await ask();
        assert.equal(response.status, status);
        await response.text();
        assert.deepEqual(counts(scheduler), ends);
      }));
  }

  test(`${name}: a stream that breaks off ends with an error event, and fails its request`, () =>
    withEngines(code, ['breaks'], async ({ ask, scheduler }) => {
      assert.match(await (await ask()).text(), /"code":"engine_failed"/);
      assert.deepEqual(counts(scheduler), { completed: 0, failed: 1, cancelled: 0, inFlight: 0 });
    }));
}
