// KV events over real ZeroMQ sockets on the loopback, with replays.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as zeromq from 'zeromq';
import { Scheduler } from 'slotwise';
import { subscribe } from 'slotwise/engines';
import { BATCHES, KvPublisher } from './kv_publisher.mjs';

const [FIRST, SECOND, THIRD] = BATCHES;
const log = { info() {}, warn() {}, error: (message, error) => assert.fail(`${message}: ${error.stack}`) };

async function until(condition) {
  while (!condition()) await delay(5);
}

/** Looks at the endpoints at once. */
const sleep = (_, signal) => delay(5, undefined, { signal });

const stored = (scheduler) =>
  scheduler.stats().endpoints.reduce((sum, { kvStoredEvents }) => sum + kvStoredEvents, 0);

function kv(name, run) {
  test(name, async () => {
    const engine = await new KvPublisher().start();
    try {
      await run(engine, new Scheduler());
    } finally {
      engine.close();
    }
  });
}

kv('missed batches are replayed', async (engine, scheduler) => {
  scheduler.addEndpoint('http://a');
  scheduler.addEndpoint('http://without');
  await engine.publish(FIRST, { lost: true });
  const subscriber = await subscribe(scheduler, { 'http://a': [engine.address] }, { log, zeromq });
  await engine.subscribed();
  await engine.publish(SECOND);
  await until(() => stored(scheduler) >= 2);
  assert.deepEqual(engine.asked, [0], 'a late subscriber asks for what it has missed');
  await engine.publish(THIRD, { lost: true });
  await engine.publish(Buffer.from([0x93])); // no batch: it is counted, and the next one follows
  await until(() => engine.asked.length === 2);
  await subscriber.close();
  await engine.left();
});

kv('an engine that does not replay stops nothing', async (engine, scheduler) => {
  engine.answers = false;
  scheduler.addEndpoint('http://a');
  await engine.publish(SECOND, { lost: true });
  const publishers = new Map([['http://a', [engine.address]]]);
  const subscriber = await subscribe(scheduler, publishers, { replayTimeoutMs: 50, log, zeromq });
  await engine.subscribed();
  await engine.publish(FIRST);
  await until(() => stored(scheduler) >= 1);
  assert.deepEqual(engine.asked, [0]);
  await subscriber.close();
});

kv('without a replay socket, missed batches are lost', async (engine, scheduler) => {
  scheduler.addEndpoint('http://a');
  await engine.publish(SECOND, { lost: true });
  const subscriber = await subscribe(scheduler, () => [{ events: engine.address.events }], { log, zeromq });
  await engine.subscribed();
  await engine.publish(FIRST);
  await until(() => stored(scheduler) >= 1);
  assert.deepEqual(engine.asked, []);
  await subscriber.close();
});

kv('endpoints join and leave', async (engine, scheduler) => {
  const publishers = { 'http://a': [{ events: engine.address.events }] };
  const subscriber = await subscribe(scheduler, publishers, { sleep, log, zeromq });
  const endpoint = scheduler.addEndpoint('http://a');
  await engine.subscribed();
  await engine.publish(FIRST);
  await until(() => stored(scheduler) >= 1);
  scheduler.removeEndpoint(endpoint);
  await engine.left();
  scheduler.addEndpoint('http://a');
  await engine.subscribed();
  assert.equal(stored(scheduler), 0);
  await subscriber.close();
});

kv('ranks are separate publishers', async (engine, scheduler) => {
  const other = await new KvPublisher().start();
  const endpoint = scheduler.addEndpoint('http://a');
  const ranks = [engine.address, { events: other.address.events, rank: 1 }];
  const subscriber = await subscribe(scheduler, { 'http://a': ranks }, { log, zeromq });
  for (const one of [engine, other]) {
    await one.subscribed();
    await one.publish(FIRST);
  }
  await until(() => stored(scheduler) >= 2);
  assert.equal(scheduler.replayFrom(endpoint, 1), null);
  await subscriber.close();
  other.close();
});
