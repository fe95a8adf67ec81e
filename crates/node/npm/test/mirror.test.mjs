// Copies of requests for a mirror's pool never wait, and leave room to requests of its own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Scheduler } from 'slotwise';

test('a copy takes only free room', () => {
  const scheduler = new Scheduler();
  scheduler.addEndpoint({ name: 'a', maxInFlight: 1 });
  const copy = scheduler.pickMirror('Hello', { model: 'llama' });
  assert.equal(copy.endpointName, 'a');
  assert.equal(scheduler.pickMirror('Hello', { model: 'llama' }), undefined, 'it never waits');
  assert.ok(scheduler.cancel(copy.requestId));
  scheduler.submit('Hello');
  assert.equal(scheduler.pickMirror('Hello'), undefined, 'a request is queued');
  while (scheduler.pollDecision() !== undefined);
  assert.equal(scheduler.pickMirror('Hello', {}, { limit: 0 }), undefined);
  assert.equal(scheduler.stats().inFlight, 1);
});
