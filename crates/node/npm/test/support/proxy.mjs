// A gateway in a few lines, for tests with several: proxy.mjs PORT ENGINES PEERS KEY_FILE NAME
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Scheduler } from 'slotwise';
import { connect, seedOf, share } from 'slotwise/peers';
import { METRICS_CONTENT_TYPE } from 'slotwise/wire';

const [port, engines, peers, keyFile, name] = process.argv.slice(2);
const key = readFileSync(keyFile, 'utf8').trim();
const scheduler = new Scheduler({ seed: seedOf(key) });
const ids = engines.split(',').map((url) => scheduler.addEndpoint(url));
const sharing = await share(scheduler, connect(peers, { channel: 'default' }), { key, name });

async function serve(request, response) {
  const [path, body] = [request.url, Buffer.concat(await request.toArray())];
  const disconnected = new AbortController();
  response.on('close', () => disconnected.abort());
  const headers = { 'content-type': 'application/json' };
  const send = (url, signal) => fetch(url + path, { method: 'POST', body, headers, signal });
  try {
    const answer = await scheduler.forward(send, { body, path }, { signal: disconnected.signal });
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    if (answer.body === null) return response.end();
    await pipeline(Readable.fromWeb(answer.body), response);
  } catch {
    response.destroy();
  }
}

/** The metrics of the scheduler, and what its peers have in flight. */
function metrics() {
  const loads = ids.map((id) => sharing.link.load(id));
  const inFlight = loads.reduce((sum, { prefilling, running }) => sum + prefilling + running, 0);
  const own = scheduler.metricsText().replace(/# EOF\n$/, '');
  return `${own}slotwise_gateway_peers_alive ${sharing.alive.length}\n`
    + `slotwise_gateway_peers_in_flight ${inFlight}\n`
    + `slotwise_gateway_peers_connected ${Number(sharing.transport.connected)}\n# EOF\n`;
}

const server = createServer((request, response) => {
  if (request.method === 'POST') return serve(request, response);
  return response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE }).end(metrics());
});
server.listen(Number(port), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
process.on('SIGTERM', () => server.close(() => sharing.close()));
