// Batches: the example of the manual, and what an invalid input leaves behind.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Scheduler } from 'slotwise';

const page = readFileSync(new URL('../../../../docs/src/batches.md', import.meta.url), 'utf8');

test('the example of the manual', () => {
  const example = /```js\n(.*?)```/s.exec(page)[1];
  const run = new Function('Scheduler', `${example} return { scheduler, gone, decisions };`);
  const { scheduler, gone, decisions } = run(Scheduler);
  assert.deepEqual(gone, [9]);
  assert.deepEqual(decisions.map(({ requestId }) => requestId), [1, 2]);
  assert.deepEqual(scheduler.stats().endpoints.map(({ externalWaiting }) => externalWaiting > 1), [false, true]);
});

test('an invalid request leaves none in flight', () => {
  const scheduler = new Scheduler();
  scheduler.addEndpoint('a', 0);
  const burst = [{ prompt: 'Hello' }, { prompt: 'Hello', options: { modell: 'm' } }];
  assert.throws(() => scheduler.pickMany(burst, 0), /modell/);
  assert.throws(() => scheduler.pickMany([{ prompt: 'Hello' }, null], 0), TypeError);
  assert.throws(() => scheduler.pickMany('Hello', 0), /must be an array/);
  assert.equal(scheduler.stats().inFlight, 0);
  assert.deepEqual(scheduler.pickMany([], 0), []);
});

test('an invalid report changes nothing', () => {
  const scheduler = new Scheduler();
  const endpointId = scheduler.addEndpoint('a', 0);
  const handle = (...reports) => scheduler.handleLoads(reports, 0);
  assert.throws(() => handle({ endpointId, waiting: 3 }, { waiting: 3 }), /reports.endpointId/);
  assert.throws(() => handle({ endpointId, waiting: 3 }, { endpointId, kv_usage: 1 }), /kv_usage is not a known field/);
  assert.throws(() => scheduler.handleLoads({ endpointId }, 0), /must be an array/);
  assert.equal(scheduler.stats().endpoints[0].externalWaiting, 0);
});
