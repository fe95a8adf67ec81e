// Processes and threads that share their pools: `--workers`, `node:cluster` and worker threads.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { ASKED, CHAT, engines, until } from './support/gateway.mjs';

const root = new URL('..', import.meta.url);
const { bin } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));
const command = fileURLToPath(new URL(bin['slotwise-gateway'], root));
const sharing = new URL('support/sharing.mjs', import.meta.url);
const skip = process.platform === 'win32';

function folder(t) {
  const made = mkdtempSync(join(tmpdir(), 'slotwise-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Runs a program whose own directories are made in the folder, and collects its lines. */
function running(t, words, directory) {
  const env = { ...process.env, TMPDIR: directory };
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'], env });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  const printed = [];
  let streams = 2;
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on('line', (line) => printed.push(line)).on('close', () => (streams -= 1));
  }
  /** The first group of each line with a match, once there are so many. */
  const lines = async (pattern, count = 1) => {
    const found = () => printed.map((line) => pattern.exec(line)?.[1]).filter((group) => group !== undefined);
    await until(() => found().length >= count || streams === 0);
    assert.ok(found().length >= count, printed.join('\n'));
    return found();
  };
  return { child, ended, lines };
}

const workers = (t, directory, ...words) =>
  running(t, [command, '--port', '0', '--workers', '2', '--log-level', 'info', ...words], directory);

const PROCESS = /worker \d listens: process (\d+)/;
const URL_LINE = /listens on (http:\S+) with 2 workers/;
const ADMIN = /admin page: (http:\S+)\//;

async function alive(admin) {
  const page = await fetch(`${admin}/metrics`).then((answer) => answer.text(), () => '');
  return Number(/slotwise_gateway_peers_alive\{[^}]*\} (\d+)/.exec(page)?.[1] ?? -1);
}

async function untilAlive(admin) {
  while ((await alive(admin)) !== 1) await sleep(10);
}

const exists = (id) => {
  try {
    process.kill(id, 0);
  } catch {
    return false;
  }
  // An orphan that is not waited for stays as a zombie in some containers.
  return !existsSync(`/proc/${id}/stat`) || !/\) Z/.test(readFileSync(`/proc/${id}/stat`, 'utf8'));
};

test('workers share a port and their pools', { skip }, async (t) => {
  const directory = folder(t);
  const pool = await engines(t, 'slow', 'slow');
  const urls = pool.map(({ url }) => url).join(',');
  const { child, ended, lines } = workers(t, directory, '--engines', urls, '--admin', '0');
  const [url] = await lines(URL_LINE);
  const admins = await lines(ADMIN, 2);
  assert.notEqual(admins[0], admins[1]);
  await Promise.all(admins.map(untilAlive));

  // A worker that is killed is started again, and found by the other one.
  const [first] = await lines(PROCESS, 2);
  process.kill(Number(first), 'SIGKILL');
  await lines(PROCESS, 3);
  await untilAlive((await lines(ADMIN, 3)).at(-1));

  // A stop drains all workers: each connection may be that of another one.
  const body = JSON.stringify(ASKED);
  const ask = async () => (await fetch(url + CHAT, { method: 'POST', body, headers: { connection: 'close' } })).text();
  const answers = Array.from({ length: 8 }, ask);
  await until(() => pool.reduce((sum, { held }) => sum + held, 0) === 8);
  child.kill('SIGTERM');
  pool.forEach((engine) => engine.open());
  for (const answer of await Promise.all(answers)) assert.ok(answer.endsWith('[DONE]\n\n'));
  assert.deepEqual(await ended, [0, null]);
  assert.deepEqual(readdirSync(directory), []);
});

test('workers end with the command', { skip }, async (t) => {
  const { child, lines } = workers(t, folder(t), '--engines', 'http://127.0.0.1:9');
  const processes = await lines(PROCESS, 2);
  child.kill('SIGKILL');
  await until(() => !processes.some((id) => exists(Number(id))));
});

test('a worker that cannot start ends the command', { skip }, async (t) => {
  const directory = folder(t);
  const words = ['--engines', 'http://127.0.0.1:9', '--gateway-name', 'n'.repeat(70)];
  const { ended, lines } = workers(t, directory, ...words);
  await lines(/(name)/);
  assert.deepEqual(await ended, [1, null]);
  assert.deepEqual(readdirSync(directory), []);
});

test('unshared gates are reported', { skip }, async (t) => {
  const directory = folder(t);
  const file = join(folder(t), 'gateway.json');
  writeFileSync(file, JSON.stringify({ gates: { anonymous: {} }, endpoints: ['http://127.0.0.1:9'] }));
  const { child, ended, lines } = workers(t, directory, '--config', file);
  await lines(/(each worker grants whole quotas)/);
  await lines(URL_LINE);
  child.kill('SIGINT');
  assert.deepEqual(await ended, [0, null]);
});

test('workers of node:cluster share a pool by one directory', { skip }, async (t) => {
  const directory = folder(t);
  const { ended, lines } = running(t, [fileURLToPath(sharing), directory], directory);
  assert.deepEqual(await lines(/shares with (\d)/, 2), ['1', '1']);
  assert.deepEqual(await ended, [0, null]);
});

test('worker threads share a pool by one directory', { skip }, async (t) => {
  const directory = folder(t);
  const threads = [0, 1].map(() => new Worker(sharing, { workerData: directory }));
  const heard = await Promise.all(threads.map((thread) => once(thread, 'message')));
  assert.deepEqual(heard, [[1], [1]]);
  threads.forEach((thread) => thread.postMessage('leave'));
  await Promise.all(threads.map((thread) => once(thread, 'exit')));
});
