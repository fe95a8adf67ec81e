// Client libraries work unchanged through a `fetch` that routes, and each request is settled.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { routedFetch } from 'slotwise/fetch';
import { CLIENTS } from './clients.mjs';
import { Engine } from './engine.mjs';

const TOOL = { name: 'weather', arguments: '{"city":"Oslo"}' };
const log = { info() {}, warn() {}, error: assert.fail };

async function until(condition) {
  while (!condition()) await delay(5);
}

/** Runs with engines of these manners. */
async function withEngines(manners, run) {
  const engines = await Promise.all(manners.map((manner) => new Engine(manner).start()));
  const fetch = await routedFetch({ engines: engines.map(({ url }) => url), config: { seed: 1 }, log });
  try {
    await run(fetch, engines);
  } finally {
    await fetch.close({ timeoutMs: 0 });
    await Promise.all(engines.map((engine) => engine.stop()));
  }
}

function counts({ scheduler }) {
  const { completed, failed, cancelled, inFlight, queued } = scheduler.stats();
  return { completed, failed, cancelled, open: inFlight + queued };
}

for (const [name, client] of Object.entries(CLIENTS)) {
  test(`${name}: every call is answered, and completes its request`, () =>
    withEngines(['good', 'good'], async (fetch, engines) => {
      const calls = client(fetch, 0);
      for (const [call, ask] of Object.entries(calls)) {
        const wanted = call === 'models' ? 'm' : call.includes('tools') ? TOOL : 'Hello, world';
        assert.deepEqual(await ask(), wanted, call);
      }
      const asked = engines.flatMap((engine) => engine.asked);
      assert.equal(asked.length, Object.keys(calls).length);
      const routed = asked.filter(({ path }) => path !== '/v1/models').length;
      await until(() => counts(fetch).open === 0);
      assert.deepEqual(counts(fetch), { completed: routed, failed: 0, cancelled: 0, open: 0 });
      assert.ok(asked.every(({ headers }) => headers.authorization === undefined && headers['x-api-key'] === undefined));
    }));

  for (const manner of ['dies', 500, 503, 429]) {
    test(`${name}: an engine of the manner ${manner} costs no request, without retries of its own`, () =>
      withEngines([manner, manner], async (fetch, engines) => {
        // Whichever engine is asked first, the other one is good.
        engines.forEach((engine, at) => {
          engine.onAsked = () => {
            if (engine.manner === manner) engines[1 - at].manner = 'good';
          };
        });
        const { unary, stream } = client(fetch, 0);
        for (let round = 0; round < 3; round += 1) {
          assert.equal(await unary(), 'Hello, world');
          assert.equal(await stream(), 'Hello, world');
        }
        const asked = engines.map((engine) => engine.asked.length).sort((one, other) => one - other);
        assert.equal(asked[1], 6);
        assert.ok(asked[0] > 0);
        await until(() => counts(fetch).open === 0);
        assert.equal(counts(fetch).completed, 6);
      }));
  }

  test(`${name}: it waits for the retry time of engines that are full, and asks again`, () =>
    withEngines([429], async (fetch, [engine]) => {
      const { unary } = client(fetch, 8);
      const answer = unary();
      await until(() => engine.asked.length > 0);
      engine.manner = 'good';
      assert.equal(await answer, 'Hello, world');
      assert.equal(counts(fetch).open, 0);
    }));

  test(`${name}: an error of the client is an error of the library, and no other engine is asked`, () =>
    withEngines([400, 400], async (fetch, engines) => {
      const { unary, stream } = client(fetch, 0);
      for (const ask of [unary, stream]) {
        await assert.rejects(ask, (error) => {
          const status = error.status ?? error.statusCode ?? error.lastError?.statusCode;
          assert.equal(status, 400);
          assert.match(String(error.message), /status 400/);
          return true;
        });
      }
      assert.equal(engines[0].asked.length + engines[1].asked.length, 2);
      await until(() => counts(fetch).open === 0);
      assert.deepEqual(counts(fetch), { completed: 0, failed: 0, cancelled: 2, open: 0 });
    }));

  for (const [manner, call] of [['silent', 'unary'], ['silent', 'stream'], ['holds', 'stream']]) {
    test(`${name}: an abort of a ${call} at an engine that is ${manner} cancels it`, () =>
      withEngines([manner], async (fetch, [engine]) => {
        const abort = new AbortController();
        const answer = client(fetch, 0)[call](abort.signal);
        // Some libraries end an aborted stream without an error.
        const ended = answer.then(
          (text) => assert.ok(call === 'stream' && text !== 'Hello, world', text),
          (error) => assert.match(`${error.name} ${error.message}`, /abort/i),
        );
        await until(() => engine.asked.length === 1 && engine.open.size > 0);
        abort.abort();
        await ended;
        await until(() => engine.open.size === 0 && counts(fetch).open === 0);
        assert.equal(engine.asked.length, 1);
        assert.deepEqual(counts(fetch), { completed: 0, failed: 0, cancelled: 1, open: 0 });
      }));
  }
}
