// Draining can be awaited: the ends of requests resolve it, not a timer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UnknownEndpointError } from 'slotwise';
import { pool, settle } from './support/pool.mjs';

async function busy() {
  const { scheduler, ids: [a, b] } = pool(['a', 'b']);
  scheduler.drainEndpoint(b);
  const leases = [await scheduler.acquire('x'), await scheduler.acquire('x')];
  scheduler.resumeEndpoint(b);
  scheduler.drainEndpoint(a);
  let done = false;
  const drained = scheduler.drained(a).then(() => (done = true));
  await settle();
  assert.deepEqual([scheduler.inFlightOn(a), scheduler.inFlightOn(b), done], [2, 0, false]);
  return { scheduler, a, b, leases, drained, done: () => done };
}

test('an endpoint is drained when its last request ends, however it does', async () => {
  for (const end of [
    (lease) => lease.complete(),
    (lease) => lease.fail(),
    (lease) => lease.cancel(),
    (lease, { b }) => lease.redirect(b),
    (lease) => (lease.begin(200, 'application/json'), lease.finish()),
    (lease, { scheduler }) => scheduler.cancel(lease.requestId),
  ]) {
    const all = await busy();
    end(all.leases[0], all);
    await settle();
    assert.equal(all.done(), false);
    end(all.leases[1], all);
    await all.drained;
    assert.equal(all.scheduler.inFlightOn(all.a), 0);
  }
});

test('an idle endpoint is drained at once', async () => {
  const { scheduler, ids: [a] } = pool(['a']);
  await scheduler.drained(a);
});

test('removing an endpoint rejects the wait for its draining', async () => {
  const { scheduler, a, drained } = await busy();
  const rejected = assert.rejects(drained, UnknownEndpointError);
  scheduler.removeEndpoint(a);
  await rejected;
  await assert.rejects(scheduler.drained(a), UnknownEndpointError);
  await assert.rejects(scheduler.drained('a'), TypeError);
  await assert.rejects(scheduler.drained(0, { timeout: 1 }), /options\.timeout is not a known field/);
});

test('a signal ends the wait, and so does closing', async () => {
  const { scheduler, a, drained } = await busy();
  const controller = new AbortController();
  const rejected = assert.rejects(scheduler.drained(a, { signal: controller.signal }), { name: 'AbortError' });
  controller.abort();
  await rejected;
  await assert.rejects(scheduler.drained(a, { signal: controller.signal }), { name: 'AbortError' });
  const closed = assert.rejects(drained, { code: 'closed' });
  scheduler.close();
  await closed;
});
