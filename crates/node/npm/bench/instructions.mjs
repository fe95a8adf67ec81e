// Instructions of the gateway for each request, beside the same gateway with round robin.
//
//   node bench/instructions.mjs [--requests 400] [--events 32] [ROW...]
//
// Needs valgrind, whose cachegrind counts the instructions of the gateway's process. Engines and
// client are processes of their own, which are not counted. Each row runs twice, after as many
// requests that warm the compilers up, and then with `--requests` more: the difference leaves out
// the start. Counts hardly depend on the machine's other load, with which CPU times double.
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BODY, HEADERS, PATH, runEngines, startGateway } from './hosts.mjs';

const ROWS = ['plain', 'round robin', 'slotwise'];
const WARM = 300;
const SELF = fileURLToPath(import.meta.url);

/** Sends requests one after the other over one connection. */
async function send(url, requests) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (let number = 0; number < requests; number += 1) {
    await new Promise((resolve, reject) => {
      const request = httpRequest(url + PATH, { method: 'POST', headers: HEADERS, agent });
      request.on('response', (response) => {
        let last = '';
        response.on('data', (chunk) => (last = chunk));
        response.on('end', () => (String(last).endsWith('[DONE]\n\n') ? resolve() : reject(new Error('not whole'))));
      });
      request.on('error', reject);
      request.end(BODY);
    });
  }
  agent.destroy();
}

/** The instructions of a gateway that serves so many requests, its start included. */
async function count(row, events, requests, folder) {
  const engines = fork(SELF, ['engines', String(events)]);
  const [urls] = await once(engines, 'message');
  const log = join(folder, 'count');
  const tool = ['--tool=cachegrind', '--cache-sim=no', '--cachegrind-out-file=/dev/null', '--smc-check=all-non-file', `--log-file=${log}`];
  // One thread compiles, so that less depends on when it does.
  const gateway = spawn('valgrind', [...tool, process.execPath, '--single-threaded', SELF, 'gateway', row, ...urls], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [url] = await once(createInterface(gateway.stdout), 'line');
  await send(url, requests);
  gateway.stdin.end();
  await once(gateway, 'exit');
  engines.kill();
  const [, found = ''] = /I\s+refs:\s+([\d,]+)/.exec(readFileSync(log, 'utf8')) ?? [];
  return Number(found.replaceAll(',', ''));
}

const [role, ...words] = process.argv.slice(2);
if (role === 'engines') {
  process.send(await runEngines(Number(words[0])));
} else if (role === 'gateway') {
  console.log(await startGateway(words[0], words.slice(1)));
  process.stdin.on('end', () => process.exit()).resume();
} else {
  const { values, positionals } = parseArgs({
    options: { requests: { type: 'string', default: '400' }, events: { type: 'string', default: '32' } },
    allowPositionals: true,
  });
  const [requests, events] = [Number(values.requests), Number(values.events)];
  const folder = mkdtempSync(join(tmpdir(), 'slotwise-'));
  console.log(`Node ${process.version}: thousands of instructions for each request, ${events} events`);
  let base;
  for (const row of positionals.length > 0 ? positionals : ROWS) {
    const few = await count(row, events, WARM, folder);
    const each = ((await count(row, events, WARM + requests, folder)) - few) / requests / 1_000;
    base = row === 'round robin' ? each : base;
    console.log(row.padEnd(12), each.toFixed(0).padStart(8), base === undefined ? '' : (each / base).toFixed(2).padStart(6));
  }
  rmSync(folder, { recursive: true });
}
