// A scheduler accepts a clock: calls without `now` read it.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, mock, test } from 'node:test';
import { Scheduler } from 'slotwise';

const manual = readFileSync(new URL('../../../../docs/src/languages.md', import.meta.url), 'utf8');

afterEach(() => mock.timers.reset());

test('calls without `now` read the configured clock', () => {
  let now = 1_000;
  const scheduler = new Scheduler({}, { now: () => now });
  scheduler.addEndpoint({ name: 'a', maxInFlight: 1 });
  const first = scheduler.pick('x');
  now += 2_000;
  scheduler.submit('x', { ttlMs: 3_000 });
  assert.equal(scheduler.pollDecision(), undefined);
  assert.equal(scheduler.nextTimeout(), now + 3_000);
  now += 1_000;
  scheduler.complete(first.requestId);
  assert.equal(scheduler.pollDecision().queueTimeMs, 1_000);
});

test('a call with `now` does not read the clock', () => {
  const clock = mock.fn(() => 1);
  const scheduler = new Scheduler({}, { now: clock });
  const before = clock.mock.callCount();
  scheduler.addEndpoint('a', 1);
  assert.equal(scheduler.pick('x', { now: 2 }).kind, 'dispatch');
  assert.equal(clock.mock.callCount(), before);
  scheduler.pick('x');
  assert.equal(clock.mock.callCount(), before + 1);
});

test('a reading that is no time changes nothing, and what it throws comes out', () => {
  for (const [reading, kind] of [['noon', TypeError], [undefined, TypeError], [-1, RangeError], [NaN, RangeError], [1e300, RangeError]]) {
    const scheduler = new Scheduler({}, { now: () => reading });
    assert.throws(() => scheduler.addEndpoint('a'), kind, String(reading));
    assert.deepEqual(scheduler.stats().endpoints, []);
  }
  const broken = new Error('no clock');
  const scheduler = new Scheduler({}, { now: () => { throw broken; } });
  assert.throws(() => scheduler.pick('x'), (error) => error === broken);
  assert.throws(() => new Scheduler({}, { now: 12 }), TypeError);
});

test('the example in the manual passes', async () => {
  const [, example] = /```ts\n(import assert from 'node:assert\/strict';\nimport \{ mock \}[^]*?)```/.exec(manual);
  // Inside the package, where it is known by its name.
  const file = fileURLToPath(new URL(`./clock.${process.pid}.tmp.mjs`, import.meta.url));
  writeFileSync(file, example);
  try {
    await import(pathToFileURL(file));
  } finally {
    rmSync(file, { force: true });
  }
});
