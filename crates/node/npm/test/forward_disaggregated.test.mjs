// `forward` makes the calls of a disaggregated request, with each connector.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Scheduler } from 'slotwise';

const EVENT = 'data: {"choices":[{"text":"a"}]}\n\n';
const DONE = 'data: [DONE]\n\n';
const BODY = { model: 'm', prompt: 'Hi', max_tokens: 64 };
const request = { body: Buffer.from(JSON.stringify(BODY)), path: '/v1/completions' };
const PREFILLED = JSON.stringify({
  choices: [{ text: 'a', finish_reason: 'length' }],
  kv_transfer_params: { port: 7 },
});

function pool() {
  const prefill = { type: 'always-disagg-pd-decider' };
  const scheduler = new Scheduler({ seed: 1, disaggregation: { prefill } });
  scheduler.addEndpoint({ name: 'http://p1', role: 'prefill' });
  scheduler.addEndpoint({ name: 'http://p2', role: 'prefill' });
  scheduler.addEndpoint({ name: 'http://d', role: 'decode' });
  return scheduler;
}

const json = (body, status = 200) =>
  new Response(body, { status, headers: { 'content-type': 'application/json' } });
const stream = (body) => new Response(body, { headers: { 'content-type': 'text/event-stream' } });
const good = (isPrefill) => (isPrefill ? json(PREFILLED) : stream(EVENT + DONE));

/** Serves the request. Returns the calls of engines that answer as `answer` does. */
async function forward(connector, answer, scheduler = pool()) {
  const calls = [];
  const send = async (url, signal, { headers, body }) => {
    const sent = { ...JSON.parse(Buffer.from(body).toString()), ...Object.fromEntries(headers) };
    calls.push([url, sent]);
    return answer(url !== 'http://d', sent, signal);
  };
  const response = await scheduler.forward(send, request, { connector });
  assert.equal(await response.text(), EVENT + DONE);
  const stats = scheduler.stats();
  assert.deepEqual([stats.inFlight, stats.completed], [0, 1]);
  return { calls, stats };
}

test('NIXL prefills first, and passes the parameters on', async () => {
  const { calls, stats } = await forward('nixl', good);
  const [[, first], [decoder, second]] = calls;
  assert.deepEqual([first.max_tokens, first.kv_transfer_params.do_remote_decode], [1, true]);
  assert.deepEqual([second.max_tokens, second.kv_transfer_params], [64, { port: 7 }]);
  assert.deepEqual([decoder, stats.stages['prefill-decode']], ['http://d', 1]);
});

test('a prefill that fails is asked elsewhere, and then left out', async () => {
  const { calls, stats } = await forward('nixl', (isPrefill) => {
    if (isPrefill) throw new Error('refused');
    return good(isPrefill);
  });
  assert.deepEqual(calls.slice(0, 2).map(([url]) => url).sort(), ['http://p1', 'http://p2']);
  assert.deepEqual(calls[2], ['http://d', BODY]);
  assert.deepEqual(stats.endpoints.map(({ failed }) => failed), [1, 1, 0]);
});

test('both engines of a bootstrap are called at once', async () => {
  const { calls } = await forward('bootstrap', good);
  const [[prefiller, first], [, second]] = calls;
  assert.deepEqual(first, second);
  assert.deepEqual([first.bootstrap_host, first.bootstrap_port], [prefiller.slice(7), 8998]);
});

test('a failed prefill ends the wait for the other engine', async () => {
  let failed;
  const { calls, stats } = await forward('bootstrap', (isPrefill, { bootstrap_host: host }) => {
    if (isPrefill && failed === undefined) {
      failed = host;
      return json('broken', 500);
    }
    // The decoding engine waits for a transfer that does not come.
    return !isPrefill && host === failed ? new Promise(() => {}) : good(isPrefill);
  });
  assert.deepEqual([calls.length, stats.cancelled], [4, 1]);
});

test('a sidecar makes the calls itself', async () => {
  const { calls } = await forward('sidecar', good);
  const [[url, { 'x-prefiller-host-port': prefiller, ...sent }]] = calls;
  assert.deepEqual([calls.length, url, sent], [1, 'http://d', BODY]);
  assert.match(prefiller, /^p[12]:80$/);
});

test('a client that leaves during the prefill leaves nothing', async () => {
  const scheduler = pool();
  const client = new AbortController();
  const send = (url, signal) => {
    queueMicrotask(() => client.abort(new Error('gone')));
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  };
  const options = { connector: 'nixl', signal: client.signal };
  await assert.rejects(scheduler.forward(send, request, options), /gone/);
  const { inFlight, cancelled } = scheduler.stats();
  assert.deepEqual([inFlight, cancelled], [0, 1]);
});
