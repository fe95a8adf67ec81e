// A lease ends once, however many ends there are.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mock, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Lease, NotBegunError, RedirectError, RejectedError } from 'slotwise';
import { left, pool, settle } from './support/pool.mjs';

async function lease(endpoints) {
  const { scheduler, clock, ids } = pool(endpoints);
  return { scheduler, clock, ids, lease: await scheduler.acquire('hello there', { model: 'm' }) };
}

const counts = (scheduler) => {
  const { completed, failed, cancelled, inFlight } = scheduler.stats();
  return { completed, failed, cancelled, inFlight };
};

test('a lease returns the endpoint of its request', async () => {
  const { scheduler, lease: it } = await lease();
  assert.ok(it instanceof Lease);
  assert.equal(it.dispatch.kind, 'dispatch');
  assert.deepEqual([it.requestId, it.endpointId, it.endpointName], [it.dispatch.requestId, it.dispatch.endpointId, it.dispatch.endpointName]);
  assert.equal(scheduler.endpointOf(it.requestId), it.endpointId);
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
    assert.equal(scheduler.stats().endpoints.find(({ id }) => id === it.endpointId).running, 1);
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

test('reports on a lease reach the scheduler', async () => {
  const { scheduler, lease: it } = await lease();
  it.complete({ promptTokens: 3, cachedTokens: 0, completionTokens: 2 });
  const { lease: other, scheduler: another } = await lease();
  other.fail('unreachable');
  assert.equal(scheduler.stats().unreachable, 0);
  assert.equal(another.stats().unreachable, 1);
});

test('an end with impossible figures ends all the same, and warns once of what is left out', async () => {
  const warnings = [];
  const emit = mock.method(process, 'emitWarning', (message, { code }) => warnings.push([message, code]));
  for (const promptTokens of [-1, 0.5, NaN, 2 ** 32, Infinity]) {
    const { scheduler, lease: it } = await lease();
    assert.equal(it.complete({ promptTokens, completionTokens: 3 }), true);
    assert.deepEqual([it.ended, it.over, it.complete()], [true, true, false]);
    assert.deepEqual(counts(scheduler), { completed: 1, failed: 0, cancelled: 0, inFlight: 0 });
  }
  emit.mock.restore();
  assert.deepEqual(warnings, [['usage.promptTokens must be a number of tokens, got -1: it is left out', 'SLOTWISE_VALUE']]);
});

test('a settlement with invalid arguments throws and leaves the lease open', async () => {
  for (const [end, message] of [
    [(it) => it.complete({ prompt_tokens: 1 }), /usage\.prompt_tokens is not a known field/],
    [(it) => it.complete({ promptTokens: '1' }), /usage\.promptTokens must be a number/],
    [(it) => it.complete(7), /usage must be an object/],
    [(it) => it.fail('nonsense'), /failure must be 'unreachable', 'engine' or 'timeout'/],
    [(it) => it.fail(3), /failure must be a string/],
    [(it) => it.finish('timeout'), /close must be/],
  ]) {
    const { scheduler, lease: it } = await lease();
    it.begin(200, 'application/json');
    assert.throws(() => end(it), message);
    assert.deepEqual([it.ended, scheduler.stats().inFlight], [false, 1]);
    assert.equal(it.cancel(), true);
    assert.deepEqual(counts(scheduler), { completed: 0, failed: 0, cancelled: 1, inFlight: 0 });
  }
});

test('a lease whose request was ended elsewhere has ended and ignores reports', async () => {
  const calls = {
    complete: [(it) => it.complete(), false],
    fail: [(it) => it.fail(), false],
    cancel: [(it) => it.cancel(), false],
    firstToken: [(it) => it.firstToken(), undefined],
    tokens: [(it) => it.tokens(3), undefined],
    feed: [(it) => it.feed(Buffer.from('data: {"choices":[{"text":"a"}]}\n\n')).ended, false],
    finish: [(it) => it.finish('broken').end, 'cut'],
  };
  for (const [name, [call, answer]] of Object.entries(calls)) {
    const { scheduler, lease: it } = await lease();
    it.begin(200, 'text/event-stream');
    scheduler.cancel(it.requestId);
    assert.equal(it.ended, false, 'it has not noticed yet');
    assert.equal(call(it), answer, name);
    assert.equal(it.ended, true, name);
    assert.deepEqual([it.complete(), it.fail(), it.cancel()], [false, false, false]);
    assert.deepEqual(counts(scheduler), { completed: 0, failed: 0, cancelled: 1, inFlight: 0 });
  }
  const { scheduler, lease: it } = await lease();
  scheduler.complete(it.requestId);
  assert.throws(() => it.redirect(it.dispatch.alternatives[0]), { name: 'RedirectError', code: 'unknown_request' });
  assert.equal(it.ended, true);
  const { scheduler: other, lease: streamed } = await lease();
  other.cancel(streamed.requestId);
  const got = [];
  for await (const chunk of streamed.track(new Blob(['a', 'b']).stream())) {
    got.push(String.fromCharCode(...chunk));
  }
  assert.deepEqual([got.join(''), streamed.ended], ['ab', true]);
});

test('a lease returns the endpoint of its request, also after a redirect', async () => {
  const { scheduler, lease: it } = await lease();
  const [other] = it.dispatch.alternatives;
  scheduler.redirect(it.requestId, other);
  assert.deepEqual([it.endpointId, it.endpointName], [other, scheduler.endpoint(other).name]);
  it.cancel();
  assert.deepEqual([it.endpointId, it.endpointName], [other, scheduler.endpoint(other).name]);
});

test('usage reported before complete is used by complete', async () => {
  const { scheduler, lease: it } = await lease();
  it.usage = { completionTokens: 7 };
  assert.equal(it.complete(), true);
  assert.equal(counts(scheduler).completed, 1);
});

test('an answer that has not begun has an error of its own', async () => {
  const { lease: it } = await lease();
  for (const call of [() => it.feed(new Uint8Array(1)), () => it.finish()]) {
    assert.throws(call, (error) => error instanceof NotBegunError && error.code === 'not_begun');
  }
  assert.deepEqual([it.answer, it.reader, it.outcome], [null, null, null]);
  it.begin(200, 'application/json');
  assert.equal(it.answer, it.reader);
  assert.equal(it.finish('broken'), it.outcome);
  it.begin(500);
  assert.equal(it.answer.tokens, 0, 'after the end nothing begins');
});

test('what is no stream is refused in words, and the lease stays as it is', async () => {
  for (const [stream, message] of [
    [null, /stream must be a ReadableStream or an async iterable, got null: an answer without a body is ended by finish\(\)/],
    [undefined, /got undefined: an answer without a body/],
    [{ body: 1 }, /pass a response's body, not the response/],
    ['data', /got "data"/],
    [[1], /got an array/],
  ]) {
    const { scheduler, lease: it } = await lease();
    assert.throws(() => it.track(stream), (error) => error instanceof TypeError && message.test(error.message));
    assert.equal(it.ended, false);
    it[Symbol.dispose]();
    assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
  }
});

for (const kind of ['web stream', 'async iterable']) {
  test(`a chunk of a ${kind} that is not bytes ends the request and closes the source`, async () => {
    const { scheduler, lease: it } = await lease();
    it.begin(200, 'text/event-stream');
    let closed = false;
    async function* chunks() {
      try {
        yield new ArrayBuffer(3);
        yield new ArrayBuffer(3);
      } finally {
        closed = true;
      }
    }
    const source = kind === 'web stream' ? ReadableStream.from(chunks()) : chunks();
    await assert.rejects(async () => {
      for await (const chunk of it.track(source)) {
        assert.fail(chunk);
      }
    }, /chunk must be a Uint8Array/);
    await settle();
    assert.deepEqual([it.ended, closed], [true, true]);
    assert.deepEqual(counts(scheduler), { completed: 0, failed: 0, cancelled: 1, inFlight: 0 });
  });
}

test('what is forgotten is cancelled when it is collected, with one warning', () => {
  const script = `
    const { Scheduler } = require('slotwise');
    const scheduler = new Scheduler();
    scheduler.addEndpoint('a');
    const warnings = [];
    process.emitWarning = (message, { code }) => warnings.push(code);
    const closed = [];
    const source = async function* (name) { try { yield name; } finally { closed.push(name); } };
    const held = [];
    async function forget() {
      await scheduler.acquire('x');
      await scheduler.acquire('x');
      const dropped = await scheduler.acquire('x');
      dropped.track(source('iterable'));
      held.push(dropped);
      const streamed = await scheduler.acquire('x');
      streamed.track(new ReadableStream({ cancel() { closed.push('web stream'); } }));
      held.push(streamed);
      const read = await scheduler.acquire('x');
      const half = read.track(source('half'));
      await half.next();
      held.push(read);
      (await scheduler.acquire('x')).complete();
    }
    forget().then(async () => {
      // As many turns as it takes: when the collector reports is its own business.
      for (let turn = 0; turn < 10_000 && (scheduler.stats().inFlight > 0 || closed.length < 2); turn += 1) {
        gc();
        await new Promise(setImmediate);
      }
      const { inFlight, cancelled, completed } = scheduler.stats();
      const ended = held.every((lease) => lease.ended);
      console.log(JSON.stringify({ inFlight, cancelled, completed, warnings, ended, closed: closed.sort() }));
    });`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', '-e', script], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    encoding: 'utf8',
  });
  assert.deepEqual(
    JSON.parse(stdout || '{}'),
    { inFlight: 0, cancelled: 5, completed: 1, warnings: ['SLOTWISE_LEASE'], ended: true, closed: ['half', 'web stream'] },
    stderr,
  );
});

test('a lease follows its request to another endpoint', async () => {
  const { scheduler, lease: it } = await lease();
  const [other] = it.dispatch.alternatives;
  it.redirect(other);
  assert.deepEqual([it.endpointId, it.endpointName], [other, scheduler.endpoint(other).name]);
  assert.equal(scheduler.endpointOf(it.requestId), other);
  it.firstToken();
  assert.throws(() => it.redirect(it.dispatch.endpointId), RedirectError);
  assert.equal(it.endpointId, other);
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
