// A gateway: node gateway.mjs --engines http://10.0.0.1:8000,http://10.0.0.2:8000 --port 8080
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { Scheduler, WireError } from 'slotwise';
import { METRICS_CONTENT_TYPE, readMetrics } from 'slotwise/wire';

// Flow and priority come from the owner of the API key, never from the client. A priority below 0
// may be shed under load. Replace the table with your own.
const KEYS = { 'key-chat': { flow: 'chat', priority: 1 }, 'key-batch': { flow: 'batch', priority: -1 } };
const ADMIN_KEY = 'key-admin';
// What counts of a client's own body and headers. Priority, flow, TTL and deadline do not.
const ALLOW = ['session'];

const { values: options } = parseArgs({
  options: {
    engines: { type: 'string' },
    port: { type: 'string', default: '8080' },
    'scrape-every': { type: 'string', default: '1' },
  },
});
const scheduler = new Scheduler();
/** Whoever reads the page of an engine, by its URL: aborting ends it. @type {Map<string, AbortController>} */
const engines = new Map();

/** One request, from its body to its response. */
async function serve(request, response, path) {
  const caller = KEYS[keyOf(request)];
  if (caller === undefined) return error(response, 401, 'invalid_api_key');
  const body = Buffer.concat(await request.toArray());
  // A client that leaves before the first byte cancels the request; after it, `pipeline` does.
  const left = new AbortController();
  response.on('close', () => left.abort());

  // Resolves with the headers. They come before prefill, so they are not the first token.
  // Without a content type engines answer 415. A redirect is an answer: do not follow it.
  const send = (url, signal) =>
    fetch(url + path, {
      method: 'POST', body, signal, redirect: 'manual', headers: { 'content-type': 'application/json' },
    });
  try {
    const asked = { body, path, headers: request.headers, allow: ALLOW };
    const answer = await scheduler.forward(send, asked, { ...caller, signal: left.signal });
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    if (answer.body === null) return response.end();
    await pipeline(Readable.fromWeb(answer.body), response);
  } catch (fault) {
    if (fault instanceof WireError) return error(response, 400, fault.code);
    // The client left, or the stream broke: it ends as it stands, and the request is settled.
    response.destroy();
  }
}

/** Reads the page of an engine while it is in the pool. The first page puts it there. */
async function follow(url, { signal }) {
  let endpoint = null;
  while (!signal.aborted) {
    try {
      const answer = await fetch(`${url}/metrics`, { signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const page = new Uint8Array(await answer.arrayBuffer());
      if (endpoint === null) {
        const { blockSize, kvCacheTokens } = readMetrics(page);
        endpoint = scheduler.addEndpoint({
          name: url, blockSize: blockSize ?? 16, kvCacheTokens: kvCacheTokens ?? undefined,
        });
      }
      scheduler.handleMetricsPage(endpoint, page);
    } catch {
      // Out, until a page or a trial says otherwise.
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
 * POST /admin/VERB?engine=URL. An engine that dies needs none of this: it comes back by itself.
 *
 * drain: before work on an engine. What is in flight goes on; stop it when `in_flight` is 0.
 * resume: afterwards, if the process is the same and so has its cache.
 * remove, then add: if it was restarted, with an empty cache. remove alone: it is gone for good.
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
  if (request.method === 'POST' && first === 'v1') return serve(request, response, pathname);
  if (request.method === 'POST' && first === 'admin') return admin(request, response, verb, searchParams.get('engine'));
  if (pathname === '/metrics') {
    return response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE }).end(scheduler.metricsText());
  }
  if (pathname !== '/health') return error(response, 404, 'not_found');
  const up = scheduler.stats().endpoints.some(({ draining }) => !draining);
  return up ? json(response, 200, { status: 'ok' }) : error(response, 503, 'no_endpoints');
});

const keyOf = (request) => (request.headers.authorization ?? '').replace(/^Bearer /, '');
const error = (response, status, code) =>
  json(response, status, { error: { message: code.replaceAll('_', ' '), code } });

function json(response, status, value) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function sleep(ms, signal) {
  return new Promise((wake) => {
    const timer = setTimeout(wake, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), wake()), { once: true });
  });
}

(options.engines ?? '').split(',').filter(Boolean).forEach(add);
server.listen(Number(options.port), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
// Stops accepting, and ends when what is in flight has.
process.on('SIGTERM', () => {
  server.close(() => engines.forEach((ends) => ends.abort()));
  server.closeIdleConnections();
});
