// Engines that join and leave, and draining that can be awaited.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Scheduler, UnknownEndpointError } from 'slotwise';
import { discover, drain, ofDns, ofFile, ofSrv } from 'slotwise/engines';
import { Messages, Time } from './support/time.mjs';

const [A, B, C] = ['http://a:1', 'http://b:1', 'http://c:1'];

function started() {
  const time = new Time();
  const log = new Messages();
  const scheduler = new Scheduler({ seed: 1 }, { now: time.clock });
  return { time, scheduler, log, options: { sleep: time.sleep, log } };
}

/** The endpoints, and which of them are draining. */
const pool = (scheduler) =>
  Object.fromEntries(scheduler.stats().endpoints.map(({ name, draining }) => [name, draining]));

test('the pool follows the list', async () => {
  const { time, scheduler, options } = started();
  let listed = [A, B];
  const source = async () => {
    if (listed instanceof Error) throw listed;
    return listed;
  };
  const other = scheduler.addEndpoint(C);
  const found = await discover(scheduler, source, { intervalMs: 5_000, drainTimeoutMs: 60_000, ...options });
  assert.deepEqual(pool(scheduler), { [C]: false, [A]: false, [B]: false });
  assert.deepEqual([...found.endpoints.keys()], [A, B]);
  const held = scheduler.pick('x', { exclude: [other] });
  const busy = held.endpointName;
  const stays = busy === A ? B : A;
  listed = [stays];
  await time.pass(6_000);
  assert.equal(pool(scheduler)[busy], true, 'it drains');
  // Listed again before it has left: it resumes, with its cache.
  listed = [A, B];
  await time.pass(6_000);
  assert.deepEqual(pool(scheduler), { [C]: false, [A]: false, [B]: false });
  assert.equal(scheduler.endpointNamed(busy), held.endpointId);
  listed = [stays];
  await time.pass(6_000);
  scheduler.complete(held.requestId);
  await time.pass(0);
  assert.deepEqual(pool(scheduler), { [C]: false, [stays]: false });
  // A source that fails changes nothing.
  listed = new Error('no answer');
  await time.pass(20_000);
  assert.equal(found.error, listed);
  assert.ok(stays in pool(scheduler));
  // Endpoints of other code are left alone, also if they are listed.
  listed = [C];
  await time.pass(6_000);
  assert.deepEqual(pool(scheduler), { [C]: false });
  assert.equal(found.error, undefined);
  listed = [];
  await time.pass(6_000);
  assert.deepEqual(pool(scheduler), { [C]: false });
  await found.close();
  assert.equal(time.sleeping, 0);
});

test('a drain is limited in time', async () => {
  const { time, scheduler, options, log } = started();
  scheduler.addEndpoint(A);
  const held = scheduler.pick('x');
  const begun = time.now;
  const removing = drain(scheduler, A, { timeoutMs: 7_000, ...options });
  await time.pass(6_999);
  assert.deepEqual(pool(scheduler), { [A]: true });
  await time.pass(1);
  assert.deepEqual((await removing).inFlight, [held.requestId]);
  assert.equal(time.now, begun + 7_000);
  assert.deepEqual([pool(scheduler), log.levels], [{}, ['warn']]);
  scheduler.complete(held.requestId);
  const other = scheduler.addEndpoint(B);
  assert.deepEqual((await drain(scheduler, other, options)).inFlight, []);
  for (const unknown of [other, B]) {
    await assert.rejects(drain(scheduler, unknown, options), UnknownEndpointError);
  }
  assert.equal(time.sleeping, 0);
});

test('a drain that is aborted leaves the endpoint draining', async () => {
  const { scheduler, options } = started();
  const endpoint = scheduler.addEndpoint(A);
  const held = scheduler.pick('x');
  for (const timeoutMs of [null, 1_000]) {
    const abort = new AbortController();
    const waits = drain(scheduler, endpoint, { timeoutMs, signal: abort.signal, ...options });
    abort.abort();
    await assert.rejects(waits, { name: 'AbortError' });
    assert.deepEqual(pool(scheduler), { [A]: true });
  }
  scheduler.resumeEndpoint(endpoint);
  scheduler.complete(held.requestId);
  assert.deepEqual(pool(scheduler), { [A]: false });
});

test('files list one URL a line', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'slotwise-'));
  const file = join(folder, 'engines');
  try {
    writeFileSync(file, `# engines\n${A}\n\n  ${B}  # the new one\r\n`);
    assert.deepEqual(await ofFile(file)(), [A, B]);
    await assert.rejects(ofFile(join(folder, 'none'))(), { code: 'ENOENT' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('names are resolved by the system, or as SRV records', async () => {
  const lookup = async (host, options) => {
    assert.deepEqual([host, options], ['vllm', { all: true }]);
    return [{ address: '10.0.0.1' }, { address: 'fd00::1' }];
  };
  const found = await ofDns('vllm', 8000, { lookup })();
  assert.deepEqual(found, ['http://10.0.0.1:8000', 'http://[fd00::1]:8000']);
  const resolver = {
    async resolveSrv(name) {
      assert.equal(name, '_http._tcp.vllm');
      return [{ name: 'pod-0.vllm.', port: 8000 }];
    },
  };
  const srv = ofSrv('_http._tcp.vllm', resolver, { scheme: 'https' });
  assert.deepEqual(await srv(), ['https://pod-0.vllm:8000']);
});
