// What bytes cost from JavaScript: times of batches, in microseconds a call.
//
//   node bench/wire.mjs [batches]
import { readFileSync } from 'node:fs';
import { Scheduler } from 'slotwise';
import { ResponseReader, readRequest } from 'slotwise/wire';
import { table } from './measure.mjs';

const fixtures = new URL('../../../wire/tests/fixtures/vllm-0.32/default/', import.meta.url);

const measure = table(56);

let now = 0;
const scheduler = new Scheduler({}, { now: () => (now += 1) });
const ids = Array.from({ length: 8 }, (_, at) => scheduler.addEndpoint({ name: `http://10.0.0.${at}:8000`, blockSize: 32 }));

const page = readFileSync(new URL('metrics/metrics_under_load.txt', fixtures));
measure(`handleMetricsPage, ${page.length >> 10} KB`, () => scheduler.handleMetricsPage(ids[0], page));
measure(`handleMetricsPage, ${page.length >> 10} KB, of vLLM`, () => scheduler.handleMetricsPage(ids[0], page, { engine: 'vllm' }));

const payload = readFileSync(new URL('kv/s01_cold.seq1.bin', fixtures));
const seq = Buffer.alloc(8);
let batch = 0n;
measure('handleKvFrames, one batch', () => {
  seq.writeBigUInt64BE(batch);
  batch += 1n;
  scheduler.handleKvFrames(ids[0], [seq, payload]);
});

const text = 'All work and no play makes a long prompt. '.repeat(195);
const body = Buffer.from(JSON.stringify({ model: 'm', messages: [{ role: 'user', content: text }], max_tokens: 100, stream: true }));
const prompt = readRequest(body, { api: 'chat_completions' }).prompt;
const headers = {
  host: 'gateway', 'user-agent': 'x', accept: '*/*', 'content-type': 'application/json', 'content-length': '8192', authorization: 'Bearer x',
  'x-request-id': 'r', 'x-llm-d-inference-fairness-id': 'team',
};
measure('pick + cancel, 8 KB prompt', () => scheduler.cancel(scheduler.pick(prompt, { model: 'm' }).requestId));
measure('pick + cancel, 8 KB body', () => scheduler.cancel(scheduler.pick({ body }).requestId));
measure('pick + cancel, 8 KB body, 8 headers', () => scheduler.cancel(scheduler.pick({ body, headers }).requestId));
measure('the same with JSON.parse and a prompt', () => {
  const { model, messages } = JSON.parse(body.toString());
  scheduler.cancel(scheduler.pick(messages[0].content, { model }).requestId);
});

const chunk = Buffer.from('data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n');
const reader = new ResponseReader(200, 'text/event-stream');
measure('ResponseReader.feed, one token', () => reader.feed(chunk));
const lease = await scheduler.acquire('x', { timeoutMs: 0 });
lease.begin(200, 'text/event-stream');
measure('lease.feed, one token', () => lease.feed(chunk));
measure('a lease: new reader, one chunk, its outcome', () => {
  const reader = new ResponseReader(200, 'text/event-stream');
  reader.feed(chunk);
  reader.finish('broken');
});
lease.cancel();
