// Quotas that several gateways share: by links without I/O, and by sockets in a directory.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { Scheduler } from 'slotwise';
import { Configuration } from 'slotwise/configuration';
import { Gates, RefusedError } from 'slotwise/gates';
import { Ingress } from 'slotwise/ingress';
import { PeerLink, connect, seedOf, share } from 'slotwise/peers';

const KEY = 'sixteen bytes or more';
const FILE = `
models: [llama]
gates:
  shared: true
  anonymous: {limits: {quotas: [{measure: tokens, limit: 1000, window: 3600}]}}
`;
const ARRIVAL = { model: 'llama', promptTokens: 300, outputTokens: 300 };

const scheduler = () => new Scheduler({ seed: seedOf(KEY) });
const limits = { quotas: [{ measure: 'tokens', limit: 1000, window: 3600 }] };

/** Whether a request passes; it is not counted. */
function passes(ingress, now) {
  try {
    return ingress.cancel(ingress.admit({ ...ARRIVAL, now }), now);
  } catch (error) {
    assert.ok(error instanceof RefusedError && error.exceeded.measure === 'tokens', error);
    return false;
  }
}

test('two links exchange the usage of their ingresses', () => {
  const gateway = (name) => ({
    link: new PeerLink(scheduler(), { name, key: KEY, incarnation: 1 }),
    ingress: new Ingress(new Configuration(FILE)),
  });
  const [a, b] = [gateway('a'), gateway('b')];
  const send = (from, to, now) => {
    from.link.exchangeUsage(from.ingress, now);
    for (let message = from.link.exportDelta(now); message !== null; message = from.link.exportDelta(now)) {
      to.link.applyDelta(message, now);
      to.link.exchangeUsage(to.ingress, now);
    }
  };
  const admitted = a.ingress.admit({ ...ARRIVAL, now: 1 });
  assert.equal(passes(b.ingress, 1), true, 'b knows nothing of it');
  send(a, b, 1);
  assert.equal(passes(b.ingress, 1), false);
  // A refund takes effect, too.
  a.ingress.settle(admitted, { promptTokens: 300, completionTokens: 10 }, 300);
  send(a, b, 300);
  assert.equal(passes(b.ingress, 300), true);
});

test('gates exchange it, and an object of another kind is rejected', () => {
  const gates = () => new Gates({ anonymous: { limits }, shared: true });
  const [here, there] = [gates(), gates()];
  const [sender, receiver] = ['a', 'b'].map((name) => new PeerLink(scheduler(), { name, key: KEY }));
  const admit = (which) => which.admit({}, { model: 'llama', promptTokens: 600, outputTokens: 0 });
  admit(here);
  sender.exchangeUsage(here);
  receiver.applyDelta(sender.exportDelta());
  receiver.exchangeUsage(there);
  assert.throws(() => admit(there), RefusedError);
  assert.throws(() => sender.exchangeUsage({}), TypeError);
  assert.throws(() => sender.exchangeUsage(scheduler()), TypeError);
});

test('sharings exchange it by a transport', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'slotwise-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const host = async (name) => {
    const gates = new Ingress(new Configuration(FILE));
    const sharing = await share(scheduler(), connect(`unix:${directory}`), { key: KEY, name, gates });
    return { gates, sharing };
  };
  const [a, b] = [await host('a'), await host('b')];
  const admitted = a.gates.admit(ARRIVAL);
  while (passes(b.gates)) {
    await sleep(10);
  }
  assert.ok(a.gates.cancel(admitted));
  while (!passes(b.gates)) {
    await sleep(10);
  }
  await a.sharing.close();
  await b.sharing.close();
});
