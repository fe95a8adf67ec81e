// Sharing by sockets in a directory and by servers, which are killed, started, frozen and thawed.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { connect as dial, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { Scheduler } from 'slotwise';
import { connect, seedOf, share } from 'slotwise/peers';
import { NatsTransport } from 'slotwise/peers/nats';
import { RedisTransport } from 'slotwise/peers/redis';
import { UnixTransport, keyOf } from 'slotwise/peers/unix';
import { Outbox } from '../dist/peers/transport.js';

const KEY = 'sixteen bytes or more';
const QUICK = { key: KEY, heartbeatMs: 100, silenceMs: 1_000 };

function scheduler() {
  const made = new Scheduler({ seed: seedOf(KEY) });
  ['http://10.0.0.1:8000', 'http://10.0.0.2:8000'].forEach((engine) => made.addEndpoint(engine));
  return made;
}

/** Waits until the condition holds; a slow machine never fails it. */
async function until(condition) {
  while (!condition()) {
    await sleep(10);
  }
}

/** Requests of all peers in flight. */
const booked = ({ link }) => [0, 1].reduce((sum, id) => sum + link.load(id).prefilling + link.load(id).running, 0);

function folder(context) {
  const made = mkdtempSync(join(tmpdir(), 'slotwise-'));
  context.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

test('processes find each other in a directory', async (context) => {
  const directory = folder(context);
  const [here, there] = [scheduler(), scheduler()];
  const url = `unix:${directory}`;
  const a = await share(here, connect(url, { channel: 'a/b' }), { ...QUICK, name: 'a' });
  const b = await share(there, connect(url, { channel: 'a/b' }), { ...QUICK, name: 'b' });
  const other = await share(scheduler(), connect(url), QUICK);
  await until(() => a.alive[0] === 'b' && b.alive[0] === 'a');
  assert.deepEqual(other.alive, []);
  await other.close();
  const first = here.pick('Once upon a time');
  await until(() => booked(b) === 1);
  const second = there.pick('In a galaxy far away');
  assert.notEqual(first.endpointId, second.endpointId);
  there.complete(second.requestId);
  await b.close();
  // What ended was sent before the connection was closed.
  await until(() => booked(a) === 0);
  const sockets = join(directory, 'channel-a%2Fb');
  assert.equal(readdirSync(sockets).length, 1);
  assert.equal(statSync(sockets).mode & 0o777, 0o700);
  await a.close();
  assert.deepEqual(readdirSync(sockets), []);
});

test('a socket without a listener is removed, and a message in pieces is put together', async (context) => {
  const directory = folder(context);
  const lookEveryMs = 50;
  const [transport, received] = [new UnixTransport(directory, { lookEveryMs }), []];
  await transport.start((message) => received.push(Buffer.from(message).toString()));
  const sockets = join(directory, 'channel-default');
  const [own] = readdirSync(sockets);
  const { status } = spawnSync(process.execPath, ['-e', `
    require('node:net').createServer().listen(${JSON.stringify(join(sockets, '1-dead.sock'))}, () => {
      process.kill(process.pid, 'SIGKILL');
    })`]);
  assert.equal(status, null);
  await until(() => readdirSync(sockets).length === 1);
  const socket = dial(join(sockets, own));
  for (const byte of Buffer.from([0, 0, 0, 2, 111, 107, 0, 0, 0, 1, 33])) {
    socket.write(Buffer.of(byte));
    await sleep(1);
  }
  await until(() => received.length === 2);
  assert.deepEqual(received, ['ok', '!']);
  // One that is too large ends its connection.
  socket.write(Buffer.from([255, 255, 255, 255]));
  await once(socket.resume(), 'close');
  await transport.close();
});

test('a process that reads nothing holds up no other', async (context) => {
  const directory = folder(context);
  const [transport, other, received] = [new UnixTransport(directory), new UnixTransport(directory), []];
  await other.start((message) => received.push(message.length));
  const stuck = createServer((socket) => socket.pause());
  stuck.listen(join(directory, 'channel-default', '1-stuck.sock'));
  await once(stuck, 'listening');
  await transport.start(() => {});
  while (transport.dropped === 0) {
    transport.broadcast(Buffer.alloc(2 ** 20));
    await sleep(0);
  }
  // The other process reads, so what waits for it becomes less.
  await until(() => transport.broadcast(Buffer.from('last')) || received.includes(4));
  await transport.close();
  await other.close();
  stuck.close();
});

test('all processes of a directory have one key', (context) => {
  const directory = join(folder(context), 'shared');
  const keys = [1, 2, 3].map(() => Buffer.from(keyOf(directory)).toString());
  assert.equal(new Set(keys).size, 1);
  assert.deepEqual(readdirSync(directory), ['key']);
  assert.equal(statSync(join(directory, 'key')).mode & 0o777, 0o600);
});

test('other URLs are errors without their password', () => {
  for (const url of ['unix:', 'http://a', 'redis:', 'amqp://user:secret@a']) {
    assert.throws(() => connect(url), (error) => error instanceof TypeError && !error.message.includes('secret'));
  }
  assert.throws(() => connect('unix:/tmp', { channel: '' }), /channel/);
  assert.throws(() => connect(`unix:/tmp/${'x'.repeat(80)}`), RangeError);
});

test('a gateway starts and stops without its server', async () => {
  for (const url of ['redis://127.0.0.1:1', 'nats://127.0.0.1:1']) {
    const host = scheduler();
    const sharing = await share(host, connect(url), QUICK);
    assert.equal(host.pick('Once upon a time').kind, 'dispatch');
    await sleep(100);
    assert.equal(sharing.transport.connected, false);
    await sharing.close();
  }
});

/** A free port of the loopback. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

const SERVERS = {
  redis: { program: 'redis-server', words: (port) => ['--port', port, '--save', '', '--dir', tmpdir()], Transport: RedisTransport },
  nats: { program: 'nats-server', words: (port) => ['-a', '127.0.0.1', '-p', port], Transport: NatsTransport },
};

for (const [kind, { program, words, Transport }] of Object.entries(SERVERS)) {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };
  const skip = spawnSync(program, ['--version'], { env }).error ? `${program} is not installed` : false;
  test(`gateways share whenever there is a server: ${kind}`, { skip }, async (context) => {
    const port = await freePort();
    const start = () => spawn(program, words(String(port)), { env, stdio: 'ignore' });
    let server = start();
    context.after(() => server.kill('SIGKILL'));
    const [here, there] = [scheduler(), scheduler()];
    const ends = [0, 1].map(() => new Transport(`${kind}://127.0.0.1:${port}`, { channel: 'a b.*', silentMs: 1_000 }));
    const a = await share(here, ends[0], { ...QUICK, name: 'a' });
    const b = await share(there, ends[1], { ...QUICK, name: 'b' });
    await until(() => a.alive[0] === 'b' && b.alive[0] === 'a');
    const first = here.pick('Once upon a time');
    await until(() => booked(b) === 1);

    // Killed: each counts its own requests, and dispatches on.
    server.kill('SIGKILL');
    await until(() => ends.every(({ connected }) => !connected));
    await until(() => a.alive.length + b.alive.length + booked(b) === 0);
    const second = there.pick('In a galaxy far away');
    server = start();
    await until(() => booked(a) === 1 && booked(b) === 1);

    // Split: connections stay open, but nothing passes.
    server.kill('SIGSTOP');
    await until(() => ends.every(({ connected }) => !connected));
    await until(() => a.alive.length + b.alive.length + booked(a) === 0);
    here.complete(first.requestId);
    server.kill('SIGCONT');
    await until(() => booked(a) === 1 && booked(b) === 0 && b.alive.length === 1);
    there.complete(second.requestId);
    await until(() => booked(a) === 0);
    await Promise.all([a.close(), b.close()]);
  });
}

test('the example of the manual runs', () => {
  const page = readFileSync(new URL('../../../../docs/src/gateways_transports.md', import.meta.url), 'utf8');
  const blocks = [...page.matchAll(/^```js\n([^]*?)^```/gm)];
  assert.equal(blocks.length, 1);
  for (const [, code] of blocks) {
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }
});

test('a wait for a message leaves no listener on the signal of its connection', async () => {
  const [outbox, { signal }] = [new Outbox(), new AbortController()];
  for (let number = 0; number < 20; number += 1) {
    const waiting = outbox.next(signal);
    outbox.add(Uint8Array.of(number));
    assert.deepEqual(await waiting, Uint8Array.of(number));
  }
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
});
