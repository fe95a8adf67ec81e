// What the gateway costs: CPU time, throughput, added time to the first byte, memory.
//
//   node bench/gateway.mjs [--requests 4000] [--streams 50] [--events 32] [--held 1000]
//                          [--rounds 1] [--warm 3000] [ROW...]
//
// Rows over the same four engines and the same load:
//
// - direct: the client sends to the engines by itself
// - fetch: node:http in front and the global fetch behind, with round robin and nothing else
// - plain: node:http on both sides, with round robin and nothing else
// - round robin: this gateway, with its scheduler and its exchange replaced by round robin
// - slotwise: this gateway
// - python: `python -m slotwise.gateway`, with the interpreter of $PYTHON
//
// Gateway, engines and client are processes of their own. CPU time is that of the gateway, from
// /proc; it depends less on the machine's other load than the other columns. Each process serves
// --warm requests before, for its compilers. With several rounds, rows take turns, and the table
// has the medians.
import { execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BODY, HEADERS, PATH, runEngines, startGateway } from './hosts.mjs';

const ROWS = ['direct', 'fetch', 'plain', 'round robin', 'slotwise', 'python'];
const TICKS = Number(execFileSync('getconf', ['CLK_TCK']));

async function child(...words) {
  const process_ = fork(fileURLToPath(import.meta.url), words);
  const [urls] = await once(process_, 'message');
  return { process: process_, urls };
}

/** The gateway for Python. */
async function python(engines) {
  const words = ['-P', '-m', 'slotwise.gateway', '--port', '0', '--scrape-every', '3600', '--engines', engines.join(',')];
  const process_ = spawn(process.env.PYTHON ?? 'python3', words, { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = await once(createInterface(process_.stdout), 'line');
  return { process: process_, urls: [/http:\S+/.exec(line)[0]] };
}

/** Microseconds of CPU time, and bytes of memory. */
function usage({ process: { pid } }) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return { cpu: ((Number(fields[11]) + Number(fields[12])) * 1e6) / TICKS, rss: Number(kilobytes) * 1_024 };
}

/** One request. Returns milliseconds to the first byte. */
function ask(url, agent, headers = HEADERS, held) {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const request = httpRequest(url + PATH, { method: 'POST', headers, agent });
    request.on('response', (response) => {
      let first;
      let last = '';
      response.on('data', (chunk) => {
        first ??= performance.now() - began;
        last = chunk;
        held?.();
      });
      response.on('end', () => (String(last).endsWith('[DONE]\n\n') ? resolve(first) : reject(new Error('not whole'))));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(BODY);
  });
}

/** `requests` requests, `streams` at a time. */
async function load(urls, requests, streams) {
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 2_000 });
  const firsts = [];
  let left = requests;
  const worker = async (_, number) => {
    while (left > 0) {
      left -= 1;
      firsts.push(await ask(urls[(number + left) % urls.length], agent));
    }
  };
  await Promise.all(Array.from({ length: streams }, worker));
  agent.destroy();
  return firsts.sort((one, other) => one - other);
}

/** Memory of the gateway with this many open streams. */
async function memory(gateway, engines, held) {
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  let begun = 0;
  const asked = [];
  await new Promise((resolve) => {
    const on = () => (begun += 1) === held && resolve();
    for (let count = 0; count < held; count += 1) {
      asked.push(ask(gateway.urls[0], agent, { ...HEADERS, 'x-hold': '1' }, once_(on)));
    }
  });
  const { rss } = usage(gateway);
  engines.process.send('release');
  await Promise.all(asked);
  agent.destroy();
  return rss;
}

function once_(call) {
  let called = false;
  return () => {
    if (!called) call();
    called = true;
  };
}

async function measure(row, { requests, streams, events, held, warm }) {
  const engines = await child('engines', String(events));
  const isDirect = row === 'direct';
  const started = () => (row === 'python' ? python(engines.urls) : child('gateway', row, ...engines.urls));
  const gateway = isDirect ? engines : await started();
  await load(gateway.urls, warm, streams);
  const before = isDirect ? { cpu: 0 } : usage(gateway);
  const began = performance.now();
  const firsts = await load(gateway.urls, requests, streams);
  const seconds = (performance.now() - began) / 1_000;
  const after = isDirect ? { cpu: 0 } : usage(gateway);
  const rss = isDirect ? 0 : await memory(gateway, engines, held);
  const at = (share) => Number(firsts[Math.floor(firsts.length * share)].toFixed(1));
  engines.process.kill();
  gateway.process.kill();
  return {
    row,
    'requests/s': Math.round(requests / seconds),
    'CPU us': Math.round((after.cpu - before.cpu) / requests),
    'first p50 ms': at(0.5),
    'first p99 ms': at(0.99),
    [`${held} streams MB`]: Math.round(rss / 2 ** 20),
  };
}

/** The median of each column. */
function medians(rounds) {
  const middle = (values) => values.sort((one, other) => one - other)[Math.floor(values.length / 2)];
  const { row, ...columns } = rounds[0];
  return { row, ...Object.fromEntries(Object.keys(columns).map((name) => [name, middle(rounds.map((one) => one[name]))])) };
}

const [role, ...words] = process.send === undefined ? [] : process.argv.slice(2);
if (role === 'engines') {
  process.send(await runEngines(Number(words[0])));
} else if (role === 'gateway') {
  process.send([await startGateway(words[0], words.slice(1))]);
} else {
  const number = (value) => ({ type: 'string', default: value });
  const { values, positionals } = parseArgs({
    options: { requests: number('4000'), streams: number('50'), events: number('32'), held: number('1000'), rounds: number('1'), warm: number('3000') },
    allowPositionals: true,
  });
  const options = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));
  const rows = positionals.length > 0 ? positionals : ROWS;
  const measured = rows.map(() => []);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const [at, row] of rows.entries()) measured[at].push(await measure(row, options));
  }
  console.table(measured.map(medians));
}
