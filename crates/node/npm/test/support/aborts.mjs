// Aborts 10,000 requests at every stage, prints what is left, and ends without `process.exit`.
import { routedFetch } from 'slotwise/fetch';

const [url] = process.argv.slice(2);
const fetch = await routedFetch({ engines: [url], config: { flow: { ttlMs: 600_000 } }, scrape: false });
const endpoint = fetch.scheduler.endpointNamed(url);
// Some requests wait for their turn.
fetch.scheduler.updateEndpoint(endpoint, { name: url, maxInFlight: 48 });
const body = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Hi' }] });

let [aborted, begun, next] = [0, 0, 0];

/** One request, which is aborted before it is sent, while it waits, or while it is read. */
async function request(number) {
  const abort = new AbortController();
  const answer = fetch('/v1/chat/completions', { method: 'POST', body, signal: abort.signal });
  const stage = number % 4;
  if (stage === 0) abort.abort();
  if (stage === 1) setImmediate(() => abort.abort());
  // The engine answers half of the requests.
  const late = stage > 1 ? setTimeout(() => abort.abort(), 20) : undefined;
  try {
    const { body: stream } = await answer;
    const reader = stream.getReader();
    await reader.read();
    begun += 1;
    if (stage === 2) await reader.cancel();
    else await reader.read();
    aborted += 1;
  } catch (error) {
    if (error.name !== 'AbortError') throw error;
    aborted += 1;
  } finally {
    clearTimeout(late);
  }
}

async function work() {
  while (next < 10_000) {
    next += 1;
    await request(next);
  }
}

await Promise.all(Array.from({ length: 64 }, work));
const { inFlight, queued, completed, failed, cancelled } = fetch.scheduler.stats();
const stats = { inFlight, queued, completed, failed, cancelled };
console.log(JSON.stringify({ aborted, begun, stats, resources: process.getActiveResourcesInfo() }));
