// Schedulers that exchange messages: the same cases as in Rust, and the typed faces of Node.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { ConfigError, Scheduler } from 'slotwise';
import { PeerError, PeerLink, seedOf } from 'slotwise/peers';

const folder = new URL('../../../gateway/tests/links/', import.meta.url);
const KEY = Buffer.from('sixteen bytes or more');

/** A gateway and the requests that it has picked. */
class Host {
  requests = new Map();

  constructor({ name, interval, silence, burst, limits }, seed, endpoints) {
    this.scheduler = new Scheduler({ seed });
    endpoints.forEach((endpoint) => this.scheduler.addEndpoint(endpoint, 0));
    const millis = (seconds) => (seconds === undefined ? undefined : seconds * 1_000);
    this.link = new PeerLink(this.scheduler, {
      name,
      key: KEY,
      incarnation: 1,
      intervalMs: millis(interval),
      silenceMs: millis(silence),
      burst,
      limits: limits && { messageBytes: limits.message_bytes },
    });
  }

  poll(now) {
    const names = new Map([...this.requests].map(([name, id]) => [id, name]));
    const decisions = [];
    for (let it = this.scheduler.pollDecision(now); it; it = this.scheduler.pollDecision(now)) {
      decisions.push([names.get(it.requestId), it.endpointName]);
    }
    const due = this.scheduler.nextTimeout();
    return [decisions, due === undefined ? null : Math.floor(Math.round(due * 1_000) / 1_000)];
  }

  state(now) {
    const { sent, received, rejected } = this.link.stats();
    const due = Math.floor(Math.round(this.link.nextTimeout(now) * 1_000) / 1_000);
    return { alive: this.link.alive, complete: this.link.isComplete, due, sent, received, rejected };
  }
}

function sent(link, now) {
  const messages = [];
  for (let message = link.exportDelta(now); message !== null; message = link.exportDelta(now)) {
    messages.push(message);
  }
  return messages;
}

for (const file of readdirSync(folder).sort()) {
  for (const { doc, seed, endpoints, gateways, steps } of JSON.parse(readFileSync(new URL(file, folder), 'utf8'))) {
    test(`every step has the expected answer: ${doc}`, () => {
      const hosts = new Map(gateways.map((config) => [config.name, new Host(config, seed, endpoints)]));
      for (const step of steps) {
        const [now, { scheduler, link, requests }] = [step.at, hosts.get(step.on)];
        if ('pick' in step) {
          const dispatch = scheduler.pick(step.pick, { model: 'm', now });
          requests.set(step.as, dispatch.requestId);
          assert.deepEqual([dispatch.endpointName, dispatch.cachedTokens], step.expect);
        } else if ('submit' in step) {
          const { flow, weight } = step;
          const options = { model: 'm', flow, weight, now };
          requests.set(step.as, scheduler.submit(step.submit.repeat(step.times), options));
        } else if ('poll' in step) {
          assert.deepEqual(hosts.get(step.on).poll(now), step.expect);
        } else if ('first_token' in step) {
          scheduler.handleFirstToken(requests.get(step.first_token), now);
        } else if ('complete' in step) {
          scheduler.complete(requests.get(step.complete), {}, now);
        } else if ('send' in step) {
          const messages = sent(link, now);
          const applied = step.send.flatMap((name) =>
            messages.map((message) => hosts.get(name).link.applyDelta(message, now)));
          const hex = messages.map((message) => Buffer.from(message).toString('hex'));
          assert.deepEqual([hex, applied], step.expect);
        } else if ('error' in step) {
          assert.throws(() => link.applyDelta(Buffer.from(step.receive, 'hex'), now), (error) => {
            return error instanceof PeerError && error.code === step.error;
          });
        } else if ('receive' in step) {
          assert.equal(link.applyDelta(Buffer.from(step.receive, 'hex'), now), step.expect);
        } else {
          assert.deepEqual(hosts.get(step.on).state(now), step.expect);
        }
      }
    });
  }
}

test('a link that cannot be is an error', () => {
  const scheduler = new Scheduler();
  const link = (options) => () => new PeerLink(scheduler, { name: 'a', key: KEY, ...options });
  assert.throws(link({ key: 'short' }), (error) => error instanceof ConfigError && error.field === 'key');
  assert.throws(link({ heartbeatMs: 0 }), (error) => error.field === 'heartbeatMs');
  assert.throws(link({ name: '' }), /name must have 1 to 64 bytes/);
  assert.throws(link({ limits: { nothing: 1 } }), /nothing is not a known field/);
  assert.throws(link({ key: 7 }), TypeError);
  assert.throws(() => seedOf('short'), /at least 16 bytes, got 5/);
  scheduler.close();
  assert.throws(link({}), /closed/);
});

test('a seed follows from the key', () => {
  assert.equal(seedOf(KEY), seedOf('sixteen bytes or more'));
  assert.notEqual(seedOf(KEY), seedOf('sixteen bytes and more'));
  assert.ok(Number.isSafeInteger(seedOf(KEY)));
});

test('messages of another seed are rejected', () => {
  const [sender, receiver] = [1, 2].map((seed) =>
    new PeerLink(new Scheduler({ seed }), { name: `gateway ${seed}`, key: KEY }));
  const [message] = sent(sender, 1);
  assert.throws(() => receiver.applyDelta(message, 1), { code: 'seed' });
  assert.equal(receiver.stats().rejected, 1);
});
