// Endpoints that fail get few requests, and retries go elsewhere.
import assert from 'node:assert/strict';
import test from 'node:test';
import { pool } from './support/pool.mjs';

for (const end of ['cancel', 'fail']) {
  test(`an endpoint where everything ends with ${end} gets few requests`, () => {
    const { scheduler, ids } = pool(['a', 'b', 'c', 'd']);
    const due = [];
    let refused = 0;
    for (let number = 0; number < 600; number += 1) {
      const now = number * 100;
      due.sort((one, other) => one.at - other.at);
      while (due.length > 0 && due[0].at <= now) {
        const { at, tell } = due.shift();
        tell(at);
      }
      const { endpointId: endpoint, requestId: request } = scheduler.pick(`${number} `.repeat(2_000), { model: 'm', now });
      if (endpoint === ids[0]) {
        refused += 1;
        end === 'fail' ? scheduler.fail(request, 'engine', now) : scheduler.cancel(request, now);
      } else {
        due.push({ at: now + 300, tell: (at) => scheduler.handleFirstToken(request, at) });
        due.push({ at: now + 1_300, tell: (at) => scheduler.complete(request, {}, at) });
      }
    }
    assert.ok(refused <= 12, String(refused));
  });
}

test('a retry excludes what it has tried', async () => {
  const { scheduler, ids } = pool(['a', 'b']);
  const first = scheduler.pick('x');
  const second = scheduler.pick('x', { exclude: [first.endpointId] });
  assert.deepEqual(new Set([first.endpointId, second.endpointId]), new Set(ids));
  assert.equal(scheduler.pick('x', { exclude: ids }).reason, 'no_endpoints');
  assert.equal(scheduler.submit('x', { exclude: ids }).reason, 'no_endpoints');
  const excluded = scheduler.explain('x', { exclude: ids }).candidates.map((candidate) => candidate.excluded);
  assert.deepEqual(excluded, ['excluded', 'excluded']);
  const lease = await scheduler.acquire('x', { exclude: [ids[0]] });
  assert.equal(lease.endpointId, ids[1]);
  lease.cancel();
  for (const exclude of ['a', 7, [null], ['a'], [-1], [0.5]]) {
    assert.throws(() => scheduler.pick('x', { exclude }), (error) => error instanceof Error && /exclude/.test(error.message));
  }
});

test('probes and redirects are reported', () => {
  const { scheduler, clock, ids } = pool(['a', 'b']);
  const [a, b] = ids;
  const causes = () => scheduler.stats().endpoints.map(({ backoff }) => backoff);
  scheduler.handleProbe(a, false);
  assert.deepEqual(causes(), ['probe', null]);
  for (let number = 0; number < 9; number += 1) {
    assert.equal(scheduler.pick(String(number)).endpointId, b);
  }
  clock.now = 1_000;
  scheduler.handleProbe(a, true);
  const moved = scheduler.pick('x', { exclude: [b] });
  assert.equal(scheduler.stats().endpoints[0].health, 'trial');
  scheduler.redirect(moved.requestId, b, undefined, 'engine');
  assert.deepEqual(causes(), ['failed', null]);
  assert.throws(() => scheduler.redirect(moved.requestId, a, undefined, 'tired'), /failure/);
  assert.throws(() => scheduler.handleProbe(a, 'yes'), { name: 'TypeError' });
});

test('a cancelled request stays booked where the engine does not notice', () => {
  for (const [noticesDisconnect, pending] of [[true, 0], [false, 1]]) {
    const { scheduler } = pool([{ name: 'a', noticesDisconnect }]);
    assert.equal(scheduler.cancel(scheduler.pick('x'.repeat(80_000)).requestId), true);
    assert.equal(scheduler.stats().endpoints[0].prefilling, pending);
  }
});
