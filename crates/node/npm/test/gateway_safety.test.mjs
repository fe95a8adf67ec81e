// The safety function of a host, on prompts and on answers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Block } from 'slotwise/gateway';
import { ASKED, engines, key, onePool, serving, until } from './support/gateway.mjs';

const SECRET = { ...ASKED, messages: [{ role: 'user', content: 'a secret' }] };

/** A safety function that records what it is asked. */
function judging(verdict, stages = ['prompt', 'stream']) {
  const judge = async (texts, { stage, caller }) => {
    judge.asked.push([stage, texts, caller]);
    if (!stages.includes(stage)) return undefined;
    if (judge.verdict instanceof Error) throw judge.verdict;
    if (judge.verdict === 'replace') return texts.map(() => '*');
    if (judge.verdict === 'hang') return new Promise(() => {});
    return judge.verdict;
  };
  judge.asked = [];
  judge.verdict = verdict;
  return judge;
}

test('prompts and streams pass, and the function sees their texts', async (t) => {
  const safety = judging();
  const gates = { keys: [key('alice')] };
  const host = await serving(t, onePool(await engines(t, 'good'), { gates }), { safety });
  const answer = await host.whole(SECRET, { key: 'alice' });
  assert.equal(answer.status, 200);
  assert.ok(answer.body.includes('[DONE]'));
  assert.deepEqual(safety.asked[0], ['prompt', ['a secret'], 'alice']);
  assert.ok(safety.asked.slice(1).some(([stage, texts]) => stage === 'stream' && texts.join('') !== ''));
});

test('a blocked prompt reaches no engine and costs no quota', async (t) => {
  const safety = judging(new Block('secrets'), ['prompt']);
  const limits = { quotas: [{ measure: 'requests', limit: 1, window: 86_400 }] };
  const pool = await engines(t, 'good');
  const host = await serving(t, onePool(pool, { gates: { keys: [key('alice', { limits })] } }), { safety });
  const blocked = await host.whole(SECRET, { key: 'alice' });
  assert.deepEqual([blocked.status, blocked.json.error.code], [400, 'content_filter']);
  assert.equal(pool[0].asked, 0);
  safety.verdict = undefined;
  assert.equal((await host.whole(SECRET, { key: 'alice' })).status, 200);
});

test('a replaced prompt is what the engine gets', async (t) => {
  const pool = await engines(t, 'good');
  const host = await serving(t, onePool(pool), { safety: judging('replace', ['prompt']) });
  assert.equal((await host.whole(SECRET)).status, 200);
  assert.ok(pool[0].bodies[0].includes('"*"') && !pool[0].bodies[0].includes('secret'));
});

test('a blocked stream ends, and the engine is left', async (t) => {
  const host = await serving(t, onePool(await engines(t, 'good')), { safety: judging(new Block('secrets'), ['stream']) });
  const { status, body } = await host.whole();
  assert.equal(status, 200);
  assert.ok(body.includes('"content_filter"') && !body.includes('"content":"x"'), body);
  assert.ok(body.endsWith('data: [DONE]\n\n'));
  await until(() => host.stats().inFlight === 0);
});

test('a replaced stream has the new texts', async (t) => {
  const host = await serving(t, onePool(await engines(t, 'good')), { safety: judging('replace', ['stream']) });
  const { body } = await host.whole();
  assert.ok(body.includes('*') && !body.includes('"content":"x"'), body);
});

for (const [onFailure, status] of [['block', 503], ['allow', 200]]) {
  for (const verdict of [new Error('down'), 'hang', 'not a verdict', ['a', 'b']]) {
    test(`a failing function ${onFailure}s if so configured: ${verdict}`, async (t) => {
      const gates = { anonymous: {}, safety: { on_failure: onFailure, timeout: 0.01 } };
      const host = await serving(t, onePool(await engines(t, 'good'), { gates }), { safety: judging(verdict, ['prompt']) });
      assert.equal((await host.whole(SECRET)).status, status);
    });
  }
}

test('a function without a promise', async (t) => {
  const safety = (_, { stage }) => (stage === 'prompt' ? new Block('no') : undefined);
  const host = await serving(t, onePool(await engines(t, 'good')), { safety });
  assert.equal((await host.whole(SECRET)).status, 400);
});
