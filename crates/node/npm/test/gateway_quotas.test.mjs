// A quota that two gateways share by sockets in a directory holds for both together.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RefusedError } from 'slotwise/gates';
import { ASKED, engines, key, onePool, read, serving, until } from './support/gateway.mjs';

const ALICE = { authorization: 'Bearer sk-alice' };
const limits = { concurrent_requests: 1, quotas: [{ measure: 'requests', limit: 3, window: 3_600 }] };
const gates = { keys: [key('alice', { limits })], shared: true };

/** What a request of alice would exceed now. */
function exceeded({ gateway: { ingress } }) {
  try {
    ingress.cancel(ingress.admit({ model: 'm', headers: ALICE }));
    return null;
  } catch (error) {
    assert.ok(error instanceof RefusedError, error);
    return error.exceeded.measure;
  }
}

test('two gateways grant one quota together', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'slotwise-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const peers = `unix:${directory}`;
  const pool = await engines(t, 'slow');
  const [a, b] = [
    await serving(t, onePool(pool, { gates }), { peers }),
    await serving(t, onePool(pool, { gates: { ...gates, shared: false } }), { peers }),
  ];
  const status = async (host) => (await host.whole(ASKED, { headers: ALICE })).status;
  const works = () => b.gateway.following.works();
  assert.ok(!works().includes('the gateway: usage of limits'));
  b.gateway.apply(read(onePool(pool, { gates })));
  assert.ok(works().includes('the gateway: usage of limits'));

  const first = status(a);
  await until(() => exceeded(b) === 'concurrent_requests');
  assert.equal(await status(b), 429);
  pool[0].open();
  assert.equal(await first, 200);
  // Its end is known, and it stays counted.
  await until(() => exceeded(b) === null);
  assert.equal(await status(b), 200);
  await until(() => exceeded(a) === null);
  assert.equal(await status(a), 200);
  await until(() => exceeded(b) === 'requests');
  assert.equal(await status(b), 429);
  // A reload that removes the pool loses no usage.
  b.gateway.apply(read({ pools: [{ name: 'other', endpoints: [pool[0].url] }], gates }));
  assert.equal(exceeded(b), 'requests');
  const { body } = await b.get('/metrics');
  assert.ok(body.includes('slotwise_gateway_peers_alive{pool="/usage"} 1\n'));
  const late = await serving(t, onePool(pool, { gates }), { peers });
  await until(() => exceeded(late) === 'requests');
});
