// Service levels bind requests that may be shed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Scheduler } from '../index.mjs';

test('a sheddable request needs its service level', () => {
  const scheduler = new Scheduler();
  scheduler.addEndpoint({ name: 'a' }, 0);
  const prompt = new Uint32Array(20_000);
  const dispatch = scheduler.pick(prompt, { model: 'm', sloTtftMs: 1, now: 0 });
  assert.equal(dispatch.kind, 'dispatch');
  assert.ok(dispatch.predictedTtft > 0.1 && dispatch.predictedTpot > 0.001);
  const late = scheduler.pick(prompt, { model: 'm', priority: -1, sloTtftMs: 1, now: 0 });
  assert.equal(late.reason, 'deadline_unreachable');
  const [candidate] = scheduler.explain(prompt, { model: 'm', sloTpotMs: 0.1, now: 0 }).candidates;
  assert.ok(candidate.tpotHeadroom < 0);
});
