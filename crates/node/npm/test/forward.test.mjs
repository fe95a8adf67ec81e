// `forward` under every behaviour of engines and clients: nothing leaks, and each end is counted
// once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Scheduler } from 'slotwise';

const EVENT = 'data: {"choices":[{"text":"a"}]}\n\n';
const DONE = 'data: [DONE]\n\n';
const STREAM = { 'content-type': 'text/event-stream', server: 'an engine' };
const JSON_TYPE = { 'content-type': 'application/json' };
const request = { body: Buffer.from('{"model":"m","prompt":"Hi","stream":true}'), path: '/v1/completions' };
const wholeRequest = { ...request, body: Buffer.from('{"model":"m","prompt":"Hi"}') };

function pool(...names) {
  const scheduler = new Scheduler({ seed: 1 });
  names.forEach((name) => scheduler.addEndpoint(name));
  return scheduler;
}

/** A response whose body has these chunks, and then ends, fails or stays open. */
function answer(chunks, { status = 200, headers = STREAM, end = 'clean', onCancel = () => {} } = {}) {
  const left = chunks.map((chunk) => Buffer.from(chunk));
  const body = new ReadableStream({
    async pull(controller) {
      const chunk = left.shift();
      if (chunk !== undefined) controller.enqueue(chunk);
      else if (end === 'clean') controller.close();
      else if (end === 'broken') controller.error(new Error('reset'));
      else await new Promise(() => {});
    },
    cancel: onCancel,
  });
  return new Response(body, { status, headers });
}

function counts(scheduler) {
  const { completed, failed, cancelled, inFlight, queued } = scheduler.stats();
  return [completed, failed, cancelled, inFlight + queued];
}

test('an answer passes as it comes, without the headers of the connection', async () => {
  const scheduler = pool('a');
  const response = await scheduler.forward(async () => answer([EVENT, DONE]), request);
  assert.deepEqual([...response.headers], [['content-type', 'text/event-stream']]);
  assert.deepEqual(counts(scheduler), [0, 0, 0, 1]);
  assert.equal(await response.text(), EVENT + DONE);
  assert.deepEqual(counts(scheduler), [1, 0, 0, 0]);
});

test('a stream that breaks after its end ends cleanly', async () => {
  const scheduler = pool('a');
  const response = await scheduler.forward(async () => answer([EVENT, DONE], { end: 'broken' }), request);
  assert.equal(await response.text(), EVENT + DONE);
  assert.deepEqual(counts(scheduler), [1, 0, 0, 0]);
});

test('a stream that breaks before its end ends with an error event', async () => {
  const scheduler = pool('a');
  for (const end of ['broken', 'clean']) {
    const response = await scheduler.forward(async () => answer([EVENT], { end }), request);
    assert.match(await response.text(), /^data: .*\n\ndata: {"error":{"message":"the engine failed.*}\n\n$/);
  }
  assert.deepEqual(counts(scheduler), [0, 2, 0, 0]);
});

test('a stream whose time is over ends with an error event', async () => {
  const scheduler = pool('a');
  const over = new AbortController();
  let closed = 0;
  const open = async (chunks) => {
    const silent = answer(chunks, { end: 'open', onCancel: () => (closed += 1) });
    return scheduler.forward(async () => silent, request, { expires: over.signal });
  };
  const reading = [[EVENT], [EVENT, 'data: {']].map(async (chunks) => (await open(chunks)).text());
  const unanswered = scheduler.forward(() => new Promise(() => {}), request, { expires: over.signal });
  await setImmediate();
  over.abort(new DOMException('a minute has passed', 'TimeoutError'));
  assert.match(await reading[0], /^data: .*\n\ndata: {"error":{.*"code":"request_timeout"}}\n\n$/);
  await assert.rejects(reading[1], /a minute has passed/);
  await assert.rejects(unanswered, /a minute has passed/);
  await assert.rejects(open([EVENT]), /a minute has passed/);
  assert.equal(closed, 2);
  assert.deepEqual(counts(scheduler), [0, 0, 3, 0]);
});

test('a stream that breaks within an event breaks for the client with the same error', async () => {
  const scheduler = pool('a');
  const part = answer([EVENT, 'data: {'], { end: 'broken' });
  const response = await scheduler.forward(async () => part, request);
  await assert.rejects(response.text(), /reset/);
  assert.deepEqual(counts(scheduler), [0, 1, 0, 0]);
});

test('a stream that falls silent ends with an error event', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  const scheduler = new Scheduler({ seed: 1 }, { now: () => now });
  scheduler.addEndpoint('a');
  let closed = false;
  const silent = answer([EVENT], { end: 'open', onCancel: () => (closed = true) });
  const response = await scheduler.forward(async () => silent, request);
  const reading = response.text();
  for (let second = 1; second <= 60; second += 1) {
    await setImmediate();
    assert.ok(!closed, String(second));
    now = second * 1_000;
    t.mock.timers.tick(1_000);
  }
  assert.match(await reading, /"code":"engine_timed_out"/);
  assert.ok(closed);
  assert.deepEqual(counts(scheduler), [0, 1, 0, 0]);
});

test('if no other engine answers, the client gets the last whole refusal', async () => {
  const scheduler = pool('a', 'b');
  const asked = [];
  const send = async (url) => {
    asked.push(url);
    if (asked.length === 2) throw new Error('connection refused');
    return answer(['{"error":"busy"}'], { status: 429, headers: { ...JSON_TYPE, 'retry-after': '7' } });
  };
  const response = await scheduler.forward(send, request);
  assert.deepEqual([response.status, await response.text()], [429, '{"error":"busy"}']);
  assert.equal(response.headers.get('retry-after'), '7');
  assert.deepEqual(asked.sort(), ['a', 'b']);
  assert.equal(counts(scheduler)[3], 0);
});

test('a pool without endpoints is refused in the format of the client', async () => {
  const path = '/v1/messages';
  const body = Buffer.from('{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Hi"}]}');
  const send = () => assert.fail('there is no endpoint');
  const response = await pool().forward(send, { body, path }, { timeoutMs: 0 });
  assert.equal(response.status, 503);
  assert.equal((await response.json()).type, 'error');
});

test('excluded endpoints are not asked, and attempts are limited', async () => {
  const scheduler = pool('a', 'b', 'c');
  const asked = [];
  const send = async (url) => {
    asked.push(url);
    throw new Error('connection refused');
  };
  const exclude = [scheduler.endpointNamed('b')];
  assert.equal((await scheduler.forward(send, request, { exclude })).status, 503);
  assert.deepEqual(asked.sort(), ['a', 'c']);
  asked.length = 0;
  await scheduler.forward(send, request, { attempts: -1 });
  assert.equal(asked.length, 1);
});

test('a client that leaves closes the stream of the engine', async () => {
  const scheduler = pool('a');
  let closed = false;
  const onCancel = () => (closed = true);
  const response = await scheduler.forward(async () => answer([EVENT], { end: 'open', onCancel }), request);
  await response.body.cancel();
  assert.ok(closed);
  assert.deepEqual(counts(scheduler), [0, 0, 1, 0]);
});

for (const stage of ['send', 'head', 'body']) {
  test(`an abort cancels the request, also if the client's send ignores it: ${stage}`, async () => {
    const scheduler = pool('a');
    const client = new AbortController();
    const send = async () =>
      stage === 'send' ? new Promise(() => {}) : answer(stage === 'head' ? [] : [EVENT], { end: 'open' });
    const forwarded = scheduler.forward(send, request, { signal: client.signal });
    const read = stage === 'body' ? (await forwarded).text() : forwarded;
    for (let turn = 0; turn < 5; turn += 1) await setImmediate();
    client.abort(new Error('left'));
    await assert.rejects(read, /left/);
    assert.deepEqual(counts(scheduler), [0, 0, 1, 0]);
  });
}

/** Seconds pass. One timer serves all waits of an attempt, and is set again when it fires early. */
function pass(t, seconds) {
  for (let second = 0; second < seconds; second += 1) t.mock.timers.tick(1_000);
}

test('a silent engine times out, and another one is asked', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const scheduler = pool('a', 'b');
  const signals = [];
  const send = async (_, signal) => {
    signals.push(signal);
    return signals.length === 1 ? answer([], { end: 'open' }) : answer([EVENT, DONE]);
  };
  const forwarded = scheduler.forward(send, request);
  for (let turn = 0; turn < 5; turn += 1) await setImmediate();
  pass(t, 31);
  assert.equal(await (await forwarded).text(), EVENT + DONE);
  assert.ok(signals[0].aborted);
  assert.deepEqual(counts(scheduler), [1, 1, 0, 0]);
});

for (const [limit, idleTimeoutMs] of [[30_000], [600_000], [7_000, 7_000], [undefined, null]]) {
  const asked = limit === 600_000 ? wholeRequest : request;
  test(`an endpoint may take ${limit ?? 'any number of'} ms before the head`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const scheduler = pool('a');
    const forwarded = scheduler.forward(async () => new Promise(() => {}), asked, { idleTimeoutMs });
    let reply;
    forwarded.then((response) => (reply = response));
    for (let turn = 0; turn < 5; turn += 1) await setImmediate();
    t.mock.timers.tick((limit ?? 1e9) - 1);
    for (let turn = 0; turn < 5; turn += 1) await setImmediate();
    assert.equal(reply, undefined);
    if (limit !== undefined) {
      t.mock.timers.tick(1);
      assert.equal((await forwarded).status, 503);
      assert.deepEqual(counts(scheduler), [0, 1, 0, 0]);
    }
  });
}

test('an idle limit must be above 0', async () => {
  for (const idleTimeoutMs of [0, -1, NaN, '9']) {
    const forwarded = pool('a').forward(async () => answer([DONE]), request, { idleTimeoutMs });
    await assert.rejects(forwarded, /idleTimeoutMs/);
  }
});

test('a whole JSON answer counts although its connection stays open', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const scheduler = pool('a');
  const whole = '{"choices":[{"text":"a"}],"usage":{"completion_tokens":1}}';
  const send = async () => answer([whole], { headers: JSON_TYPE, end: 'open' });
  const forwarded = scheduler.forward(send, wholeRequest);
  for (let turn = 0; turn < 5; turn += 1) await setImmediate();
  pass(t, 61);
  const response = await forwarded;
  assert.equal(await response.text(), whole);
  assert.deepEqual(counts(scheduler), [1, 0, 0, 0]);
});

test('mistakes of the host reject, and leave nothing behind', async () => {
  const scheduler = pool('a');
  const malformed = { ...request, body: Buffer.from('{') };
  await assert.rejects(scheduler.forward(async () => answer([EVENT]), malformed), { name: 'WireError' });
  await assert.rejects(scheduler.forward(async () => undefined, request), { name: 'TypeError' });
  assert.deepEqual(counts(scheduler), [0, 0, 1, 0]);
});

test('usage is requested, and given only to clients that want it', async () => {
  const path = '/v1/completions';
  const event = 'data: {"choices":[{"text":"a"}]}\n\n';
  const usage = 'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}\n\n';
  const chunks = [event.replace(']}', '],"usage":null}'), usage.slice(0, 9), usage.slice(9) + DONE];
  for (const wanted of [false, true]) {
    const scheduler = pool('a');
    const options = wanted ? ',"stream_options":{"include_usage":true}' : '';
    const body = Buffer.from(`{"model":"m","prompt":"Hi","stream":true${options}}`);
    let sent;
    const send = async (_url, _signal, call) => {
      sent = Buffer.from(call.body).toString();
      return answer(chunks);
    };
    const response = await scheduler.forward(send, { body, path }, { addUsage: true });
    assert.equal(await response.text(), wanted ? chunks.join('') : event + DONE);
    assert.ok(sent.includes('include_usage'));
    assert.deepEqual(counts(scheduler), [1, 0, 0, 0]);
  }
});

test("the client's name of the model goes back", async () => {
  const scheduler = pool('a');
  const event = 'data: {"model":"llama-3-b","choices":[{"text":"a"}]}\n\n';
  const chunks = [event, event.slice(0, 20), event.slice(20), DONE];
  const response = await scheduler.forward(async () => answer(chunks), request, { answersAs: 'chat' });
  assert.equal(await response.text(), event.replace('llama-3-b', 'chat').repeat(2) + DONE);
  assert.deepEqual(counts(scheduler), [1, 0, 0, 0]);
});
