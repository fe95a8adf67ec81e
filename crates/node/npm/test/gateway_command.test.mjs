// The command `slotwise-gateway`, as a process.
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'node:test';
import { ASKED, CHAT, engines, onePool } from './support/gateway.mjs';

const root = new URL('..', import.meta.url);
const { bin } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));
const command = fileURLToPath(new URL(bin['slotwise-gateway'], root));
/** More requests than the command serves before it handles a signal that came first. */
const MOST_REQUESTS = 1_000;

/** Runs the command, and provides what it prints, line by line. */
async function running(t, ...options) {
  const child = spawn(process.execPath, [command, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value;
  const first = await line();
  const [url] = /http:\/\/[\d.]+:\d+/.exec(first) ?? assert.fail(first);
  return { child, ended, line, url };
}

const post = (url, body = JSON.stringify(ASKED), headers = {}) => fetch(url, { method: 'POST', body, headers });

test('the demonstration answers the request that it prints', async (t) => {
  const { child, ended, line, url } = await running(t, '--demo', '--port', '0');
  const shown = await line();
  const [, at, body] = /^try: curl (\S+) -d '(.*)'$/.exec(shown) ?? assert.fail(shown);
  assert.equal(at, url + CHAT);
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const answer = await (await post(at, body, form)).json();
  assert.equal(answer.choices[0].message.content, 'You said: Hello');
  const hasCurl = spawnSync('curl', ['--version']).status === 0;
  if (hasCurl && process.platform !== 'win32') {
    const { stdout } = await promisify(execFile)('sh', ['-c', `${shown.slice('try: '.length)} -s`]);
    assert.equal(JSON.parse(stdout).choices[0].message.content, 'You said: Hello');
  }
  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
});

test('the manual lists the options, and begins with the demonstration', async () => {
  const page = readFileSync(new URL('../../../docs/src/node_gateway.md', root), 'utf8');
  const { OPTIONS } = await import(new URL('dist/gateway/arguments.js', root).href);
  for (const option of Object.keys(OPTIONS)) assert.ok(page.includes(`\`${option}`), option);
  assert.match(page, /npx slotwise-gateway --demo/);
  assert.ok(page.indexOf('npx slotwise-gateway --demo') < page.indexOf('```ts'));
  const readme = readFileSync(new URL('README.md', root), 'utf8');
  assert.match(readme, /npx slotwise-gateway --demo/);
});

test('--help lists the options', () => {
  const { status, stdout } = spawnSync(process.execPath, [command, '--help'], { encoding: 'utf8' });
  assert.equal(status, 0);
  assert.match(stdout, /--kv-events PORT,PORT/);
});

test('a stop signal finishes the stream', async (t) => {
  const pool = await engines(t, 'slow');
  const { child, ended, url } = await running(t, '--engines', pool[0].url, '--port', '0');
  const response = await post(url + CHAT);
  const reader = response.body.getReader();
  assert.ok((await reader.read()).value);
  child.kill('SIGTERM');
  pool[0].open();
  let rest = '';
  for (let step = await reader.read(); !step.done; step = await reader.read()) rest += Buffer.from(step.value);
  assert.ok(rest.endsWith('[DONE]\n\n'));
  assert.deepEqual(await ended, [0, null]);
});

test('a hangup signal reloads the file', { skip: process.platform === 'win32' }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'slotwise-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'gateway.json');
  const pool = await engines(t, 'good', 'good');
  writeFileSync(path, JSON.stringify(onePool(pool.slice(0, 1))));
  const { child, ended, url } = await running(t, '--config', path, '--port', '0');
  writeFileSync(path, JSON.stringify(onePool(pool.slice(1))));
  child.kill('SIGHUP');
  for (let asked = 0; asked < MOST_REQUESTS && pool[1].asked === 0; asked += 1) {
    const answer = await post(url + CHAT);
    assert.equal(answer.status, 200);
    await answer.text();
  }
  assert.ok(pool[1].asked > 0, 'the file was not reloaded');
  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
});

test('a safety function is imported from a file', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'slotwise-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const module = join(folder, 'checks.mjs');
  writeFileSync(module, "export const judge = (texts) => { if (texts[0].includes('no')) throw new Error('no'); };");
  const pool = await engines(t, 'good');
  const { url } = await running(t, '--engines', pool[0].url, '--port', '0', '--safety', `${module}:judge`);
  assert.equal((await post(url + CHAT)).status, 200);
});

const FREE = ['--engines', 'http://127.0.0.1:1', '--port', '0'];
const MISTAKES = [
  [[], 'one of --config, --engines, --discover and --demo is required'],
  [['--demo', '--reload'], '--reload needs --config'],
  [['--demo', '--engines', 'http://a'], 'argument --demo: not allowed with argument --engines'],
  [['--demo', '--safety', './nothing.mjs:here'], 'cannot be imported'],
  [['--demo', '--safety', 'node:fs:nothing'], "'node:fs:nothing' must be a function"],
  [['--engines', 'foo', '--port', '0'], "'foo' of the pool 'default' must be a URL, such as"],
  [[...FREE, '--port', '99999'], "argument --port: '99999' must be a port"],
  [[...FREE, '--port=x'], "argument --port: 'x' must be a port"],
  [[...FREE, '--port'], 'argument --port: expected one argument'],
  [[...FREE, '--colour', 'x'], 'unrecognized arguments: --colour x'],
  [[...FREE, '--admin', 'x'], "argument --admin: 'x' must be a port"],
  [[...FREE, '--kv-events', '1'], "'1' must be two ports, such as 5557,5558"],
  [[...FREE, '--scrape-every', '0'], "'0' must be seconds above 0"],
  [[...FREE, '--discover-every', 'x'], "'x' must be seconds above 0"],
  [[...FREE, '--drain', '-1'], "argument --drain: '-1' must be seconds, 0 or more"],
  [[...FREE, '--attempts', '0'], "'0' must be a whole number above 0"],
  [[...FREE, '--allow', 'all'], "'all' must be one of priority, flow, session"],
  [[...FREE, '--connector', 'x'], "argument --connector: invalid choice: 'x'"],
  [[...FREE, '--log-level', 'loud'], "invalid choice: 'loud'"],
  [[...FREE, '--engine-key-file', 'missing'], 'missing cannot be read: no such file'],
  [[...FREE, '--peers', 'nats://a'], '--peers by a server needs --peers-key-file'],
  [[...FREE, '--peers-key-file', 'missing'], 'missing cannot be read: no such file'],
  [[...FREE, '--peers-key-file', 'short'], 'short must hold a key of at least 16 bytes'],
  [[...FREE, '--peers', 'x:a', '--peers-key-file', 'key'], "'x:a' must be redis://HOST:PORT"],
  [[...FREE, '--peers', 'unix:'], "'unix:' must be redis://HOST:PORT"],
  [[...FREE, '--kv-events', '5557,5558'], 'KV events need zeromq: npm install zeromq'],
  [[...FREE, '--discover', 'b=file:x'], "no pool is named 'b'"],
  [[...FREE, '--discover', 'dns://x'], 'must be dns://HOST:PORT or file:PATH'],
  [[...FREE, '--host', 'host.invalid'], 'cannot listen on host.invalid:0: '],
  [['--config', 'missing.yaml'], 'missing.yaml cannot be read: no such file'],
  [['--config', 'wrong.yaml'], 'wrong.yaml:1:1: unknown field "endpoint"'],
  [['--config', 'wrong.toml'], 'wrong.toml:2:1: is not YAML'],
  [['--config', 'empty.yaml'], 'empty.yaml: is empty; a file has at least one field'],
];

for (const [options, message] of MISTAKES) {
  test(`a mistake is reported with its place: ${options.join(' ')}`, (t) => {
    const cwd = mkdtempSync(join(tmpdir(), 'slotwise-'));
    t.after(() => rmSync(cwd, { recursive: true }));
    writeFileSync(join(cwd, 'wrong.yaml'), 'endpoint: [a]\n');
    writeFileSync(join(cwd, 'wrong.toml'), '[pools]\nname = "x"\n');
    writeFileSync(join(cwd, 'empty.yaml'), '');
    writeFileSync(join(cwd, 'short'), 'short\n');
    writeFileSync(join(cwd, 'key'), 'sixteen bytes or more\n');
    const run = spawnSync(process.execPath, [command, ...options], { cwd, encoding: 'utf8' });
    assert.ok(run.status > 0, String(run.status));
    assert.equal(run.stdout, '');
    assert.ok(run.stderr.includes(message), run.stderr);
    assert.doesNotMatch(run.stderr, /\n {4}at /);
  });
}

test('a port in use is named', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const { port } = taken.address();
  for (const options of [['--port', String(port)], ['--admin', String(port)]]) {
    const child = spawn(process.execPath, [command, ...FREE, ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
    const [errors, [code]] = await Promise.all([child.stderr.toArray(), once(child, 'exit')]);
    assert.equal(code, 1);
    assert.ok(Buffer.concat(errors).toString().includes(`cannot listen on 127.0.0.1:${port}: address already in use`));
  }
});
