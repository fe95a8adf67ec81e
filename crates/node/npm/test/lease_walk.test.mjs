// Random calls of a lease: the same file of calls and answers as in Python, which draws it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { SlotwiseError } from 'slotwise';
import { pool } from './support/pool.mjs';

const walks = JSON.parse(readFileSync(new URL('../../../gateway/tests/lease_walk.json', import.meta.url), 'utf8'));

beforeEach(() => mock.method(process, 'emitWarning', () => {}));
afterEach(() => mock.restoreAll());

const broken = new Error('the engine went away');
const encoded = (chunk) => (typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
const CAMEL = { prompt_tokens: 'promptTokens', completion_tokens: 'completionTokens' };

/** What each call of a walk does. */
const calls = {
  first_token: ({ lease }) => lease.firstToken(),
  tokens: ({ lease }, count) => lease.tokens(count),
  begin: ({ lease }, status, type) => lease.begin(status, type),
  feed({ lease }, chunk) {
    const { firstToken, tokens, ended } = lease.feed(encoded(chunk));
    return [firstToken, tokens, ended];
  },
  finish({ lease }, close) {
    const { end, settlement } = lease.finish(close);
    return [end, settlement];
  },
  complete: ({ lease }, usage) =>
    lease.complete(usage && Object.fromEntries(Object.entries(usage).map(([name, value]) => [CAMEL[name], value]))),
  fail: ({ lease }, failure) => lease.fail(failure),
  cancel: ({ lease }) => lease.cancel(),
  redirect: ({ lease }, endpoint) => lease.redirect(endpoint),
  elsewhere: ({ scheduler, lease }, name, ...rest) => scheduler[name](lease.requestId, ...rest),
  async stream({ lease }, chunks, how) {
    async function* source() {
      for (const chunk of chunks) {
        if (chunk === '!') {
          throw broken;
        }
        yield encoded(chunk);
      }
    }
    const tracked = lease.track(source());
    let got = 0;
    for await (const _ of tracked) {
      if (how === 'one') {
        await tracked.return();
        return 'closed';
      }
      got += 1;
    }
    return got;
  },
};

async function answer(walk, [name, ...rest]) {
  try {
    return (await calls[name](walk, ...rest)) ?? null;
  } catch (error) {
    if (error instanceof SlotwiseError) {
      return { error: error.code };
    }
    if (error instanceof TypeError || error instanceof RangeError) {
      return { error: 'invalid' };
    }
    assert.equal(error, broken);
    return { error: 'source' };
  }
}

function seen({ scheduler, lease }) {
  const { inFlight, completed, failed, cancelled } = scheduler.stats();
  const { ended, endpointId: endpoint, endpointName: name, answer: read, outcome } = lease;
  return [ended, endpoint, name, read?.tokens ?? 0, outcome?.end ?? null, inFlight, completed, failed, cancelled];
}

test('random calls answer as in every language', async () => {
  assert.equal(walks.length, 60);
  for (const [number, steps] of walks.entries()) {
    const { scheduler, clock } = pool([]);
    clock.now = 1e6;
    ['a', 'b', 'c'].forEach((name) => scheduler.addEndpoint(name));
    const walk = { scheduler, lease: await scheduler.acquire('a prompt') };
    for (const [at, [call, expected, state]] of steps.entries()) {
      const where = `walk ${number}, call ${at}: ${JSON.stringify(call)}`;
      assert.deepEqual(await answer(walk, call), expected, where);
      assert.deepEqual(seen(walk), state, where);
    }
    walk.lease.cancel();
    assert.equal(scheduler.stats().inFlight, 0, 'nothing is left in flight, whatever was called');
  }
});
