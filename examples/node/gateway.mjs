// A gateway: node gateway.mjs --engines http://10.0.0.1:8000,http://10.0.0.2:8000 --port 8080
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Scheduler, WireError } from 'slotwise';
import { METRICS_CONTENT_TYPE, readMetrics } from 'slotwise/wire';
import { follow as followEvents } from './kv_events.mjs';

// Flow and priority come from the owner of the API key, never from the client. A priority below 0
// may be shed under load. Replace the table with your own.
const KEYS = {
  'key-chat': { flow: 'chat', priority: 1 },
  'key-batch': { flow: 'batch', priority: -1 },
};
const ADMIN_KEY = 'key-admin';
const JSON_TYPE = { 'content-type': 'application/json' }; // without it, engines answer 415
// What a client may set itself. Priority, flow, TTL and deadline are not among them.
const ALLOW = ['session'];

const { values: options } = parseArgs({
  options: {
    engines: { type: 'string' },
    port: { type: 'string', default: '8080' },
    'scrape-every': { type: 'string', default: '1' },
    'kv-events': { type: 'string', multiple: true, default: [] }, // URL=EVENTS[,REPLAY]
  },
});
const publishers = new Map(options['kv-events'].map((publisher) => publisher.split(/=(.*)/s)));
const scheduler = new Scheduler();
/** Ends the scraping of each engine, by URL. @type {Map<string, AbortController>} */
const engines = new Map();

/** One request, from its body to its response. */
async function serve(request, response, path) {
  const caller = KEYS[keyOf(request)];
  if (caller === undefined) return error(response, 401, 'invalid_api_key');
  const body = Buffer.concat(await request.toArray());
  // A client that disconnects cancels the request: here before the first byte, later in `pipeline`.
  const disconnected = new AbortController();
  response.on('close', () => disconnected.abort());

  // Resolves with the headers. They come before prefill, so they are not the first token.
  // A redirect is an answer for the client: do not follow it.
  const send = (url, signal) =>
    fetch(url + path, { method: 'POST', body, signal, redirect: 'manual', headers: JSON_TYPE });
  try {
    const asked = { body, path, headers: request.headers, allow: ALLOW };
    const answer = await scheduler.forward(send, asked, { ...caller, signal: disconnected.signal });
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    if (answer.body === null) return response.end();
    await pipeline(Readable.fromWeb(answer.body), response);
  } catch (fault) {
    if (fault instanceof WireError) return error(response, 400, fault.code);
    // The client disconnected or the stream broke, and the request is settled: end the response.
    response.destroy();
  }
}

/** Scrapes an engine while it is in the pool. Its first page adds it. */
async function follow(url, { signal }) {
  let endpoint = null;
  while (!signal.aborted) {
    try {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(5_000)]);
      const answer = await fetch(`${url}/metrics`, { signal: limit });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const page = new Uint8Array(await answer.arrayBuffer());
      if (endpoint === null) {
        const { blockSize, kvCacheTokens } = readMetrics(page);
        const known = { blockSize: blockSize ?? 16, kvCacheTokens: kvCacheTokens ?? undefined };
        endpoint = scheduler.addEndpoint({ name: url, ...known });
        const sockets = publishers.get(url)?.split(',');
        if (sockets) followEvents(scheduler, endpoint, sockets, signal).catch(console.error);
      }
      scheduler.handleMetricsPage(endpoint, page);
    } catch {
      // No requests until a page or a trial succeeds.
      if (endpoint !== null && !signal.aborted) scheduler.handleProbe(endpoint, false);
    }
    await sleep(1_000 * Number(options['scrape-every']), signal);
  }
  if (endpoint !== null) scheduler.removeEndpoint(endpoint);
}

function add(url) {
  const ends = new AbortController();
  engines.set(url, ends);
  follow(url, ends);
}

/**
 * POST /admin/VERB?engine=URL. An engine that dies returns to the pool without it.
 *
 * drain: before maintenance. Requests in flight go on; stop the engine when `in_flight` is 0.
 * resume: after maintenance, if the process and its cache are the same.
 * remove, then add: after a restart with an empty cache. remove alone: for good.
 */
function admin(request, response, verb, url) {
  if (!url) return error(response, 400, 'engine_missing');
  if (keyOf(request) !== ADMIN_KEY) return error(response, 403, 'not_an_admin');
  const endpoint = scheduler.endpointNamed(url);
  if (verb === 'drain' && endpoint !== null) scheduler.drainEndpoint(endpoint);
  else if (verb === 'resume' && endpoint !== null) scheduler.resumeEndpoint(endpoint);
  else if (verb === 'add' && !engines.has(url)) add(url);
  else if (verb === 'remove' && engines.has(url)) {
    engines.get(url).abort();
    engines.delete(url);
  } else return error(response, 404, 'no_such_verb_or_engine');
  const known = scheduler.endpointNamed(url);
  json(response, 200, { in_flight: known === null ? 0 : scheduler.inFlightOn(known) });
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://gateway');
  const [, first, verb] = pathname.split('/');
  const engine = searchParams.get('engine');
  if (request.method === 'POST' && first === 'v1') return serve(request, response, pathname);
  if (request.method === 'POST' && first === 'admin') return admin(request, response, verb, engine);
  if (pathname === '/metrics') {
    response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE });
    return response.end(scheduler.metricsText());
  }
  if (pathname !== '/health') return error(response, 404, 'not_found');
  const up = scheduler.stats().endpoints.some(({ draining }) => !draining);
  return up ? json(response, 200, { status: 'ok' }) : error(response, 503, 'no_endpoints');
});

const keyOf = (request) => (request.headers.authorization ?? '').replace(/^Bearer /, '');
const error = (response, status, code) =>
  json(response, status, { error: { message: code.replaceAll('_', ' '), code } });
const json = (response, status, value) =>
  response.writeHead(status, JSON_TYPE).end(JSON.stringify(value));

const sleep = (ms, signal) => delay(ms, undefined, { signal }).catch(() => {}); // ends if aborted

(options.engines ?? '').split(',').filter(Boolean).forEach(add);
server.listen(Number(options.port), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
// Stops accepting connections, and exits when the last request in flight has ended.
process.on('SIGTERM', () => {
  server.close(() => engines.forEach((ends) => ends.abort()));
  server.closeIdleConnections();
});
