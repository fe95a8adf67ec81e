// Engines, gateways and requests of the comparisons of gateways.
import { once } from 'node:events';
import { Agent, createServer, request as httpRequest } from 'node:http';
import { Configuration } from 'slotwise/configuration';
import { Gateway } from 'slotwise/gateway';
import abort from '../dist/abort.js';

const { Abort } = abort;

export const ENGINES = 4;
export const PATH = '/v1/chat/completions';
export const BODY = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Say x. '.repeat(64) }] });
export const HEADERS = { 'content-type': 'application/json', authorization: 'Bearer sk-client' };
const event = (number) => Buffer.from(`data: {"id":"1","choices":[{"index":0,"delta":{"content":" token${number}"}}]}\n\n`);
const END = Buffer.from('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
const STREAM = { 'content-type': 'text/event-stream' };

/** Listens on a free port, and returns the address. */
async function listening(server) {
  server.listen(0, '127.0.0.1', 1_024);
  await once(server, 'listening');
  return `http://127.0.0.1:${server.address().port}`;
}

/** Engines that stream events one turn apart; `x-hold` keeps a stream open until `release`. */
export async function runEngines(events) {
  const held = [];
  const answer = Array.from({ length: events }, (_, number) => event(number));
  const engine = () =>
    createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
      if (request.method === 'GET') {
        response.writeHead(404).end();
        return;
      }
      request.resume();
      request.on('end', () => {
        response.writeHead(200, STREAM);
        response.write(answer[0]);
        if (request.headers['x-hold'] !== undefined) {
          held.push(response);
          return;
        }
        let at = 1;
        const next = () => {
          if (at >= events) {
            response.end(END);
            return;
          }
          response.write(answer[at]);
          at += 1;
          setImmediate(next);
        };
        setImmediate(next);
      });
    });
  const urls = await Promise.all(Array.from({ length: ENGINES }, () => listening(engine())));
  process.on('message', () => held.splice(0).forEach((response) => response.end(END)));
  return urls;
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
    const answer = await ask(next(), new Abort(), { headers: [], body: undefined });
    return {
      status: answer.status,
      headers: [['content-type', 'text/event-stream']],
      dispatch: undefined,
      usage: null,
      outcome: null,
      next: () => answer.read(),
      end: () => answer.cancel(),
    };
  };
}

/** Starts the gateway of a row, and returns its address. */
export async function startGateway(row, urls) {
  let turn = 0;
  const next = () => urls[(turn += 1) % urls.length];
  if (row in PLAIN) {
    return listening(createServer(PLAIN[row](next)));
  }
  // What the gateway does by the clock is no part of a request.
  const gateway = new Gateway(new Configuration(JSON.stringify({ endpoints: urls })), { scrapeEveryMs: 3_600_000, log() {} });
  if (row === 'round robin') gateway.pools.get('default').exchange = roundRobin(next);
  await gateway.start();
  return gateway.url;
}
