// What the gateway costs: CPU time, throughput, added time to the first byte, memory.
//
//   node bench/gateway.mjs [--requests 4000] [--streams 50] [--events 32] [--held 1000] [ROW...]
//
// Rows over the same four engines and the same load:
//
// - direct: the client sends to the engines by itself
// - fetch: node:http in front and the global fetch behind, with round robin and nothing else
// - plain: node:http on both sides, with round robin and nothing else
// - round robin: this gateway, with its scheduler and its exchange replaced by round robin
// - slotwise: this gateway
//
// Gateway, engines and client are processes of their own. CPU time is that of the gateway; it
// depends less on the machine's other load than the other columns.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, createServer, request as httpRequest } from 'node:http';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Configuration } from 'slotwise/configuration';
import { Gateway } from 'slotwise/gateway';

const ROWS = ['direct', 'fetch', 'plain', 'round robin', 'slotwise'];
const ENGINES = 4;
const PATH = '/v1/chat/completions';
const BODY = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Say x. '.repeat(64) }] });
const HEADERS = { 'content-type': 'application/json', authorization: 'Bearer sk-client' };
const EVENT = Buffer.from('data: {"id":"1","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n');
const END = Buffer.from('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
const STREAM = { 'content-type': 'text/event-stream' };

/** Listens on a free port, and returns the address. */
async function listening(server) {
  server.listen(0, '127.0.0.1', 1_024);
  await once(server, 'listening');
  return `http://127.0.0.1:${server.address().port}`;
}

/** Engines that stream events one turn apart; `x-hold` keeps a stream open until `release`. */
async function runEngines(events) {
  const held = [];
  const engine = () =>
    createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
      if (request.method === 'GET') {
        response.writeHead(404).end();
        return;
      }
      request.resume();
      request.on('end', () => {
        response.writeHead(200, STREAM);
        response.write(EVENT);
        if (request.headers['x-hold'] !== undefined) {
          held.push(response);
          return;
        }
        let left = events - 1;
        const next = () => {
          if (left === 0) {
            response.end(END);
            return;
          }
          left -= 1;
          response.write(EVENT);
          setImmediate(next);
        };
        setImmediate(next);
      });
    });
  const urls = await Promise.all(Array.from({ length: ENGINES }, () => listening(engine())));
  process.on('message', () => held.splice(0).forEach((response) => response.end(END)));
  process.send(urls);
}

/** Gateways by hand. */
const PLAIN = {
  fetch(next) {
    return async (request, response) => {
      const body = Buffer.concat(await request.toArray());
      const answer = await fetch(next() + request.url, { method: 'POST', headers: HEADERS, body, redirect: 'manual' });
      response.writeHead(answer.status, STREAM);
      for await (const chunk of answer.body) response.write(chunk);
      response.end();
    };
  },
  plain(next) {
    const agent = new Agent({ keepAlive: true, maxFreeSockets: 1_024 });
    return async (request, response) => {
      const body = Buffer.concat(await request.toArray());
      const asked = httpRequest(next() + request.url, { method: 'POST', headers: HEADERS, agent });
      asked.on('response', (answer) => {
        response.writeHead(answer.statusCode, STREAM);
        answer.on('data', (chunk) => response.write(chunk));
        answer.on('end', () => response.end());
      });
      asked.end(body);
    };
  },
};

/** An exchange without a scheduler: the next engine, and no retry. */
function roundRobin(next) {
  return async (ask) => {
    const answer = await ask(next(), new AbortController().signal, { headers: [], body: undefined });
    return {
      status: answer.status,
      headers: [['content-type', 'text/event-stream']],
      dispatch: undefined,
      usage: null,
      next: () => answer.read(),
      end: () => answer.cancel(),
    };
  };
}

/** The process of a gateway. */
async function runGateway(row, urls) {
  let turn = 0;
  const next = () => urls[(turn += 1) % urls.length];
  let url;
  if (row in PLAIN) {
    url = await listening(createServer(PLAIN[row](next)));
  } else {
    const gateway = new Gateway(new Configuration(JSON.stringify({ endpoints: urls })));
    if (row === 'round robin') gateway.pools.get('default').exchange = roundRobin(next);
    await gateway.start();
    ({ url } = gateway);
  }
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send({ cpu: user + system, rss: process.memoryUsage().rss });
  });
  process.send([url]);
}

async function child(...words) {
  const process_ = fork(fileURLToPath(import.meta.url), words);
  const [urls] = await once(process_, 'message');
  return { process: process_, urls };
}

async function usage(gateway) {
  gateway.process.send('usage');
  return (await once(gateway.process, 'message'))[0];
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
  const { rss } = await usage(gateway);
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

async function measure(row, { requests, streams, events, held }) {
  const engines = await child('engines', String(events));
  const gateway = row === 'direct' ? engines : await child('gateway', row, ...engines.urls);
  const isDirect = row === 'direct';
  await load(gateway.urls, Math.ceil(requests / 4), streams);
  const before = isDirect ? { cpu: 0 } : await usage(gateway);
  const began = performance.now();
  const firsts = await load(gateway.urls, requests, streams);
  const seconds = (performance.now() - began) / 1_000;
  const after = isDirect ? { cpu: 0 } : await usage(gateway);
  const rss = isDirect ? 0 : await memory(gateway, engines, held);
  const at = (share) => firsts[Math.floor(firsts.length * share)].toFixed(1);
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

const [role, ...words] = process.send === undefined ? [] : process.argv.slice(2);
if (role === 'engines') {
  await runEngines(Number(words[0]));
} else if (role === 'gateway') {
  await runGateway(words[0], words.slice(1));
} else {
  const number = (value) => ({ type: 'string', default: value });
  const { values, positionals } = parseArgs({
    options: { requests: number('4000'), streams: number('50'), events: number('32'), held: number('1000') },
    allowPositionals: true,
  });
  const options = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));
  const rows = [];
  for (const row of positionals.length > 0 ? positionals : ROWS) rows.push(await measure(row, options));
  console.table(rows);
}
