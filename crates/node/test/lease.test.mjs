// A lease ends once, however many ends there are.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lease, RedirectError, RejectedError } from 'slotwise';
import { left, pool } from './support/pool.mjs';

async function lease(endpoints) {
  const { scheduler, clock, ids } = pool(endpoints);
  return { scheduler, clock, ids, lease: await scheduler.acquire('hello there', { model: 'm' }) };
}

const counts = (scheduler) => {
  const { completed, failed, cancelled, inFlight } = scheduler.stats();
  return { completed, failed, cancelled, inFlight };
};

test('a lease says where its request goes', async () => {
  const { scheduler, lease: it } = await lease();
  assert.ok(it instanceof Lease);
  assert.equal(it.dispatch.kind, 'dispatch');
  assert.deepEqual([it.request, it.endpoint, it.name], [it.dispatch.request, it.dispatch.endpoint, it.dispatch.name]);
  assert.equal(scheduler.endpointOf(it.request), it.endpoint);
  assert.equal(it.over, false);
});

test('the first end counts, and later ones do nothing', async () => {
  for (const [end, count] of [
    ['complete', 'completed'],
    ['fail', 'failed'],
    ['cancel', 'cancelled'],
    [Symbol.dispose, 'cancelled'],
  ]) {
    const { scheduler, lease: it } = await lease();
    it.firstToken();
    it.firstToken();
    it.tokens(5);
    assert.equal(scheduler.stats().endpoints.find(({ id }) => id === it.endpoint).running, 1);
    assert.equal(it[end](), end === Symbol.dispose ? undefined : true);
    assert.equal(it.over, true);
    for (const later of ['complete', 'fail', 'cancel']) {
      assert.equal(it[later](), false);
    }
    it[Symbol.dispose]();
    it.firstToken();
    it.tokens(1);
    assert.deepEqual(counts(scheduler), { completed: 0, failed: 0, cancelled: 0, inFlight: 0, [count]: 1 });
    assert.throws(() => it.redirect(0), { name: 'RedirectError', code: 'unknown_request' });
  }
});

test('what a lease is told reaches the scheduler', async () => {
  const { scheduler, lease: it } = await lease();
  it.complete({ promptTokens: 3, cachedTokens: 0, completionTokens: 2 });
  const { lease: other, scheduler: another } = await lease();
  other.fail('unreachable');
  assert.equal(scheduler.stats().unreachable, 0);
  assert.equal(another.stats().unreachable, 1);
});

test('an end with impossible figures is an error, and no end', async () => {
  const { scheduler, lease: it } = await lease();
  assert.throws(() => it.complete({ promptTokens: -1 }), RangeError);
  assert.throws(() => it.complete({ prompt_tokens: 1 }), /usage\.prompt_tokens is not a known field/);
  assert.throws(() => it.fail('nonsense'), /failure must be 'unreachable' or 'engine' or 'timeout'/);
  assert.equal(it.over, false);
  assert.equal(it.complete({ promptTokens: 1 }), true);
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('a lease follows its request to another endpoint', async () => {
  const { scheduler, lease: it } = await lease();
  const [other] = it.dispatch.alternatives;
  it.redirect(other);
  assert.deepEqual([it.endpoint, it.name], [other, scheduler.endpoint(other).name]);
  assert.equal(scheduler.endpointOf(it.request), other);
  it.firstToken();
  assert.throws(() => it.redirect(it.dispatch.endpoint), RedirectError);
  assert.equal(it.endpoint, other);
  it.complete();
});

test('the ends of a lease whose scheduler was closed do nothing', async () => {
  const { scheduler, lease: it } = await lease();
  scheduler.close();
  it.firstToken();
  it.tokens(1);
  assert.deepEqual([it.complete(), it.fail(), it.cancel()], [false, false, false]);
  it[Symbol.dispose]();
});

test('what cannot go rejects with a reason', async () => {
  const { scheduler } = pool([{ name: 'a', models: ['m'] }]);
  await assert.rejects(scheduler.acquire('x', { model: 'other', timeoutMs: 1e6 }), (error) => {
    assert.ok(error instanceof RejectedError);
    assert.deepEqual(
      [error.name, error.code, error.reason, error.httpStatus, error.retryAfterMs],
      ['RejectedError', 'not_served', 'not_served', 404, null],
    );
    return true;
  });
});

for (const kind of ['web stream', 'async iterable']) {
  const chunks = ['a', 'b', 'c'];
  const notes = [];

  /** A source of three chunks, or of two and then an error. */
  const source = (broken) => {
    async function* all() {
      try {
        for (const chunk of chunks) {
          if (broken && chunk === 'c') {
            throw new Error('the engine went away');
          }
          yield chunk;
        }
      } finally {
        notes.push('closed');
      }
    }
    return kind === 'web stream' ? ReadableStream.from(all()) : all();
  };

  test(`the end of a ${kind} completes its request`, async () => {
    const { scheduler, lease: it } = await lease();
    const tracked = it.track(source(false));
    assert.equal(tracked instanceof ReadableStream, kind === 'web stream');
    const running = () => scheduler.stats().endpoints.reduce((sum, { running }) => sum + running, 0);
    assert.equal(running(), 0);
    const got = [];
    for await (const chunk of tracked) {
      got.push(chunk);
      assert.equal(running(), 1);
    }
    assert.deepEqual(got, chunks);
    assert.deepEqual(counts(scheduler), { completed: 1, failed: 0, cancelled: 0, inFlight: 0 });
  });

  test(`an error of a ${kind} fails its request and reaches the reader`, async () => {
    const { scheduler, lease: it } = await lease();
    const got = [];
    await assert.rejects(async () => {
      for await (const chunk of it.track(source(true))) {
        got.push(chunk);
      }
    }, /the engine went away/);
    assert.deepEqual(got, ['a', 'b']);
    assert.deepEqual(counts(scheduler), { completed: 0, failed: 1, cancelled: 0, inFlight: 0 });
  });

  test(`a reader of a ${kind} that goes away cancels its request and closes the source`, async () => {
    const { scheduler, lease: it } = await lease();
    notes.length = 0;
    for await (const chunk of it.track(source(false))) {
      assert.equal(chunk, 'a');
      break;
    }
    assert.deepEqual(counts(scheduler), { completed: 0, failed: 0, cancelled: 1, inFlight: 0 });
    assert.deepEqual(notes, ['closed']);
  });

  test(`a ${kind} that is left before its first chunk cancels its request`, async () => {
    const { scheduler, lease: it } = await lease();
    const tracked = it.track(source(false));
    await (kind === 'web stream' ? tracked.cancel() : tracked.return());
    assert.deepEqual(counts(scheduler), { completed: 0, failed: 0, cancelled: 1, inFlight: 0 });
  });

  test(`usage that is told before a ${kind} ends is what counts`, async () => {
    const { scheduler, lease: it } = await lease();
    for await (const chunk of it.track(source(false))) {
      if (chunk === 'c') {
        assert.equal(it.complete({ promptTokens: 3, cachedTokens: 0 }), true);
      }
    }
    assert.deepEqual(counts(scheduler), { completed: 1, failed: 0, cancelled: 0, inFlight: 0 });
  });
}
