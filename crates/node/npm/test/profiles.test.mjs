// Scheduling profiles and subsets: the example of the manual, and what decisions return.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Scheduler } from 'slotwise';

const page = readFileSync(new URL('../../../../docs/src/profiles.md', import.meta.url), 'utf8');
const queueOnly = { scorers: [{ scorer: { type: 'queue-scorer' }, weight: 2 }] };

test('the example of the manual', () => {
  const example = /```js\n(.*?)```/s.exec(page)[1];
  const scheduler = new Function('Scheduler', `${example} return scheduler;`)(Scheduler);
  assert.equal(scheduler.config.profile.scorers.length, 3);
  assert.throws(() => new Scheduler({ profile: { picker: { type: 'no-picker' } } }), /no-picker/);
});

test('an explanation has scores and the runner-up', () => {
  const scheduler = new Scheduler({ profile: queueOnly });
  const busy = scheduler.addEndpoint('busy', 0);
  scheduler.addEndpoint('idle', 0);
  scheduler.handleLoad(busy, { waiting: 3 }, 0);
  const { candidates, runnerUp, table } = scheduler.explain('Hello', { model: 'm', now: 0 });
  assert.deepEqual(candidates.map(({ name, score }) => [name, score]), [['idle', 2], ['busy', 0]]);
  assert.equal(runnerUp.lostMostIn, 'queue-scorer');
  assert.match(table, /queue-scorer/);
});

test('plugins read the headers that the host passes', () => {
  const parameters = { headerName: 'x-zone', labelKey: 'zone' };
  const scorer = { type: 'header-label-affinity-scorer', parameters };
  const scheduler = new Scheduler({ profile: { scorers: [{ scorer }] } });
  for (const zone of ['a', 'b']) {
    scheduler.addEndpoint({ name: zone, labels: { zone } }, 0);
  }
  const pick = (options) => scheduler.pick('Hello', { model: 'm', now: 0, ...options });
  for (const zone of ['b', 'a']) {
    const { endpointName, score } = pick({ pluginHeaders: { 'x-zone': zone } });
    assert.deepEqual([endpointName, score], [zone, 1]);
  }
  assert.equal(pick({}).score, 0);
  assert.throws(() => pick({ pluginHeaders: { 'x-zone': 1 } }), /pluginHeaders/);
  const other = new Scheduler();
  other.addEndpoint('a', 0);
  assert.equal(other.pick('Hello', { now: 0 }).score, null);
});

test('a handler selects the profile of each stage', () => {
  const profiles = {
    handler: { type: 'disagg-profile-handler', parameters: { deciders: { prefill: 'pd' } } },
    profiles: {
      decode: queueOnly,
      prefill: { scorers: [{ scorer: { type: 'kv-cache-utilization-scorer' } }] },
    },
    deciders: { pd: { type: 'always-disagg-pd-decider' } },
  };
  const scheduler = new Scheduler({ profiles });
  for (const role of ['decode', 'prefill']) {
    for (const [waiting, kvUsage] of [[1, 0.9], [8, 0.1]]) {
      const id = scheduler.addEndpoint({ name: `${role}-${waiting}`, role }, 0);
      scheduler.handleLoad(id, { waiting, kvUsage }, 0);
    }
  }
  const { stages, candidates } = scheduler.explain('Hello', { model: 'm', now: 0 });
  assert.deepEqual(stages.map(({ stage, candidates: [best] }) => [stage, best.name]), [
    ['prefill', 'prefill-8'],
  ]);
  assert.equal(candidates[0].scores[0].scorer, 'queue-scorer');
  const { endpointName, prefill } = scheduler.pick('Hello', { model: 'm', now: 0 });
  assert.deepEqual([endpointName, prefill.endpointName], ['decode-1', 'prefill-8']);
  assert.throws(() => new Scheduler({ profiles: { ...profiles, deciders: {} } }), /deciders/);
});

test('a subset is ids, addresses or a header', () => {
  const scheduler = new Scheduler();
  const ids = [0, 1, 2].map((n) => scheduler.addEndpoint(`http://10.0.0.${n}:8000`, 0));
  const pick = (options) => scheduler.pick('Hello', { model: 'm', now: 0, ...options });
  assert.equal(pick({ subset: [ids[2]] }).endpointId, ids[2]);
  assert.equal(pick({ subset: ['10.0.0.2:8000', '10.0.0.9'] }).endpointId, ids[2]);
  assert.equal(pick({ subset: '10.0.0.2:9000', subsetPorts: 'ignored' }).endpointId, ids[2]);
  assert.equal(pick({ subset: [] }).reason, 'no_endpoints');
});
