// The published packages work once installed: the main one, and the platform's own with the addon.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';

const root = fileURLToPath(new URL('..', import.meta.url));
const { name, version, files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const cli = join(createRequire(import.meta.url).resolve('@napi-rs/cli'), '..', 'cli.js');
let folder;
let consumer;
let tarballs;

const node = (cwd, ...args) => execFileSync(process.execPath, args, { cwd, encoding: 'utf8', stdio: 'pipe' });

/** npm, by the same Node as this; nothing is fetched. */
function npm(cwd, ...args) {
  const shell = process.platform === 'win32';
  return execFileSync('npm', [...args, '--offline', '--no-audit', '--no-fund'], { cwd, encoding: 'utf8', stdio: 'pipe', shell });
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'slotwise-'));
  const staging = join(folder, 'staging');
  cpSync(root, staging, {
    recursive: true,
    filter: (path) => !['node_modules', 'test'].includes(basename(path)),
  });
  node(staging, cli, 'create-npm-dirs', '--npm-dir', 'platforms');
  const [addon] = readdirSync(join(staging, 'native')).filter((file) => file.endsWith('.node'));
  const platform = join(staging, 'platforms', addon.split('.')[1]);
  cpSync(join(staging, 'native', addon), join(platform, addon));
  const pack = (cwd) => JSON.parse(npm(cwd, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder))[0];
  tarballs = [pack(staging), pack(platform)];
  consumer = mkdtempSync(join(folder, 'consumer-'));
  writeFileSync(join(consumer, 'package.json'), '{ "private": true }');
  npm(consumer, 'install', ...tarballs.map(({ filename }) => join(folder, filename)));
});

after(() => rmSync(folder, { recursive: true, force: true }));

const PROGRAM = `
const scheduler = new Scheduler();
scheduler.addEndpoint('a');
const dispatch = scheduler.pick('hello', { model: 'm' });
scheduler.complete(dispatch.requestId);
console.log(dispatch.endpointName, scheduler.stats().completed);`;

test('the package holds what is needed and nothing else', () => {
  const [main, platform] = tarballs;
  assert.deepEqual([main.name, main.version], [name, version]);
  const paths = main.files.map(({ path }) => path);
  for (const path of ['package.json', 'README.md', 'index.mjs', 'index.d.mts', 'gateway.mjs', 'gateway.d.mts', 'dist/gateway/index.js', 'dist/gateway/index.d.ts', 'dist/gateway/command.js', 'admin.html', 'node_http.mjs', 'dist/node_http.js', 'web.mjs', 'dist/web.js', 'fastify.mjs', 'dist/fastify.js', 'wire.mjs', 'wire.d.mts', 'dist/wire.js', 'dist/wire.d.ts', 'engines.mjs', 'engines.d.mts', 'dist/engines/index.js', 'dist/engines/index.d.ts', 'peers.mjs', 'peers.d.mts', 'dist/peers.js', 'dist/peers/redis.js', 'peers_redis.mjs', 'fetch.mjs', 'fetch.d.mts', 'dist/fetch.js', 'dist/fetch.d.ts', 'error_responses.mjs', 'error_responses.d.mts', 'policy.mjs', 'policy.d.mts', 'dist/policy.js', 'dist/policy.d.ts', 'routing.mjs', 'routing.d.mts', 'dist/routing.js', 'dist/routing.d.ts', 'clusters.mjs', 'clusters.d.mts', 'dist/clusters.js', 'dist/clusters.d.ts', 'configuration.mjs', 'configuration.d.mts', 'dist/configuration.js', 'gates.mjs', 'gates.d.mts', 'dist/gates.js', 'dist/gates.d.ts', 'ingress.mjs', 'ingress.d.mts', 'health_checks.mjs', 'health_checks.d.mts', 'dist/health_checks.js', 'dist/health_checks.d.ts', 'dist/ingress.js', 'dist/ingress.d.ts', 'dist/configuration.d.ts', 'native/index.js', 'native/index.d.ts', 'dist/index.js', 'dist/index.d.ts']) {
    assert.ok(paths.includes(path), `${path} is missing`);
  }
  assert.deepEqual(paths.filter((path) => !/^(dist\/((engines|peers|gateway)\/)?\w+\.(js|d\.ts)|native\/index\.(js|d\.ts)|(index|wire|policy|routing|clusters|configuration|gates|ingress|health_checks|engines|error_responses|fetch|telemetry|peers\w*|gateway|node_http|web|fastify)\.(mjs|d\.mts)|admin\.html|package\.json|README\.md|LICENSE|THIRD_PARTY_NOTICES)$/.test(path)), []);
  assert.ok(files.includes('LICENSE') && paths.includes('THIRD_PARTY_NOTICES'));
  assert.equal(platform.files.filter(({ path }) => path.endsWith('.node')).length, 1);
});

test('it can be required where it is installed', () => {
  assert.equal(node(consumer, '-e', `const { Scheduler } = require('${name}');${PROGRAM}`), 'a 1\n');
});

test('it can be imported where it is installed', () => {
  const code = `import { Scheduler } from '${name}';${PROGRAM}`;
  assert.equal(node(consumer, '--input-type=module', '-e', code), 'a 1\n');
});

test('what reads bytes can be required and imported there', () => {
  const call = "console.log(apiOfPath('/v1/messages'));";
  assert.equal(node(consumer, '-e', `const { apiOfPath } = require('${name}/wire');${call}`), 'messages\n');
  assert.equal(node(consumer, '--input-type=module', '-e', `import { apiOfPath } from '${name}/wire';${call}`), 'messages\n');
});

test('KV events load the package zeromq where it is installed, and otherwise name it', () => {
  const program = (call) => `
    const { Scheduler } = require('${name}');
    const { subscribe } = require('${name}/engines');
    const scheduler = new Scheduler();
    scheduler.addEndpoint('http://a');
    const publishers = { 'http://a': [{ events: 'tcp://a:1' }] };
    subscribe(scheduler, publishers)${call};`;
  const named = node(consumer, '-e', program('.catch((error) => console.log(error.message))'));
  assert.equal(named, 'KV events need zeromq: npm install zeromq\n');
  const fake = join(consumer, 'node_modules', 'zeromq');
  mkdirSync(fake);
  writeFileSync(join(fake, 'package.json'), '{ "name": "zeromq", "version": "6.8.0" }');
  const socket = 'class { subscribe() {} close() {} connect(to) { console.log(to); } receive() { return new Promise(() => {}); } }';
  writeFileSync(join(fake, 'index.js'), `const Subscriber = ${socket}; module.exports = { Subscriber, Dealer: Subscriber };`);
  assert.equal(node(consumer, '-e', program('')), 'tcp://a:1\n');
  rmSync(fake, { recursive: true });
});

test('the command runs where it is installed', () => {
  const command = join(consumer, 'node_modules', name, 'dist', 'command.js');
  writeFileSync(join(consumer, 'a.yaml'), 'endpoints: [http://a]\n');
  assert.equal(node(consumer, command, 'config', 'check', 'a.yaml'), 'a.yaml: valid, with the pools default\n');
  const commands = readdirSync(join(consumer, 'node_modules', '.bin'));
  assert.ok(commands.includes('slotwise') && commands.includes('slotwise-gateway'));
});

test('the gateway serves where it is installed, and its process ends by itself', () => {
  const code = `import { Configuration } from '${name}/configuration';
import { Gateway, demoEngines } from '${name}/gateway';
const engines = await demoEngines(2);
const gateway = new Gateway(new Configuration(JSON.stringify({ endpoints: engines.urls })), { admin: { host: '127.0.0.1', port: 0 } });
await gateway.start();
const body = JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'Hi' }] });
const answer = await (await fetch(gateway.url + '/v1/chat/completions', { method: 'POST', body })).json();
const page = await (await fetch(gateway.adminUrl)).text();
await gateway.stop();
await engines.close();
console.log(answer.choices[0].message.content, page.includes('slotwise gateway'));`;
  assert.equal(node(consumer, '--input-type=module', '-e', code), 'You said: Hi true\n');
});

test('without an addon for the platform, the import error states it', () => {
  rmSync(join(consumer, 'node_modules', tarballs[1].name), { recursive: true });
  assert.throws(() => node(consumer, '-e', `require('${name}')`), /Cannot find native binding|Failed to load native binding/);
});
