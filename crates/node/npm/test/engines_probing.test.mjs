// Active health checks of all endpoints, and requests for pages over HTTP.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { Scheduler } from 'slotwise';
import { fetchGet, httpGet, probe } from 'slotwise/engines';
import { Messages, Time } from './support/time.mjs';

function started(get) {
  const time = new Time();
  const log = new Messages();
  const scheduler = new Scheduler({ seed: 1 }, { now: time.clock });
  const begin = (checks, options = {}) =>
    probe(scheduler, get(time), checks, { now: time.clock, sleep: time.sleep, log, ...options });
  return { time, scheduler, log, begin };
}

const backoff = (scheduler, name) => scheduler.stats().endpoints.find((one) => one.name === name).backoff;
const passing = async () => ({ status: 200, body: Buffer.alloc(0) });

test('thresholds decide, and requests come back after passes', async () => {
  const statuses = new Map();
  const asked = [];
  const { time, scheduler, log, begin } = started((clock) => async (url, signal) => {
    asked.push([clock.now, url]);
    const status = statuses.get(url) ?? 200;
    if (status === 0) throw new Error('connection refused');
    if (status === 1) await clock.sleep(1e9, signal);
    return { status, body: Buffer.alloc(0) };
  });
  scheduler.addEndpoint('http://a:8000');
  const prober = begin({ interval: 4, timeout: 2, unhealthy_threshold: 3 });
  await time.pass(12_000);
  const late = scheduler.addEndpoint('http://b:8000');
  await time.pass(12_000);
  for (const status of [500, 0, 1]) {
    statuses.set('http://a:8000/health', status);
    await time.pass(7_000);
    assert.equal(prober.unhealthy.size, 0);
    await time.pass(9_000);
    assert.deepEqual([...prober.unhealthy], ['http://a:8000']);
    assert.equal(backoff(scheduler, 'http://a:8000'), 'probe');
    statuses.clear();
    await time.pass(16_000);
    assert.equal(prober.unhealthy.size, 0);
  }
  scheduler.removeEndpoint(late);
  await time.pass(2_000);
  const removed = time.now;
  await time.pass(20_000);
  await prober.close();
  assert.ok(Math.max(...asked.filter(([, url]) => url.includes('//b')).map(([at]) => at)) <= removed);
  assert.deepEqual(log.levels, ['warn', 'info', 'warn', 'info', 'warn', 'info']);
  assert.equal(time.sleeping, 0);
});

test('a failed request makes earlier passes void', async () => {
  const { time, scheduler, begin } = started(() => passing);
  const endpoint = scheduler.addEndpoint('http://a:8000');
  const prober = begin({ interval: 2, timeout: 1, healthy_threshold: 2 });
  await time.pass(10_000);
  prober.handleFailure(endpoint);
  await time.pass(10_000);
  assert.equal(prober.unhealthy.size, 0);
  await prober.close();
});

for (const [name, checks, url] of [
  ['http://a:8000/', {}, 'http://a:8000/health'],
  ['http://a:8000', { path: '/ready', port: 9 }, 'http://a:9/ready'],
  ['https://[::1]:8000', { port: 9 }, 'https://[::1]:9/health'],
]) {
  test(`path and port are those of the checks: ${url}`, async () => {
    const asked = new Set();
    const { time, scheduler, begin } = started(() => async (at) => (asked.add(at), passing()));
    scheduler.addEndpoint(name);
    const prober = begin(checks);
    await time.pass(10_000);
    await prober.close();
    assert.deepEqual([...asked], [url]);
  });
}

test('invalid checks are errors', () => {
  const { begin } = started(() => passing);
  assert.throws(() => begin({ interval: 0 }), /interval/);
  assert.throws(() => begin({ pth: '/' }), /pth/);
  assert.throws(() => begin({}, { evry: 1 }), /evry/);
});

/** A server whose answers these are, by path. */
async function serving(answers) {
  const server = createServer((request, response) => answers[request.url]?.(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => (server.closeAllConnections(), server.close()) };
}

for (const [name, make] of [['httpGet', httpGet], ['fetchGet', (options) => fetchGet(fetch, options)]]) {
  test(`${name} returns status and body, and follows no redirect`, async (context) => {
    const keys = [];
    const { url, stop } = await serving({
      '/page': (request, response) => (keys.push(request.headers['x-key']), response.end('a page')),
      '/moved': (_, response) => response.writeHead(307, { location: '/page' }).end(),
      '/silent': () => {},
    });
    context.after(stop);
    const signal = new AbortController().signal;
    const get = make({ headers: { 'x-key': 'secret' }, mostBytes: 6 });
    const page = await get(`${url}/page`, signal);
    assert.deepEqual([page.status, Buffer.from(page.body).toString()], [200, 'a page']);
    assert.equal((await get(`${url}/moved`, signal)).status, 307);
    await assert.rejects(make({ mostBytes: 5 })(`${url}/page`, signal), /more than 5 bytes/);
    assert.deepEqual(keys, ['secret', undefined]);
    const abort = new AbortController();
    const silent = get(`${url}/silent`, abort.signal);
    abort.abort();
    await assert.rejects(silent, { name: 'AbortError' });
    stop();
    await assert.rejects(get(`${url}/page`, signal));
  });
}

test('helpers that were not closed keep no process alive, not even during a request', async () => {
  const { url, stop } = await serving({});
  const program = `
    import { Scheduler } from 'slotwise';
    import { discover, httpGet, probe, scrape } from 'slotwise/engines';
    const scheduler = new Scheduler();
    await discover(scheduler, [process.argv[1]]);
    const asked = new Set();
    const get = httpGet();
    const counting = (url, signal) => (asked.add(new URL(url).pathname), get(url, signal));
    scrape(scheduler, counting, { intervalMs: 1 });
    probe(scheduler, counting, { interval: 0.05, timeout: 0.05 });
    while (asked.size < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    console.log([...asked].sort().join());`;
  const args = ['--input-type=module', '-e', program, url];
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  const child = await new Promise((resolve) => {
    execFile(process.execPath, args, { cwd }, (error, stdout, stderr) => resolve({ error, stdout, stderr }));
  });
  stop();
  assert.deepEqual([child.error, child.stdout], [null, '/health,/metrics\n'], child.stderr);
});
