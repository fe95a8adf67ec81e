// An endpoint that stops sending without closing its stream is given up.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { IdleTimeoutError, Scheduler } from 'slotwise';
import * as wire from 'slotwise/wire';

const encoder = new TextEncoder();
const TOKEN = encoder.encode('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n');
const PING = encoder.encode(': ping\n\n');
const DONE = encoder.encode('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
const clock = { now: 0 };

beforeEach(() => {
  clock.now = 0;
  mock.timers.enable({ apis: ['setTimeout'] });
});
afterEach(() => mock.timers.reset());

const settle = async () => {
  for (let turn = 0; turn < 20; turn += 1) {
    await new Promise(setImmediate);
  }
};

/** Time passes in steps of a second, and everything that follows from it happens. */
async function pass(ms) {
  for (let left = ms; left > 0; left -= 1_000) {
    const step = Math.min(left, 1_000);
    clock.now += step;
    mock.timers.tick(step);
    await settle();
  }
}

/** A stream that sends each chunk after its milliseconds, then nothing more. */
function upstream(chunks) {
  let at = 0;
  const state = { closed: false };
  state.stream = new ReadableStream(
    {
      pull(controller) {
        const [after, chunk] = chunks[at++] ?? [Infinity];
        return after === Infinity
          ? new Promise(() => {})
          : new Promise((sent) => {
              setTimeout(() => sent(state.closed ? undefined : controller.enqueue(chunk)), after);
            });
      },
      cancel() {
        state.closed = true;
      },
    },
    { highWaterMark: 0 },
  );
  return state;
}

async function followed(chunks, { begin = true, ms, iterable = false, ...options }) {
  const scheduler = new Scheduler({}, { now: () => clock.now });
  scheduler.addEndpoint('a');
  const lease = await scheduler.acquire('x');
  if (begin) {
    lease.begin(200, 'text/event-stream');
  }
  const source = upstream(chunks);
  const tracked = lease.track(iterable ? source.stream[Symbol.asyncIterator]() : source.stream, options);
  const result = { error: undefined, at: undefined };
  const reading = (async () => {
    try {
      for await (const _ of tracked);
    } catch (error) {
      result.error = error;
    }
    result.at = clock.now;
  })();
  await settle();
  await pass(ms);
  await Promise.race([reading, settle()]);
  const { completed, failed, cancelled, timedOut } = scheduler.stats();
  return { ...result, closed: source.closed, counts: [completed, failed, cancelled], timedOut };
}

for (const begin of [true, false]) {
  test(`no first token fails after half a minute, ${begin ? 'read' : 'not read'}`, async () => {
    const { error, at, closed, counts } = await followed([], { begin, ms: 40_000 });
    assert.ok(error instanceof IdleTimeoutError);
    assert.deepEqual([error.code, error.begun, error.waitedMs, at, closed, counts], ['idle_timeout', false, 30_000, 30_000, true, [0, 1, 0]]);
    assert.match(error.message, /no first token within 30000 ms/);
  });
}

test('no further token fails after a minute, also of an iterable', async () => {
  const { error, at, counts } = await followed([[29_000, TOKEN], [59_000, TOKEN]], { ms: 160_000, iterable: true });
  assert.deepEqual([error.begun, at, counts], [true, 148_000, [0, 1, 0]]);
});

test('comments are no tokens', async () => {
  const { error, at } = await followed(Array(100).fill([7_000, PING]), { ms: 40_000 });
  assert.deepEqual([error.begun, at], [false, 30_000]);
});

test("the limit is the host's", async () => {
  assert.equal((await followed([[1_000, TOKEN]], { idleTimeoutMs: 2_000, ms: 10_000 })).at, 3_000);
  assert.equal((await followed([], { idleTimeoutMs: null, ms: 100_000 })).at, undefined);
  for (const wrong of [0, -1, NaN]) {
    await assert.rejects(followed([], { idleTimeoutMs: wrong, ms: 0 }), RangeError);
  }
  await assert.rejects(followed([], { idleTimeout: 5, ms: 0 }), TypeError);
});

test('an answer that is whole is complete though its connection stays open', async () => {
  const { error, counts, closed } = await followed([[1_000, TOKEN], [1_000, DONE]], { ms: 70_000 });
  assert.deepEqual([error, counts, closed], [undefined, [1, 0, 0], true]);
});

test('the prediction is that of explain', () => {
  const scheduler = new Scheduler();
  scheduler.addEndpoint({ name: 'a', kvCacheTokens: 4_000_000 });
  const prompt = Uint32Array.from({ length: 50_000 }, (_, at) => at);
  const { firstTokenIn } = scheduler.explain(prompt, { now: 1 }).candidates[0];
  assert.ok(firstTokenIn > 0);
  assert.equal(scheduler.pick(prompt, { now: 1 }).firstTokenIn, firstTokenIn);
});

test('a model that is not served is named with those that are', async () => {
  const scheduler = new Scheduler();
  scheduler.addEndpoint({ name: 'a', models: ['llama', 'qwen'] });
  const rejected = scheduler.pick('x', { model: 'lama' });
  assert.match(rejected.message, /"lama".*served: "llama", "qwen"/);
  const error = await scheduler.acquire('x', { model: 'lama' }).catch((error) => error);
  for (const refused of [rejected, error]) {
    assert.match(JSON.parse(Buffer.from(wire.refusal(refused).body)).error.message, /"lama".*"qwen"/);
  }
});

test('a wave of refusals comes back one by one', () => {
  const scheduler = new Scheduler();
  scheduler.addEndpoint({ name: 'a', maxInFlight: 4 }, 0);
  const after = (prompt, now) => scheduler.pick(prompt, { now }).retryAfterMs;
  for (let at = 0; at < 4; at += 1) {
    scheduler.pick('x', { now: 0 });
  }
  const afters = Array.from({ length: 116 }, () => after('x'.repeat(4_000), 0));
  assert.ok(afters.every((ms, at) => at === 0 || ms > afters[at - 1]));
  assert.ok(after('x', 3_600_000) < afters.at(-1));
});
