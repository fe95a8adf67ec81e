// Bytes of engines and clients reach the scheduler in one call, and malformed ones change nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RejectedError, SlotwiseError, UnknownEndpointError, WireError } from 'slotwise';
import * as wire from 'slotwise/wire';
import { left, pool } from './support/pool.mjs';
import { bytes } from './support/wire.mjs';

const PAGE = bytes({ file: 'vllm-0.32/default/metrics/metrics_under_load.txt' });
const BATCH = bytes({ file: 'vllm-0.32/default/kv/s01_cold.seq1.bin' });
const CHAT = { model: 'm', messages: [{ role: 'user', content: 'Hello there' }] };

const json = (value) => Buffer.from(JSON.stringify(value));
const event = (value) => Buffer.from(`data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`);
const token = (text, more) => event({ choices: [{ index: 0, delta: { content: text }, ...more }] });
const number = (seq) => Buffer.from(BigInt.asUintN(64, BigInt(seq)).toString(16).padStart(16, '0'), 'hex');
const frames = (seq, payload = BATCH) => [Buffer.from('kv'), number(seq), payload];
const clear = (at) => Buffer.concat([Buffer.from('92cb', 'hex'), double(at), Buffer.from('9191b0', 'hex'), Buffer.from('AllBlocksCleared')]);

function double(value) {
  const buffer = Buffer.alloc(8);
  buffer.writeDoubleBE(value);
  return buffer;
}

const endpoint = (scheduler, id) => scheduler.stats().endpoints.find((one) => one.id === id);
const counts = (scheduler) => {
  const { completed, failed, unreachable, cancelled, inFlight } = scheduler.stats();
  return { completed, failed, unreachable, cancelled, inFlight };
};

/** A WireError with this code and offset. */
const malformed = (code, offset) => (error) => {
  assert.ok(error instanceof WireError && error instanceof SlotwiseError, String(error));
  assert.deepEqual([error.name, error.code, error.offset], ['WireError', code, offset]);
  return true;
};

test('a metrics page tells the load and the adapters of an endpoint', () => {
  const { scheduler, ids } = pool(['a']);
  const { load } = wire.readMetrics(PAGE);
  assert.ok(load.running > 0);
  scheduler.handleMetricsPage(ids[0], PAGE, { engine: 'vllm', now: 5 });
  const { externalRunning, reportAgeMs } = endpoint(scheduler, ids[0]);
  assert.deepEqual([externalRunning, reportAgeMs], [load.running, 0]);
  const adapters = 'vllm:lora_requests_info{max_lora="2",running_lora_adapters="b,a",waiting_lora_adapters="c"} 1.0\n';
  scheduler.handleMetricsPage(ids[0], Buffer.from(adapters));
  assert.deepEqual([...endpoint(scheduler, ids[0]).adapters].sort(), ['a', 'b', 'c']);
});

test('a malformed page or header changes nothing but the count of such reports', () => {
  const { scheduler, ids } = pool(['a']);
  const before = scheduler.stats();
  const page = Buffer.concat([PAGE, Buffer.from('vllm:num_requests_waiting many\n')]);
  assert.throws(() => scheduler.handleMetricsPage(ids[0], page), malformed('unexpected', PAGE.length + 26));
  assert.throws(() => scheduler.handleMetricsPage(ids[0], Buffer.from('vllm:num_requests_waiting 1')), malformed('truncated', 27));
  assert.throws(() => scheduler.handleOrca(ids[0], 'JSON {'), malformed('truncated', 6));
  assert.throws(() => scheduler.handleMetricsPage(9, PAGE), UnknownEndpointError);
  assert.throws(() => scheduler.handleMetricsPage(ids[0], PAGE, { engine: 'vlm' }), /engine must be 'vllm' or .*, got "vlm"/);
  assert.throws(() => scheduler.handleMetricsPage(ids[0], PAGE.toString()), /page must be a Uint8Array, got a long string/);
  const after = scheduler.stats();
  assert.deepEqual([after.endpoints[0].reportErrors, after.endpoints[0].reportError], [3, 'truncated']);
  Object.assign(after.endpoints[0], { reportErrors: 0, reportError: null });
  assert.deepEqual(after, before);
});

test('a load report in a header counts, as text and as bytes', () => {
  const { scheduler, ids } = pool(['a']);
  const header = 'TEXT named_metrics.num_requests_running=7';
  scheduler.handleOrca(ids[0], header);
  assert.equal(endpoint(scheduler, ids[0]).externalRunning, 7);
  scheduler.handleOrca(ids[0], Buffer.from(header.replace('7', '3')), 1);
  assert.equal(endpoint(scheduler, ids[0]).externalRunning, 3);
  assert.deepEqual(wire.readOrca(header), { load: { running: 7 }, kvCacheTokens: null, skipped: 0 });
});

test('a metrics page that was read is passed to the scheduler', () => {
  const { scheduler } = pool([]);
  const report = wire.readMetrics(PAGE);
  const { blockSize, kvCacheTokens } = report;
  const id = scheduler.addEndpoint({ name: 'a', blockSize, kvCacheTokens });
  scheduler.handleLoad(id, report.load);
  assert.equal(endpoint(scheduler, id).kvCacheTokens, kvCacheTokens);
  const fields = { waiting: ['none', 'queue{state=held}'], kvUsage: 'share' };
  const own = wire.readMetrics(Buffer.from('queue{state="held",r="1"} 3\nqueue{state="done"} 9\nshare{r="1"} 0.5\n'), {
    engine: 'custom',
    fields,
    rankLabel: 'r',
  });
  assert.deepEqual([own.engine, own.load, own.ranks.map(({ rank }) => rank)], [null, { waiting: 3, kvUsage: 0.5 }, ['1']]);
  assert.throws(() => wire.readMetrics(PAGE, { fields: { waiting: 'a b' } }), malformed('unexpected', 2));
  assert.throws(() => wire.readMetrics(PAGE, { fields: { wating: 'a' } }), /fields\.wating is not a known field/);
});

test('frames are applied in order, and a gap asks for a replay', () => {
  const { scheduler, ids } = pool([{ name: 'a', models: ['tiny'], blockSize: 32 }]);
  const [id] = ids;
  assert.equal(scheduler.replayFrom(id), null);
  assert.equal(scheduler.handleKvFrames(id, frames(1)).ask, 0);
  assert.equal(scheduler.replayFrom(id), 0);
  assert.deepEqual(Buffer.from(wire.replayRequest(0)), number(0));
  const first = scheduler.handleKvFrames(id, ['', number(0), clear(1)].map((frame) => Buffer.from(frame)), { replay: true });
  assert.deepEqual([first.batches, first.clears], [1, 1]);
  assert.equal(scheduler.handleKvFrames(id, [Buffer.alloc(0), number(-1), Buffer.alloc(0)], { replay: true }).storedBlocks, 3);
  assert.equal(scheduler.replayFrom(id), null);
  const { events } = wire.readKvBatch(BATCH);
  const { tokens } = events.find(({ type }) => type === 'stored');
  assert.ok(tokens instanceof Uint32Array);
  assert.equal(scheduler.pick(tokens, { model: 'tiny' }).cachedTokens > 0, true);
  assert.equal(endpoint(scheduler, id).kvEvents, true);
});

test('each rank is followed by itself, and all are gone with their endpoint', () => {
  const { scheduler, ids } = pool(['a', 'b']);
  const [a, b] = ids;
  scheduler.handleKvFrames(a, frames(4), { rank: 1 });
  assert.deepEqual([scheduler.replayFrom(a), scheduler.replayFrom(a, 1), scheduler.replayFrom(b, 1)], [null, 0, null]);
  // The request that the report contains can be polled as well.
  assert.deepEqual(scheduler.pollReplay(), { endpointId: a, rank: 1, start: 0 });
  assert.equal(scheduler.pollReplay(), null);
  const { lost, batches } = scheduler.abandonReplay(a, { rank: 1 });
  assert.deepEqual([lost, batches, scheduler.replayFrom(a, 1)], [4, 1, null]);
  scheduler.removeEndpoint(a);
  for (const call of [
    () => scheduler.replayFrom(a, 1),
    () => scheduler.abandonReplay(a, { rank: 1 }),
    () => scheduler.handleKvFrames(a, frames(5), { rank: 1 }),
    () => scheduler.handleTrtllmEvents(a, Buffer.from('[]')),
  ]) {
    assert.throws(call, UnknownEndpointError);
  }
});

test('a batch that ends anywhere is reported, and nothing of it is applied', () => {
  const { scheduler, ids } = pool(['a']);
  for (let end = 0; end < BATCH.length; end += 1) {
    const { unreadable, error, storedBlocks } = scheduler.handleKvFrames(ids[0], frames(end, BATCH.subarray(0, end)));
    assert.deepEqual([unreadable, error.code, error.offset <= end, storedBlocks], [1, 'truncated', true, 0], `${end} bytes`);
    assert.throws(() => wire.readKvBatch(BATCH.subarray(0, end)), WireError);
  }
  assert.equal(scheduler.stats().indexEntries, 0);
  assert.throws(() => scheduler.handleKvFrames(ids[0], [BATCH]), malformed('unexpected', 0));
  assert.throws(() => scheduler.handleKvFrames(ids[0], [BATCH, 'x']), /frames\[1\] must be a Uint8Array, got "x"/);
});

test("TensorRT-LLM's events have the endpoint's block size by default", () => {
  const { scheduler, ids } = pool([{ name: 'a', models: ['m'], blockSize: 2 }]);
  const stored = (event_id, hash, ids) => ({
    event_id,
    data: { type: 'stored', parent_hash: null, blocks: [{ block_hash: hash, tokens: ids.map((token_id) => ({ token_id })) }] },
  });
  assert.equal(scheduler.handleTrtllmEvents(ids[0], json([stored(0, 1, [1, 2])])).storedBlocks, 1);
  assert.equal(scheduler.pick([1, 2, 3], { model: 'm' }).cachedTokens, 2);
  const { storedBlocks, skippedEvents } = scheduler.handleTrtllmEvents(ids[0], json([stored(1, 2, [1, 2])]), { blockSize: 4 });
  assert.deepEqual([storedBlocks, skippedEvents.partialBlocks], [0, 1]);
  assert.throws(() => scheduler.handleTrtllmEvents(ids[0], Buffer.from('[{')), malformed('truncated', 2));
  assert.throws(() => scheduler.handleTrtllmEvents(ids[0], Buffer.from('[]'), { blockSize: 0 }), /blockSize must be/);
});

test('a body is weighed by its contents', () => {
  const { scheduler } = pool([{ name: 'a', models: ['m'] }, { name: 'b', models: ['other'] }]);
  const body = json({ ...CHAT, max_tokens: 40, user: 's' });
  const { prompt } = wire.readRequest(body, { path: '/v1/chat/completions' });
  assert.deepEqual(Buffer.from(wire.readRequest(body, { api: 'chat_completions' }).prompt), Buffer.from(prompt));
  const asked = scheduler.explain({ body });
  assert.deepEqual({ ...asked, table: '' }, { ...scheduler.explain(prompt, { model: 'm', expectedOutputTokens: 40, session: 's' }), table: '' });
  const { endpointName: name } = scheduler.pick({ body }, { model: 'other' });
  assert.equal(name, 'b', 'what is asked for wins');
  const ids = scheduler.pick({ body: json({ model: 'm', prompt: [1, 2, 3] }), path: '/v1/completions' });
  assert.equal(ids.promptTokens, 3);
  assert.equal(scheduler.pick({ body: json({ ...CHAT, model: 'none' }) }).reason, 'not_served');
});

test('headers win over the body, and options over both', () => {
  const { scheduler, clock } = pool([{ name: 'a', maxInFlight: 1 }]);
  scheduler.pick('busy');
  const body = json({ ...CHAT, priority: 5 });
  const allow = ['priority', 'session'];
  const headers = { 'x-vllm-priority': '-3', 'X-Session-Id': 's', 'content-type': 'application/json', host: undefined };
  const victim = (ask, options) => {
    const request = scheduler.submit(ask, options);
    assert.equal(typeof request, 'number');
    return request;
  };
  // The later ones go first: that is their priority.
  const order = [
    victim({ body, allow }),
    victim({ body, allow, priorityOrder: 'high_first', headers: [] }),
    victim({ body, allow, headers }, { priority: 9 }),
    victim({ body, allow: { priority: [-7, 7] }, headers: new Headers([['x-vllm-priority', '-9']]) }),
    victim({ body, allow: { priority: true }, headers: [['x-vllm-priority', Buffer.from('-6')]] }),
  ];
  const gone = [];
  for (let busy = 0; gone.length < order.length; ) {
    scheduler.complete(busy === 0 ? 1 : busy);
    const decision = scheduler.pollDecision();
    assert.equal(decision.kind, 'dispatch');
    gone.push(order.indexOf(decision.requestId));
    busy = decision.requestId;
    clock.now += 1;
  }
  assert.deepEqual(gone, [2, 3, 4, 1, 0]);
});

test('claims of clients count only if the host allows them by name', () => {
  const { scheduler } = pool([{ name: 'a', maxInFlight: 1 }], { flow: { maxRequests: 50 } });
  scheduler.pick('busy');
  for (let at = 0; at < 50; at += 1) scheduler.submit({ body: json(CHAT) }, { flow: 'honest' });
  const headers = { 'x-vllm-priority': '-9', 'x-llm-d-inference-fairness-id': 'honest', 'x-llm-d-inference-ttl': '2562047h' };
  for (let at = 0; at < 50; at += 1) {
    const refused = scheduler.submit({ body: json({ ...CHAT, priority: -1 }), headers }, { flow: 'attacker' });
    assert.equal(refused.reason, 'queue_full');
  }
  assert.equal(scheduler.pollDecision(), undefined);
  assert.throws(() => scheduler.pick({ body: json(CHAT), allow: ['weight'] }), { name: 'TypeError' });
  assert.throws(() => scheduler.pick({ body: json(CHAT), allow: { priority: [1, 0] } }), { name: 'RangeError' });
});

test('a deadline and a time to live come from headers', () => {
  const { scheduler, clock } = pool([{ name: 'a', maxInFlight: 1 }]);
  scheduler.pick('busy');
  const ask = (headers) => ({ body: json(CHAT), headers, allow: { ttlMs: [0, 1_000], deadlineMs: true } });
  scheduler.submit(ask({ 'x-llm-d-inference-ttl': '250ms' }));
  scheduler.submit(ask({ 'x-llm-d-inference-ttl': '250ms' }), { ttlMs: 5_000 });
  clock.now = 300;
  assert.deepEqual([scheduler.pollDecision().reason, scheduler.pollDecision()], ['ttl_expired', undefined]);
  assert.equal(scheduler.pick(ask({ 'x-slo-ttft-ms': '0' })).reason, 'saturated');
});

test('acquire waits up to the TTL in the headers', async () => {
  const { scheduler, clock } = pool([{ name: 'a', maxInFlight: 1 }]);
  scheduler.pick('busy');
  const headers = { 'x-llm-d-inference-ttl': '250ms' };
  const waits = scheduler.acquire({ body: json(CHAT), headers, allow: ['ttl'] });
  clock.now = 300;
  scheduler.handleOrca(0, 'TEXT named_metrics.num_requests_running=1');
  await assert.rejects(waits, { name: 'RejectedError', reason: 'ttl_expired', kind: 'evicted' });
  await assert.rejects(scheduler.acquire({ body: Buffer.from('{') }), malformed('truncated', 1));
  assert.deepEqual(left(scheduler), { inFlight: 1, waiting: 0 });
});

test('a cost function receives the candidates for the request of a body', () => {
  const { scheduler } = pool(['a', 'b'], {}, { cost: ({ names, cost }) => cost.map((_, at) => (names[at] === 'b' ? 0 : 1)) });
  assert.equal(scheduler.pick({ body: json(CHAT) }).endpointName, 'b');
});

test('a request that cannot be read is refused by name', () => {
  const { scheduler } = pool(['a']);
  const body = json(CHAT);
  for (const [request, message] of [
    [{ body: 'x' }, 'request.body must be a Uint8Array, got "x"'],
    [{ body, paht: '/' }, 'request.paht is not a known field'],
    [{ body, path: 7 }, 'request.path must be a string, got 7'],
    [{ body, headers: 'x' }, 'request.headers must be an object or pairs, got "x"'],
    [{ body, headers: [['x-request-id']] }, 'request.headers[0] must be a pair of a name and a value, got an array'],
    [{ body, headers: { 'x-request-id': 7 } }, 'request.headers.x-request-id must be a string or a Uint8Array, got 7'],
    [{ body, headers: { 'x-request-id': '\u{20ac}' } }, 'request.headers.x-request-id has a character beyond one byte, as no header has'],
    [{ body, priorityOrder: 'x' }, `priorityOrder must be 'low_first' or 'high_first', got "x"`],
  ]) {
    assert.throws(() => scheduler.pick(request), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE', message });
  }
  assert.throws(() => scheduler.pick({ body, path: '/v1/models' }), /^TypeError: path must be '\/v1\/chat\/completions', /);
  assert.throws(() => scheduler.pick({ body: Buffer.from('[]') }), malformed('unexpected', 0));
  assert.equal(scheduler.stats().inFlight, 0);
  for (let end = 0; end < body.length; end += 1) {
    assert.throws(() => scheduler.pick({ body: body.subarray(0, end) }), WireError);
  }
  assert.equal(scheduler.pick({ body }).kind, 'dispatch', 'nothing is left of what could not be read');
});

test('a body that a getter takes away is missed, and one that is shared is copied', () => {
  const { scheduler } = pool(['a']);
  const body = new Uint8Array(json(CHAT));
  const headers = {
    get 'x-request-id'() {
      structuredClone(body.buffer, { transfer: [body.buffer] });
      return 'r';
    },
  };
  assert.throws(() => scheduler.pick({ body, headers }), /request\.body lies in a buffer that was transferred/);
  const taken = [new Uint8Array(8), new Uint8Array(8)];
  const list = [taken[0], undefined];
  Object.defineProperty(list, 1, { get: () => (structuredClone(taken[0].buffer, { transfer: [taken[0].buffer] }), taken[1]) });
  assert.throws(() => scheduler.handleKvFrames(0, list), /frames\[0\] lies in a buffer that was transferred/);
  const shared = new Uint8Array(new SharedArrayBuffer(json(CHAT).length));
  shared.set(json(CHAT));
  assert.equal(scheduler.pick({ body: shared }).kind, 'dispatch');
});

test('a lease that is fed tells the scheduler and ends as its answer did', async () => {
  const { scheduler } = pool([{ name: 'a', models: ['m'] }]);
  const lease = await scheduler.acquire({ body: json(CHAT) });
  assert.equal(lease.reader, null);
  assert.throws(() => lease.feed(token('x')), { code: 'not_begun' });
  assert.throws(() => lease.finish(), { code: 'not_begun' });
  lease.begin(200, 'text/event-stream');
  assert.deepEqual(lease.feed(token('Hel').subarray(0, 9)), { firstToken: false, tokens: 0, ended: false });
  assert.equal(endpoint(scheduler, 0).running, 0);
  assert.deepEqual(lease.feed(token('Hel').subarray(9)), { firstToken: true, tokens: 1, ended: false });
  assert.equal(endpoint(scheduler, 0).running, 1);
  assert.equal(lease.reader.begun, true);
  const usage = { prompt_tokens: 9, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 0 } };
  lease.feed(token('lo', { finish_reason: 'stop' }));
  assert.deepEqual(lease.feed(Buffer.concat([event({ choices: [], usage }), event('[DONE]')])), { firstToken: false, tokens: 0, ended: true });
  assert.deepEqual(lease.reader.usage, { promptTokens: 9, cachedTokens: 0, completionTokens: 2 });
  const outcome = lease.finish();
  assert.deepEqual([outcome.end, outcome.finishReason, outcome.tokens, outcome.exact], ['complete', 'stop', 2, true]);
  assert.deepEqual(counts(scheduler), { completed: 1, failed: 0, unreachable: 0, cancelled: 0, inFlight: 0 });
  assert.equal(scheduler.stats().reportedCachedTokens, 0);
  assert.equal(lease.over, true);
  assert.equal(lease.finish('broken'), outcome, 'it ends once');
  assert.deepEqual(lease.feed(token('x')), { firstToken: false, tokens: 0, ended: false });
  assert.equal(lease.reader.tokens, 2);
});

test('the end of an answer settles its request', async () => {
  for (const [status, type, chunk, close, end, count] of [
    [200, 'text/event-stream', token('x'), 'broken', 'cut', 'failed'],
    [200, 'text/event-stream', token('x', { finish_reason: 'abort' }), 'clean', 'aborted', 'failed'],
    [200, 'text/event-stream', token('x'), 'client_disconnected', 'client_disconnected', 'cancelled'],
    [503, 'application/json', json({ error: {} }), 'clean', 'full', 'failed'],
    [400, 'application/json', json({ error: {} }), 'clean', 'refused', 'cancelled'],
    [200, 'application/json', json({ choices: [] }), undefined, 'complete', 'completed'],
    [200, null, Buffer.from('?'), undefined, 'complete', 'completed'],
  ]) {
    const { scheduler } = pool(['a']);
    const lease = await scheduler.acquire('x');
    lease.begin(status, type);
    lease.feed(chunk);
    assert.equal(lease.finish(close).end, end);
    assert.equal(scheduler.stats()[count], 1, end);
    assert.equal(scheduler.stats().inFlight, 0);
  }
});

test('an outcome names the call that settles the request', () => {
  const { scheduler } = pool(['a']);
  for (const [status, settlement, failure, complete] of [
    [200, 'complete', null, true],
    [400, 'cancel', null, true],
    [404, 'cancel', null, false],
    [503, 'fail', 'engine', false],
    [504, 'fail', 'timeout', false],
    [499, 'cancel', null, false],
  ]) {
    const outcome = wire.outcomeOfStatus(status);
    assert.deepEqual([outcome.settlement, outcome.failure, outcome.complete], [settlement, failure, complete]);
    const { requestId: request } = scheduler.pick('x');
    scheduler[outcome.settlement](request, { complete: outcome.usage, fail: outcome.failure }[outcome.settlement]);
  }
  assert.deepEqual(counts(scheduler), { completed: 1, failed: 2, unreachable: 0, cancelled: 3, inFlight: 0 });
});

test('a lease that was ended otherwise stays ended', async () => {
  const { scheduler } = pool(['a']);
  const lease = await scheduler.acquire('x');
  lease.begin(200, 'text/event-stream');
  lease.feed(token('x'));
  lease.cancel();
  assert.equal(lease.finish().end, 'cut');
  assert.deepEqual(counts(scheduler), { completed: 0, failed: 0, unreachable: 0, cancelled: 1, inFlight: 0 });
  const other = await scheduler.acquire('x');
  other.begin(200, 'text/event-stream');
  scheduler.cancel(other.requestId);
  assert.deepEqual(other.feed(token('x')), { firstToken: false, tokens: 0, ended: false });
  assert.deepEqual([other.over, other.finish().end], [true, 'cut']);
  const last = await scheduler.acquire('x');
  last.begin(200, 'text/event-stream');
  assert.throws(() => last.finish('dropped'), /close must be 'clean', 'broken', 'timed_out', 'client_disconnected' or 'expired', got "dropped"/);
  assert.equal(last.over, false);
  scheduler.close();
  assert.deepEqual(last.feed(token('x')), { firstToken: false, tokens: 0, ended: false });
  assert.equal(last.finish('client_disconnected').end, 'client_disconnected');
});

test('a lease that is disposed of ends as far as its answer came', async () => {
  const { scheduler } = pool(['a']);
  for (const chunks of [[], [token('x')], [token('x', { finish_reason: 'stop' })]]) {
    const lease = await scheduler.acquire('x');
    lease.begin(200, 'text/event-stream');
    chunks.forEach((chunk) => lease.feed(chunk));
    lease[Symbol.dispose]();
    lease[Symbol.dispose]();
    assert.equal(lease.over, true);
  }
  assert.deepEqual(counts(scheduler), { completed: 1, failed: 0, unreachable: 0, cancelled: 2, inFlight: 0 });
});

test('an answer that another endpoint gives begins anew', async () => {
  const { scheduler } = pool(['a', 'b']);
  const lease = await scheduler.acquire('x');
  lease.begin(503);
  assert.equal(new wire.ResponseReader(503).finish().retry, 'if_nothing_sent');
  lease.redirect(lease.dispatch.alternatives[0]);
  lease.begin(200, 'application/json');
  lease.feed(json({ choices: [], usage: { prompt_tokens: 3 } }));
  assert.deepEqual(lease.finish().usage, { promptTokens: 3 });
  assert.equal(scheduler.stats().completed, 1);
});

for (const kind of ['web stream', 'async iterable']) {
  const source = (...chunks) => {
    async function* all() {
      for (const chunk of chunks) {
        if (chunk === null) throw new Error('the engine went away');
        yield chunk;
      }
    }
    return kind === 'web stream' ? ReadableStream.from(all()) : all();
  };

  test(`a ${kind} that is followed is read on its way`, async () => {
    const { scheduler } = pool(['a']);
    const follow = async (...chunks) => {
      const lease = await scheduler.acquire('x');
      lease.begin(200, 'text/event-stream');
      const got = [];
      try {
        for await (const chunk of lease.track(source(...chunks))) {
          got.push(chunk);
        }
      } catch {
        assert.equal(chunks.at(-1), null);
      }
      assert.equal(lease.over, true);
      return lease;
    };
    const whole = await follow(token('a'), token('b', { finish_reason: 'stop' }).toString());
    assert.deepEqual([whole.reader.tokens, whole.finish().end], [2, 'complete']);
    assert.equal((await follow(token('a'))).finish().end, 'cut', 'a clean close is not enough');
    assert.equal((await follow(token('a'), null)).finish().end, 'cut');
    assert.deepEqual(counts(scheduler), { completed: 1, failed: 2, unreachable: 0, cancelled: 0, inFlight: 0 });
    const lease = await scheduler.acquire('x', { timeoutMs: 0 });
    lease.begin(200, 'text/event-stream');
    for await (const chunk of lease.track(source(token('a'), token('b')))) {
      assert.ok(chunk);
      break;
    }
    assert.deepEqual([lease.finish().end, scheduler.stats().cancelled], ['client_disconnected', 1]);
  });
}

test('the end of a fed lease dispatches waiting requests', async () => {
  const { scheduler } = pool([{ name: 'a', maxInFlight: 1 }]);
  const first = await scheduler.acquire('x');
  const second = scheduler.acquire('y');
  first.begin(200, 'text/event-stream');
  first.feed(token('x', { finish_reason: 'stop' }));
  assert.equal(scheduler.queued, 1);
  first.finish();
  (await second).complete();
  assert.deepEqual(left(scheduler), { inFlight: 0, waiting: 0 });
});

test('numbers become text for dashboards', () => {
  const { scheduler } = pool(['http://10.0.0.1:8000', 'b', 'c']);
  const text = scheduler.metricsText({ maxEndpoints: 1 });
  assert.match(text, /slotwise_endpoint_prefilling_requests\{endpoint_name="http:\/\/10.0.0.1:8000"\} 0\n/);
  assert.match(text, /endpoint_name="other"/);
  assert.doesNotMatch(text, /endpoint_name="b"|llm_d_epp/);
  assert.match(scheduler.metricsText({ names: 'reference', pool: 'p' }), /llm_d_epp_.*"p"/);
  assert.match(wire.METRICS_CONTENT_TYPE, /^application\/openmetrics-text/);
  assert.throws(() => scheduler.metricsText({ names: 'x' }), /names must be 'slotwise' or 'reference', got "x"/);
  assert.throws(() => scheduler.metricsText({ maxEndpoints: -1 }), RangeError);
});

test('a refusal is a response', async () => {
  const { scheduler } = pool([]);
  const rejected = scheduler.pick('x');
  const { status, headers, body } = wire.refusal(rejected, { shape: 'anthropic', message: 'say "later"' });
  assert.equal(status, 503);
  assert.deepEqual(JSON.parse(Buffer.from(body)), { type: 'error', error: { type: 'overloaded_error', message: 'say "later"' } });
  const response = new Response(body, { status, headers });
  assert.equal(response.headers.get('content-type'), 'application/json');
  const message = (refusal) => JSON.parse(Buffer.from(refusal.body)).error.message;
  const error = await scheduler.acquire('x', { timeoutMs: 0 }).catch((error) => error);
  assert.ok(error instanceof RejectedError);
  assert.equal(message(wire.refusal(error)), message(wire.refusal('no_endpoints')));
  scheduler.submit('x', { ttlMs: 0 });
  const evicted = scheduler.pollDecision(1);
  assert.equal(evicted.kind, 'evicted');
  assert.match(message(wire.refusal({ ...evicted, reason: 'no_endpoints' })), /accepted requests before/, 'of two reasons of that name');
  const after = wire.refusal('queue_full', { retryAfterMs: 1_200 }).headers;
  assert.deepEqual(after.find(([name]) => name === 'retry-after'), ['retry-after', '2']);
  assert.throws(() => wire.refusal('full'), /reason must be 'no_endpoints', .*, got "full"/);
  assert.throws(() => wire.refusal({}), /reason must be a code, a Rejected, an Evicted or a RejectedError, got an object/);
  assert.throws(() => wire.refusal('shed', { retryAfterMs: -1 }), RangeError);
});

test('spans record decisions, usage and refusals', async () => {
  const { scheduler } = pool(['http://10.0.0.1:8000']);
  const dispatch = scheduler.pick(new Uint32Array(100), { model: 'm', flow: 'f' });
  const said = wire.attributes(dispatch, { model: 'm', flow: 'f', session: 's', priority: 2 });
  assert.deepEqual(
    [said['gen_ai.request.model'], said['gen_ai.conversation.id'], said['server.address'], said['server.port']],
    ['m', 's', '10.0.0.1', 8000],
  );
  assert.deepEqual([said['slotwise.prompt_tokens'], said['slotwise.request_id'], said['slotwise.priority']], [100, dispatch.requestId, 2]);
  assert.equal(said['slotwise.cost_seconds'], dispatch.cost);
  assert.deepEqual(wire.attributes({ promptTokens: 12, cachedTokens: 8 }), {
    'gen_ai.usage.input_tokens': 12,
    'gen_ai.usage.cache_read.input_tokens': 8,
  });
  const rejected = scheduler.pick('x', { labels: { no: 'where' } });
  assert.deepEqual(wire.attributes(rejected), { 'error.type': 'not_served', 'http.response.status_code': 404, 'slotwise.queued_seconds': 0 });
  const error = await scheduler.acquire('x', { labels: { no: 'where' } }).catch((error) => error);
  assert.deepEqual(wire.attributes(error), wire.attributes(rejected));
  assert.throws(() => wire.attributes({ prompt: 1 }), /usage\.prompt is not a known field/);
  assert.throws(() => wire.attributes(dispatch, { modle: 'm' }), /request\.modle is not a known field/);
});

test('headers are read from what hosts have', () => {
  const expected = wire.readHeaders([['x-request-id', 'r'], ['x-vllm-priority', 'soon']]);
  assert.deepEqual(
    [expected.requestId, expected.priority, expected.unusable],
    ['r', null, [{ name: 'x-vllm-priority', error: { offset: 0, code: 'unexpected', message: expected.unusable[0].error.message } }]],
  );
  for (const headers of [
    { 'X-Request-Id': 'r', 'x-vllm-priority': ['soon'] },
    new Headers({ 'x-request-id': 'r', 'x-vllm-priority': 'soon' }),
    new Map([['x-request-id', Buffer.from('r')], ['x-vllm-priority', 'soon'], ['cookie', '\u{20ac}']]),
  ]) {
    assert.deepEqual(wire.readHeaders(headers), expected);
  }
  // What Node shows as two characters is one of UTF-8.
  assert.equal(wire.readHeaders({ 'x-session-id': Buffer.from('é').toString('latin1') }).sessionId, 'é');
  assert.deepEqual(wire.readHeaders({ 'x-llm-d-slo-ttft-ms': '400', 'x-llm-d-inference-ttl': '1m30s' }).ttlMs, 90_000);
});

test('a request names one of an API and a path', () => {
  for (const options of [{}, { api: 'messages', path: '/v1/messages' }]) {
    assert.throws(() => wire.readRequest(json(CHAT), options), /options must have one of api and path/);
  }
  assert.throws(() => wire.readRequest(json(CHAT), { api: 'chat' }), /api must be 'chat_completions', .*, got "chat"/);
  assert.throws(() => wire.replayRequest(-1), RangeError);
  assert.throws(() => wire.replayRequest(2 ** 53), RangeError);
  assert.throws(() => wire.blockHashes([1, 2], { blockSize: 0 }), RangeError);
  assert.throws(() => new wire.ResponseReader(2 ** 16), RangeError);
});
