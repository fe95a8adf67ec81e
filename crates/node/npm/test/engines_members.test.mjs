// Work for each endpoint finds those that join and leave, and lists them only after a change.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Scheduler } from 'slotwise';
import { probe, publishersOn, scrape, subscribe } from 'slotwise/engines';
import { Messages, Time } from './support/time.mjs';
import { bytes } from './support/wire.mjs';

const PAGE = bytes({ file: 'vllm-0.32/default/metrics/metrics_under_load.txt' });
const page = async () => ({ status: 200, body: PAGE });

/** Sockets that never receive. */
class Silent {
  #refuse = () => {};
  subscribe() {}
  connect() {}
  send() {}
  receive() {
    return new Promise((_, reject) => (this.#refuse = reject));
  }
  close() {
    this.#refuse(new Error('closed'));
  }
}
const zeromq = { Subscriber: Silent, Dealer: Silent };

/** Counts how often its endpoints are listed. Its statistics, which cost more, are refused. */
class CountingScheduler extends Scheduler {
  listed = 0;

  endpointNames() {
    this.listed += 1;
    return super.endpointNames();
  }

  stats() {
    throw new Error('statistics of all endpoints to find which there are');
  }
}

for (const [kind, begin] of Object.entries({
  scrape: (scheduler, options) => scrape(scheduler, page, options),
  probe: (scheduler, options, time) => probe(scheduler, page, {}, { ...options, now: time.clock }),
  subscribe: (scheduler, options) => subscribe(scheduler, () => [], { ...options, zeromq }),
})) {
  test(`endpoints are listed only after a change: ${kind}`, async () => {
    const time = new Time();
    const scheduler = new CountingScheduler({}, { now: time.clock });
    scheduler.addEndpoint('http://a');
    const log = new Messages();
    const helper = await begin(scheduler, { sleep: time.sleep, log }, time);
    await time.pass(100_000);
    assert.equal(scheduler.listed, 1);
    scheduler.addEndpoint('http://b');
    await time.pass(100_000);
    assert.equal(scheduler.listed, 2);
    await helper.close();
    assert.deepEqual([time.sleeping, log.lines], [0, []]);
  });
}

test('another name is another URL', async () => {
  const time = new Time();
  let asked = new Set();
  const get = async (url) => (asked.add(url), page());
  const scheduler = new Scheduler({}, { now: time.clock });
  const endpoint = scheduler.addEndpoint('http://a');
  const options = { sleep: time.sleep };
  const scraper = scrape(scheduler, get, options);
  const prober = probe(scheduler, get, { interval: 1, timeout: 0.5 }, { ...options, now: time.clock });
  await time.pass(10_000);
  scheduler.updateEndpoint(endpoint, 'http://b');
  await time.pass(2_000);
  asked = new Set();
  await time.pass(10_000);
  await Promise.all([scraper.close(), prober.close()]);
  assert.deepEqual(asked, new Set(['http://b/metrics', 'http://b/health']));
});

test('work that fails starts again', async () => {
  const time = new Time();
  let failures = 3;
  const publishers = (name) => {
    failures -= 1;
    if (failures >= 0) throw new Error('unknown yet');
    return publishersOn(1, null)(name);
  };
  const scheduler = new Scheduler({}, { now: time.clock });
  scheduler.addEndpoint('http://127.0.0.1');
  const log = new Messages();
  const subscriber = await subscribe(scheduler, publishers, { sleep: time.sleep, log, zeromq });
  await time.pass(10_000);
  await subscriber.close();
  assert.equal(failures, -1);
  assert.deepEqual(log.levels, ['error', 'error', 'error']);
});

test('a helper ends with its block', async () => {
  const time = new Time();
  const scheduler = new Scheduler({}, { now: time.clock });
  scheduler.addEndpoint('http://a');
  const scraper = scrape(scheduler, page, { sleep: time.sleep });
  await time.pass(1_000);
  assert.ok(time.sleeping > 0);
  await scraper[Symbol.asyncDispose]();
  assert.equal(time.sleeping, 0);
});

test('publishers are on the hosts of endpoints', () => {
  const publishers = publishersOn(5557, 5657, { ranks: 2 });
  assert.deepEqual(publishers('http://10.0.0.1:8000'), [
    { events: 'tcp://10.0.0.1:5557', replay: 'tcp://10.0.0.1:5657', rank: 0 },
    { events: 'tcp://10.0.0.1:5558', replay: 'tcp://10.0.0.1:5658', rank: 1 },
  ]);
  assert.deepEqual(publishersOn(1, null)('http://[::1]:8000'), [{ events: 'tcp://[::1]:1', replay: null, rank: 0 }]);
  assert.deepEqual(publishers('a'), []);
});
