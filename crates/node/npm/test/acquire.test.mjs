// Requests queue while all endpoints are at their limit, and leave no state behind.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { RejectedError, SlotwiseError } from 'slotwise';
import { left, pool, settle } from './support/pool.mjs';

const full = (names = ['a'], options) => pool(names.map((name) => ({ name, maxInFlight: 1 })), {}, options);

/** Notes how a promise ends, in the order of the ends. */
function note(ends, name, promise) {
  promise.then(
    (lease) => ends.push([name, lease]),
    (error) => ends.push([name, error]),
  );
}

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

/** Moves the clock and the timers on together. */
function pass(clock, ms) {
  clock.now += ms;
  mock.timers.tick(ms);
}

test('with a timeout of 0 a full pool refuses at once', async () => {
  const { scheduler } = full();
  const lease = await scheduler.acquire('x');
  await assert.rejects(scheduler.acquire('x', { timeoutMs: 0 }), { name: 'RejectedError', reason: 'saturated', httpStatus: 429 });
  lease.complete();
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('without a timeout a request waits for room', async () => {
  const { scheduler } = full();
  const lease = await scheduler.acquire('x');
  const waits = scheduler.acquire('x');
  await new Promise(setImmediate);
  assert.deepEqual(left(scheduler), { inFlight: 1, waiting: 1 });
  lease.complete();
  (await waits).complete();
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('a release dispatches the next waiting request, by priority and then by arrival', async () => {
  const { scheduler } = full();
  const ends = [];
  let lease = await scheduler.acquire('x');
  for (const [name, priority] of [['low', 0], ['later low', 0], ['high', 5], ['later high', 5], ['middle', 2]]) {
    note(ends, name, scheduler.acquire('x', { priority, timeoutMs: 1e6 }));
  }
  await settle();
  assert.equal(scheduler.queued, 5);
  const order = [];
  for (const end of ['complete', 'fail', 'cancel', Symbol.dispose, 'complete']) {
    lease[end]();
    await settle();
    const [[name, next]] = ends.splice(0);
    order.push(name);
    lease = next;
  }
  assert.deepEqual(order, ['high', 'later high', 'middle', 'low', 'later low']);
  lease.complete();
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('requests for one model do not block requests for another', async () => {
  const { scheduler } = pool([
    { name: 'a', models: ['m'], maxInFlight: 1 },
    { name: 'b', models: ['n'], maxInFlight: 1 },
  ]);
  const ends = [];
  await scheduler.acquire('x', { model: 'm' });
  const other = await scheduler.acquire('x', { model: 'n' });
  note(ends, 'm', scheduler.acquire('x', { model: 'm', priority: 9, timeoutMs: 1e6 }));
  note(ends, 'n', scheduler.acquire('x', { model: 'n', timeoutMs: 1e6 }));
  await settle();
  other.complete();
  await settle();
  assert.deepEqual(ends.map(([name]) => name), ['n']);
});

test('at equal priority, requests are dispatched by arrival, independent of their model', async () => {
  const { scheduler } = full();
  const ends = [];
  let lease = await scheduler.acquire('x');
  for (const model of ['m', 'n', 'o', 'n', 'm']) {
    note(ends, model, scheduler.acquire('x', { model, timeoutMs: 1e6 }));
  }
  await settle();
  for (const expected of ['m', 'n', 'o', 'n', 'm']) {
    lease.complete();
    await settle();
    const [[model, next]] = ends.splice(0);
    assert.equal(model, expected);
    lease = next;
  }
});

test('a cost function prices picks while the queue is empty; queued requests use the built-in cost', async () => {
  const asked = [];
  const scorer = ({ names }) => {
    asked.push([...names]);
    return names.map((name) => (name === 'b' ? 0 : 1));
  };
  const { scheduler } = full(['a', 'b'], { cost: scorer });
  const first = await scheduler.acquire('x');
  const second = await scheduler.acquire('x');
  assert.deepEqual([first.endpointName, second.endpointName], ['b', 'a']);
  const waits = scheduler.acquire('x');
  await settle();
  assert.equal(scheduler.queued, 1);
  const before = asked.length;
  second.complete();
  assert.equal((await waits).endpointName, 'a');
  assert.equal(asked.length, before);
});

test('ends that do not come from a lease, new endpoints and redirects count too', async () => {
  const changes = [
    ({ scheduler, request }) => scheduler.complete(request),
    ({ scheduler, request }) => scheduler.fail(request),
    ({ scheduler, request }) => scheduler.cancel(request),
    ({ scheduler }) => scheduler.addEndpoint('b'),
    ({ scheduler, ids }) => scheduler.updateEndpoint(ids[0], { name: 'a', maxInFlight: 2 }),
  ];
  for (const change of changes) {
    const { scheduler, ids } = full();
    const { requestId: request } = await scheduler.acquire('x');
    const waits = scheduler.acquire('x', { timeoutMs: 1e6 });
    await settle();
    assert.equal(scheduler.queued, 1);
    change({ scheduler, request, ids });
    assert.equal((await waits).over, false, String(change));
    assert.equal(scheduler.queued, 0);
  }
  const endpoints = ['a', 'b'].map((name) => ({ name, maxInFlight: 1 }));
  const { scheduler, ids } = pool(endpoints, { backoffMs: 0 });
  const first = await scheduler.acquire('x');
  await scheduler.acquire('x');
  const waits = scheduler.acquire('x', { timeoutMs: 1e6 });
  await settle();
  first.redirect(first.dispatch.alternatives[0] ?? ids.find((id) => id !== first.endpointId));
  assert.equal((await waits).over, false);
});

test('a first token frees prefill capacity and dispatches a waiting request', async () => {
  const { scheduler } = pool(['a']);
  const first = await scheduler.acquire(new Uint32Array(20_000));
  const waits = scheduler.acquire(new Uint32Array(100));
  await settle();
  assert.equal(scheduler.queued, 1);
  first.firstToken();
  (await waits).complete();
  first.complete();
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('requests in an emptied pool wait for an endpoint until their TTL', async () => {
  const { scheduler, clock, ids } = full();
  await scheduler.acquire('x');
  const [patient, hasty] = [1e6, 100].map((timeoutMs) => scheduler.acquire('x', { timeoutMs }));
  const refused = assert.rejects(hasty, { name: 'RejectedError', reason: 'no_endpoints', httpStatus: 503, queueTimeMs: 100 });
  await settle();
  scheduler.removeEndpoint(ids[0]);
  pass(clock, 100);
  await refused;
  assert.equal(scheduler.queued, 1);
  const id = scheduler.addEndpoint('b');
  assert.equal((await patient).endpointId, id);
  assert.equal(scheduler.queued, 0);
});

test('a timeout evicts', async () => {
  const { scheduler, clock } = full();
  const lease = await scheduler.acquire('x');
  const ends = [];
  for (const [name, timeoutMs] of [['second', 2_000], ['first', 1_000], ['third', 3_000], ['never', Infinity]]) {
    note(ends, name, scheduler.acquire('x', { timeoutMs }));
  }
  for (const expected of [['first'], ['first', 'second'], ['first', 'second', 'third']]) {
    pass(clock, 999);
    await settle();
    assert.equal(ends.length, expected.length - 1);
    pass(clock, 1);
    await settle();
    assert.deepEqual(ends.map(([name]) => name), expected);
  }
  for (const [, error] of ends) {
    assert.ok(error instanceof RejectedError);
    assert.deepEqual([error.reason, error.code, error.httpStatus], ['ttl_expired', 'ttl_expired', 429]);
    assert.match(error.message, /TTL expired while it waited/);
  }
  pass(clock, 1e9);
  await settle();
  assert.equal(scheduler.queued, 1);
  lease.complete();
  await settle();
  assert.equal(ends.length, 4);
  ends[3][1].complete();
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('each request expires at its own TTL', async () => {
  const { scheduler, clock } = full();
  await scheduler.acquire('x');
  const ends = [];
  const timeouts = Array.from({ length: 300 }, (_, at) => 1 + ((at * 7_919) % 1_009));
  const controllers = timeouts.map((timeoutMs, at) => {
    const controller = new AbortController();
    note(ends, timeoutMs, scheduler.acquire('x', { timeoutMs, signal: controller.signal, priority: at % 3 }));
    return controller;
  });
  await settle();
  // Some leave from the middle.
  const stay = timeouts.filter((_, at) => at % 5 !== 0);
  controllers.filter((_, at) => at % 5 === 0).forEach((controller) => controller.abort());
  await settle();
  ends.length = 0;
  while (clock.now < 1_010) {
    pass(clock, 1);
    await settle();
    assert.deepEqual(
      ends.map(([timeoutMs]) => timeoutMs).sort((a, b) => a - b),
      stay.filter((timeoutMs) => timeoutMs <= clock.now).sort((a, b) => a - b),
    );
  }
  assert.equal(ends.length, 240);
});

test('the configuration sets the TTL of requests without their own', async () => {
  const { scheduler, clock } = pool([{ name: 'a', maxInFlight: 1 }], { flow: { ttlMs: 50 } });
  await scheduler.acquire('x');
  const refused = assert.rejects(scheduler.acquire('x'), { reason: 'ttl_expired', queueTimeMs: 50 });
  const waits = scheduler.acquire('x', { timeoutMs: Infinity, weight: 2 });
  await settle();
  pass(clock, 50);
  await refused;
  assert.equal(scheduler.queued, 1);
  scheduler.close();
  await assert.rejects(waits, { code: 'closed' });
});

test('an abort withdraws at once, with its reason', async () => {
  const { scheduler } = full();
  const lease = await scheduler.acquire('x');
  const controller = new AbortController();
  const waits = scheduler.acquire('x', { timeoutMs: 1e6, signal: controller.signal });
  await settle();
  const reason = new Error('the client went away');
  controller.abort(reason);
  assert.equal(scheduler.queued, 0);
  await assert.rejects(waits, (error) => error === reason);
  await assert.rejects(scheduler.acquire('x', { signal: controller.signal }), (error) => error === reason);
  await assert.rejects(scheduler.acquire('x', { signal: AbortSignal.abort() }), { name: 'AbortError' });
  lease.complete();
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('granted and aborted in one go, nothing is left', async () => {
  const { scheduler } = full();
  const lease = await scheduler.acquire('x');
  const controller = new AbortController();
  const waits = scheduler.acquire('x', { timeoutMs: 1e6, signal: controller.signal });
  await settle();
  lease.complete();
  assert.equal(scheduler.stats().inFlight, 1);
  controller.abort();
  await assert.rejects(waits, { name: 'AbortError' });
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('a finished request no longer listens to its signal', async () => {
  const { scheduler } = full();
  const { signal } = new AbortController();
  const listeners = { added: 0, removed: 0 };
  const spy = {
    aborted: false,
    throwIfAborted: () => signal.throwIfAborted(),
    addEventListener: () => (listeners.added += 1),
    removeEventListener: () => (listeners.removed += 1),
  };
  const lease = await scheduler.acquire('x', { signal: spy });
  const waits = scheduler.acquire('x', { signal: spy, timeoutMs: 1e6 });
  await settle();
  lease.complete();
  (await waits).complete();
  assert.deepEqual(listeners, { added: 1, removed: 1 });
});

test('one signal may withdraw many requests without a warning', async () => {
  const { scheduler } = full();
  await scheduler.acquire('x');
  const warnings = [];
  mock.method(process, 'emitWarning', (warning) => warnings.push(warning));
  const controller = new AbortController();
  const waits = Array.from({ length: 100 }, () => {
    return scheduler.acquire('x', { timeoutMs: 1e6, signal: controller.signal });
  });
  await settle();
  assert.equal(scheduler.queued, 100);
  controller.abort();
  assert.equal(scheduler.queued, 0);
  for (const wait of waits) {
    await assert.rejects(wait, { name: 'AbortError' });
  }
  assert.deepEqual(warnings, []);
});

test('closing rejects waiting requests', async () => {
  const { scheduler } = full();
  await scheduler.acquire('x');
  const waits = [1, 2, 3].map((priority) => scheduler.acquire('x', { priority, timeoutMs: 1e6 }));
  await settle();
  scheduler.close();
  for (const wait of waits) {
    await assert.rejects(wait, (error) => error instanceof SlotwiseError && error.code === 'closed');
  }
  assert.equal(scheduler.queued, 0);
  await assert.rejects(scheduler.acquire('x'), { code: 'closed' });
});

test('the queue holds no more than its limit', async () => {
  const { scheduler } = full(['a'], { maxQueued: 1 });
  await scheduler.acquire('x');
  const waits = scheduler.acquire('x', { timeoutMs: 1e6 });
  await settle();
  await assert.rejects(scheduler.acquire('x', { timeoutMs: 1e6 }), { reason: 'saturated' });
  scheduler.close();
  await assert.rejects(waits, { code: 'closed' });
});

test('ten thousand requests, aborted, timed out and ended at random, leave nothing', async () => {
  const { scheduler, clock } = pool([
    { name: 'a', maxInFlight: 8 },
    { name: 'b', maxInFlight: 8, models: ['m'] },
  ]);
  let state = 7;
  const below = (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const [held, controllers, all] = [[], [], []];
  const outcomes = { lease: 0, abort: 0, rejected: 0 };
  for (let at = 0; at < 10_000; at += 1) {
    const controller = new AbortController();
    const options = {
      model: below(2) === 0 ? 'm' : 'n',
      priority: below(3),
      timeoutMs: [0, 50, 500, 1e6][below(4)],
      signal: controller.signal,
    };
    const promise = scheduler.acquire(new Uint32Array(below(200)), options).then(
      (lease) => {
        outcomes.lease += 1;
        held.push(lease);
      },
      (error) => {
        outcomes[error instanceof RejectedError ? 'rejected' : 'abort'] += 1;
        assert.ok(error instanceof RejectedError || error.name === 'AbortError', String(error));
      },
    );
    controllers.push(controller);
    all.push(promise);
    switch (below(6)) {
      case 0:
      case 1:
        held.splice(below(held.length), 1)[0]?.[['complete', 'fail', 'cancel'][below(3)]]();
        break;
      case 2:
        controllers[below(controllers.length)].abort();
        break;
      case 3:
        // In the tick of a grant, if there is one.
        held.splice(below(held.length), 1)[0]?.complete();
        controllers[below(controllers.length)].abort();
        controllers.at(-1).abort();
        break;
      case 4:
        pass(clock, below(20));
        break;
      default:
        await settle();
    }
  }
  for (const controller of controllers) {
    controller.abort();
  }
  await Promise.all(all);
  for (const lease of held) {
    lease.complete();
  }
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
  assert.equal(outcomes.lease + outcomes.abort + outcomes.rejected, 10_000);
  assert.ok(Math.min(...Object.values(outcomes)) > 500, JSON.stringify(outcomes));
});

test('an empty pool rejects immediately, unless configured to queue', async () => {
  const { scheduler, clock } = pool([]);
  for (const options of [{}, { timeoutMs: Infinity }, { waitForEndpoints: false, timeoutMs: 5_000 }]) {
    await assert.rejects(scheduler.acquire('x', options), { name: 'RejectedError', kind: 'rejected', reason: 'no_endpoints', httpStatus: 503 });
  }
  const waits = scheduler.acquire('x', { waitForEndpoints: true, timeoutMs: 1e6 });
  await settle();
  assert.equal(scheduler.queued, 1);
  const id = scheduler.addEndpoint('a');
  (await waits).complete();
  scheduler.drainEndpoint(id);
  assert.equal(scheduler.acceptingEndpoints, 0);
  await assert.rejects(scheduler.acquire('x'), { reason: 'no_endpoints' });
  const patient = scheduler.acquire('x', { waitForEndpoints: true, timeoutMs: 1_000 });
  const refused = assert.rejects(patient, { kind: 'evicted', queueTimeMs: 1_000 });
  await settle();
  pass(clock, 1_000);
  await refused;
  scheduler.resumeEndpoint(id);
  assert.equal(scheduler.acceptingEndpoints, 1);
  (await scheduler.acquire('x')).complete();
  await assert.rejects(scheduler.acquire('x', { waitForEndpoints: 1 }), /waitForEndpoints must be a boolean/);
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('a signal that throws leaves nothing behind', async () => {
  const fault = new Error('a signal of its own making');
  const broken = {
    addEventListener: { addEventListener() { throw fault; } },
    aborted: { get aborted() { throw fault; } },
    throwIfAborted: { throwIfAborted() { throw fault; } },
  };
  for (const [what, part] of Object.entries(broken)) {
    const { scheduler } = full();
    const signal = { aborted: false, throwIfAborted() {}, addEventListener() {}, removeEventListener() {} };
    Object.defineProperties(signal, Object.getOwnPropertyDescriptors(part));
    const lease = await scheduler.acquire('x');
    const waits = scheduler.acquire('x', { signal, timeoutMs: 1e6 });
    const rejected = assert.rejects(waits, (error) => error === fault, what);
    await settle();
    lease.complete();
    await rejected;
    assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 }, what);
  }
  const { scheduler } = full();
  const lease = await scheduler.acquire('x');
  const signal = { aborted: false, throwIfAborted() {}, addEventListener() {}, removeEventListener() { throw fault; } };
  const waits = scheduler.acquire('x', { signal, timeoutMs: 1e6 });
  await settle();
  lease.complete();
  (await waits).complete();
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('a process stays alive while a request waits, however long it may', () => {
  // Only the timer keeps the process alive: without it, the process would exit with code 13.
  const script = `
    import { Scheduler } from 'slotwise';
    const real = setTimeout;
    const delays = [];
    globalThis.setTimeout = (ring, delay) => { delays.push(delay); return real(ring, 0); };
    let now = 0;
    const scheduler = new Scheduler({}, { now: () => now });
    scheduler.addEndpoint({ name: 'a', maxInFlight: 1 });
    const first = await scheduler.acquire('x');
    const waits = [1e9, Infinity].map((timeoutMs) => scheduler.acquire('x', { timeoutMs }));
    now = 1e9;
    const reason = await waits[0].catch((error) => error.reason);
    first.complete();
    (await waits[1]).complete();
    console.log(reason, delays.every((delay) => delay > 0));`;
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd, encoding: 'utf8' });
  assert.deepEqual([status, stdout.trim()], [0, 'ttl_expired true'], stderr);
});
