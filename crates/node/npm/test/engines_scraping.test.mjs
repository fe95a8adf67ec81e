// Metrics pages of all endpoints, on a clock that no machine slows down.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Scheduler } from 'slotwise';
import { Scraper, scrape } from 'slotwise/engines';
import { readMetrics } from 'slotwise/wire';
import { Messages, Time } from './support/time.mjs';
import { bytes } from './support/wire.mjs';

const PAGE = bytes({ file: 'vllm-0.32/default/metrics/metrics_under_load.txt' });
const good = () => ({ status: 200, body: PAGE });

/** Answers requests for pages, and records when each came. An answer of null never comes. */
class Pages {
  asked = [];
  open = new Set();

  constructor(time, answer) {
    this.time = time;
    this.answer = answer;
  }

  get = async (url) => {
    assert.ok(!this.open.has(url), 'one request of an endpoint at a time');
    this.asked.push([this.time.now, url]);
    this.open.add(url);
    try {
      const answer = this.answer(url);
      if (answer === null) {
        // Its time passes although it ignores its signal.
        this.open.delete(url);
        await new Promise(() => {});
      }
      if (answer instanceof Error) throw answer;
      return answer;
    } finally {
      this.open.delete(url);
    }
  };

  times(url) {
    return this.asked.filter(([, asked]) => asked === url).map(([at]) => at);
  }
}

function started(answer, options = {}) {
  const time = new Time();
  const scheduler = new Scheduler({ seed: 1 }, { now: time.clock });
  const pages = new Pages(time, answer);
  const log = new Messages();
  const begin = () => scrape(scheduler, pages.get, { sleep: time.sleep, log, ...options });
  return { time, scheduler, pages, log, begin };
}

const steps = (times) => times.slice(1).map((at, index) => at - times[index]);

function health(scheduler, name) {
  const { backoff, backoffs } = scheduler.stats().endpoints.find((one) => one.name === name);
  return [backoff, backoffs];
}

test('all endpoints are scraped, also those that are added later', async () => {
  const { time, scheduler, pages, begin } = started(good, { intervalMs: 2_000 });
  scheduler.addEndpoint('http://a');
  const scraper = begin();
  await time.pass(20_000);
  const late = scheduler.addEndpoint('http://b/');
  const added = time.now;
  await time.pass(20_000);
  scheduler.removeEndpoint(late);
  const removed = time.now;
  await time.pass(20_000);
  assert.ok(scraper instanceof Scraper);
  assert.equal(scraper.failing.size, 0);
  const [first, second] = [pages.times('http://a/metrics'), pages.times('http://b/metrics')];
  assert.ok(first.length >= 27 && first.length <= 33, String(first.length));
  assert.ok(second.length >= 8 && second.length <= 11, String(second.length));
  assert.ok(steps(first).every((step) => step >= 1_800 && step <= 2_200));
  assert.ok(second[0] >= added && second[0] <= added + 4_000);
  assert.ok(second.at(-1) <= removed + 2_000);
  await scraper.close();
  const { length } = pages.asked;
  await time.pass(20_000);
  assert.equal(pages.asked.length, length, 'nothing is asked after the end');
  assert.equal(time.sleeping, 0);
});

test('the seed spreads engines over the interval', async () => {
  const run = async (seed) => {
    const { time, scheduler, pages, begin } = started(good, { intervalMs: 8_000, seed });
    for (let number = 0; number < 32; number += 1) scheduler.addEndpoint(`http://${number}`);
    const begun = time.now;
    const scraper = begin();
    await time.pass(8_000);
    await scraper.close();
    return pages.asked.map(([at, url]) => [at - begun, url]);
  };
  const asked = await run(7);
  assert.deepEqual(asked, await run(7));
  assert.notDeepEqual(asked, await run(8));
  // Each quarter of the interval has its share of the first requests.
  const first = new Map([...asked].reverse().map(([at, url]) => [url, at]));
  assert.equal(first.size, 32);
  for (let quarter = 0; quarter < 4; quarter += 1) {
    assert.ok([...first.values()].some((at) => Math.floor(at / 2_000) === quarter), String(quarter));
  }
});

test('the first page completes a description', async () => {
  const page = readMetrics(PAGE);
  const { time, scheduler, begin } = started(good);
  const unknown = scheduler.addEndpoint('http://a');
  const known = scheduler.addEndpoint({ name: 'http://b', blockSize: 8, kvCacheTokens: 64_000 });
  const scraper = begin();
  await time.pass(3_000);
  await scraper.close();
  const [first, second] = [scheduler.endpoint(unknown), scheduler.endpoint(known)];
  assert.ok(page.blockSize > 0 && page.kvCacheTokens > 0 && page.kvCacheTokens !== 64_000);
  assert.deepEqual([first.blockSize, first.kvCacheTokens], [page.blockSize, page.kvCacheTokens]);
  assert.deepEqual([second.blockSize, second.kvCacheTokens], [8, 64_000]);
});

for (const [name, answer] of Object.entries({
  refused: new Error('connection refused'),
  silent: null,
  status: { status: 503, body: Buffer.alloc(0) },
  'no page': { status: 200, body: Buffer.from('<html></html>') },
})) {
  test(`a failing engine is backed off and asked less often: ${name}`, async () => {
    let failing = true;
    const { time, scheduler, pages, log, begin } = started((url) => (failing ? answer : good(url)), {
      timeoutMs: 2_000,
      backoffLimitMs: 8_000,
    });
    scheduler.addEndpoint('http://a');
    const scraper = begin();
    await time.pass(100_000);
    assert.equal(health(scheduler, 'http://a')[0], 'probe');
    assert.deepEqual([...scraper.failing.keys()], ['http://a']);
    const waits = steps(pages.times('http://a/metrics'));
    assert.ok(waits[0] >= 1_800 && waits[0] <= 4_200, String(waits[0]));
    assert.ok(waits.at(-1) >= 7_200 && waits.at(-1) <= 10_800, String(waits.at(-1)));
    failing = false;
    await time.pass(20_000);
    assert.equal(scraper.failing.size, 0);
    const last = steps(pages.times('http://a/metrics')).at(-1);
    assert.ok(last >= 900 && last <= 1_100);
    assert.deepEqual(log.levels, ['warn', 'info']);
    assert.match(log.lines[1][1], /back/);
    await scraper.close();
    assert.equal(time.sleeping, 0);
  });
}

test('engines without a page and idle ones are not dead', async () => {
  const answers = {
    'http://none/metrics': { status: 404, body: Buffer.alloc(0) },
    'http://idle/metrics': { status: 200, body: Buffer.from('# TYPE other gauge\nother 1\n') },
    'http://lost/metrics': good(),
  };
  const { time, scheduler, begin } = started((url) => answers[url]);
  ['http://none', 'http://idle', 'http://lost'].forEach((name) => scheduler.addEndpoint(name));
  const scraper = begin();
  await time.pass(5_000);
  answers['http://lost/metrics'] = { status: 404, body: Buffer.alloc(0) };
  await time.pass(20_000);
  assert.equal(scraper.failing.size, 3);
  assert.deepEqual(health(scheduler, 'http://none'), [null, 0]);
  assert.deepEqual(health(scheduler, 'http://idle'), [null, 0]);
  assert.equal(health(scheduler, 'http://lost')[0], 'probe');
  await scraper.close();
});

test('a fault is logged, and the work goes on', async () => {
  const { time, scheduler, pages, log } = started(good);
  let faults = 3;
  const handle = scheduler.handleMetricsPage.bind(scheduler);
  scheduler.handleMetricsPage = (...values) => {
    if (faults > 0) {
      faults -= 1;
      throw new Error('a fault');
    }
    return handle(...values);
  };
  scheduler.addEndpoint('http://a');
  const scraper = scrape(scheduler, pages.get, { sleep: time.sleep, log });
  await time.pass(20_000);
  assert.equal(faults, 0);
  assert.deepEqual(log.levels, ['error', 'error', 'error']);
  assert.ok(log.lines.every(([, , error]) => error.message === 'a fault'));
  assert.ok(pages.asked.length >= 15, 'the work starts again');
  await scraper.close();
});

test('mistakes are errors', () => {
  const { scheduler, pages } = started(good);
  assert.throws(() => scrape(scheduler, pages.get, { intervalMs: 0 }), /intervalMs must be above 0/);
  assert.throws(() => scrape(scheduler, pages.get, { intervall: 1 }), /intervall/);
});
