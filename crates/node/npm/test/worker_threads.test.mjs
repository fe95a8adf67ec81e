// Gateways in threads of one process: each has a scheduler of its own, and they share their loads.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { ASKED, CHAT, WHOLE, engines } from './support/gateway.mjs';

async function thread(workerData) {
  const worker = new Worker(new URL('support/gateway_thread.mjs', import.meta.url), { workerData });
  const [url] = await once(worker, 'message');
  return { worker, url };
}

async function ask({ url }) {
  const response = await fetch(url + CHAT, { method: 'POST', body: JSON.stringify(ASKED) });
  return response.text();
}

/** Waits until a gateway's page has this sample. */
async function shows({ url }, sample) {
  while (!(await (await fetch(`${url}/metrics`)).text()).includes(`${sample}\n`)) await setImmediate();
}

test('gateways in threads share their loads, and end without a trace', async (t) => {
  const pool = await engines(t, 'slow', 'slow');
  const directory = mkdtempSync(join(tmpdir(), 'slotwise-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const data = { endpoints: pool.map(({ url }) => url), peers: `unix:${directory}` };
  const threads = await Promise.all([thread(data), thread(data)]);
  const [here, there] = threads;
  for (const one of threads) await shows(one, 'slotwise_gateway_peers_alive{pool="default"} 1');
  const first = ask(here);
  await shows(there, 'slotwise_gateway_peers_in_flight{pool="default"} 1');
  // The other engine is idle.
  const second = ask(there);
  while (pool.some(({ held }) => held !== 1)) await setImmediate();
  pool.forEach((engine) => engine.open());
  assert.deepEqual(await Promise.all([first, second]), [WHOLE, WHOLE]);
  for (const { worker } of threads) {
    worker.postMessage('stop');
    assert.deepEqual(await once(worker, 'message'), [1]);
    // A thread with a timer, a socket or a handle left would not end.
    assert.deepEqual(await once(worker, 'exit'), [0]);
  }
});
