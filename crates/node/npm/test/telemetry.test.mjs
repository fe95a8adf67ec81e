// Spans and metrics of requests, read back from OpenTelemetry's SDK.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { context, metrics, propagation, SpanKind, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { RejectedError, Scheduler } from 'slotwise';
import { Configuration } from 'slotwise/configuration';
import { Gateway } from 'slotwise/gateway';
import { Telemetry, operationOf } from 'slotwise/telemetry';

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const EVENT = Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n');
const USAGE = Buffer.from('data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n');
const DONE = Buffer.from('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
const COMMON = { 'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'openai', 'gen_ai.request.model': 'm' };

/** Telemetry whose spans and metrics can be read, with a clock that stands still. */
class Observed {
  now = 0;
  spans = new InMemorySpanExporter();
  #exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  #meters = new MeterProvider({ readers: [new PeriodicExportingMetricReader({ exporter: this.#exporter })] });

  constructor(options = {}) {
    const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(this.spans)] });
    this.telemetry = new Telemetry({ tracerProvider, meterProvider: this.#meters, now: () => this.now, ...options });
  }

  get span() {
    const spans = this.spans.getFinishedSpans();
    assert.equal(spans.length, 1);
    return spans[0];
  }

  /** The attributes and the sum of each series, by the names of the histograms. */
  async points() {
    await this.#meters.forceFlush();
    const metrics = this.#exporter.getMetrics().at(-1)?.scopeMetrics.flatMap((scope) => scope.metrics) ?? [];
    await this.#meters.shutdown();
    return Object.fromEntries(metrics.map(({ descriptor, dataPoints }) =>
      [descriptor.name, dataPoints.map(({ attributes, value }) => [attributes, value.sum])]));
  }
}

before(() => {
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
});
after(() => {
  propagation.disable();
  context.disable();
});

test('a stream is one span and its measurements', async () => {
  const observed = new Observed();
  const scheduler = new Scheduler();
  scheduler.addEndpoint('http://10.0.0.1:8000');
  const request = observed.telemetry.request('chat', 'm', { headers: { Traceparent: PARENT }, flow: 'team', priority: 2 });
  const lease = await request.run(() => scheduler.acquire('Hi', { model: 'm', flow: 'team' }));
  request.handleDispatch(lease.dispatch);
  const sent = request.headers;
  lease.begin(200, 'text/event-stream');
  for (const chunk of [EVENT, EVENT, Buffer.concat([EVENT, USAGE, DONE])]) {
    observed.now += 1_000;
    request.handleChunk();
    lease.feed(chunk);
  }
  const outcome = lease.finish();
  assert.equal(observed.spans.getFinishedSpans().length, 0);
  request.end({ status: 200, outcome, isStream: true });
  request.end({ error: 'late' });
  const { name, kind, attributes, parentSpanContext } = observed.span;
  const { traceId, spanId } = observed.span.spanContext();
  assert.deepEqual([name, kind], ['chat m', SpanKind.SERVER]);
  assert.deepEqual([traceId, parentSpanContext.spanId], PARENT.split('-').slice(1, 3));
  assert.equal(sent.traceparent, `00-${traceId}-${spanId}-01`);
  const expected = {
    'gen_ai.operation.name': 'chat',
    'gen_ai.request.model': 'm',
    'gen_ai.usage.input_tokens': 7,
    'gen_ai.usage.output_tokens': 3,
    'gen_ai.response.finish_reasons': ['stop'],
    'http.response.status_code': 200,
    'server.address': '10.0.0.1',
    'slotwise.flow': 'team',
    'slotwise.priority': 2,
  };
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, attributes[key]])), expected);
  assert.equal(attributes['error.type'], undefined);
  assert.deepEqual(await observed.points(), {
    'gen_ai.server.request.duration': [[COMMON, 3]],
    'gen_ai.server.time_to_first_token': [[COMMON, 1]],
    'gen_ai.server.time_per_output_token': [[COMMON, 1]],
    'gen_ai.client.token.usage': [
      [{ ...COMMON, 'gen_ai.token.type': 'input' }, 7],
      [{ ...COMMON, 'gen_ai.token.type': 'output' }, 3],
    ],
  });
});

test('errors have their type', async () => {
  const observed = new Observed();
  const request = observed.telemetry.request('chat', 'm');
  const error = await request.run(() => new Scheduler().acquire('x')).catch((reason) => reason);
  assert.ok(error instanceof RejectedError);
  request.end({ error });
  assert.equal(observed.span.attributes['error.type'], 'no_endpoints');
  assert.equal(observed.span.attributes['http.response.status_code'], 503);
  const points = await observed.points();
  assert.deepEqual(points['gen_ai.server.request.duration'], [[{ ...COMMON, 'error.type': 'no_endpoints' }, 0]]);
});

test('a status, an outcome or an error is the reason', async () => {
  for (const [end, type] of [
    [{ status: 429 }, '429'],
    [{ status: 200, error: new TypeError('x') }, 'TypeError'],
    [{ status: 200, error: 'client_disconnected' }, 'client_disconnected'],
    [{ status: 200 }, undefined],
  ]) {
    const observed = new Observed();
    observed.telemetry.request('chat', 'm').end(end);
    assert.equal(observed.span.attributes['error.type'], type);
  }
});

test('names of models are bounded in metrics', async () => {
  const observed = new Observed({ maxModels: 2 });
  ['a', 'b', 'c', 'a', 'd'].forEach((model) => observed.telemetry.request('chat', model).end());
  const { 'gen_ai.server.request.duration': points } = await observed.points();
  assert.deepEqual(points.map(([attributes]) => attributes['gen_ai.request.model']).sort(), ['_OTHER', 'a', 'b']);
  assert.deepEqual(observed.spans.getFinishedSpans().map(({ name }) => name), ['chat a', 'chat b', 'chat c', 'chat a', 'chat d']);
});

test('spans within a request are its children', () => {
  const observed = new Observed();
  const request = observed.telemetry.request('chat', 'm');
  const inner = request.run(() => trace.getActiveSpan());
  request.end();
  assert.equal(inner.spanContext().spanId, observed.span.spanContext().spanId);
});

test('nothing is observed until the host has set up an SDK', (t) => {
  t.after(() => (trace.disable(), metrics.disable()));
  for (const setUp of [
    () => trace.setGlobalTracerProvider(new BasicTracerProvider()),
    () => metrics.setGlobalMeterProvider(new MeterProvider()),
  ]) {
    const telemetry = new Telemetry();
    assert.equal(telemetry.enabled, false);
    setUp();
    assert.equal(telemetry.enabled, true);
    trace.disable();
    metrics.disable();
  }
  assert.ok(new Observed().telemetry.enabled, 'providers that are passed in count, too');
});

test('operations have the names of the conventions', () => {
  const paths = ['/v1/messages', '/v1/completions', '/v1/rerank', '/nothing'];
  assert.deepEqual(paths.map(operationOf), ['chat', 'text_completion', 'rerank', 'unknown']);
});

test('a gateway has a span for each request', async (t) => {
  const observed = new Observed();
  const sent = [];
  const engine = createServer((request, response) => {
    sent.push(request.headers.traceparent);
    request.resume().on('end', () => {
      const [status, body] = sent.length === 1 ? [200, [EVENT, USAGE, DONE]] : [400, [Buffer.from('{}')]];
      response.writeHead(status, { 'content-type': status === 200 ? 'text/event-stream' : 'application/json' });
      response.end(Buffer.concat(body));
    });
  });
  engine.listen(0, '127.0.0.1');
  await once(engine, 'listening');
  t.after(() => (engine.close(), engine.closeAllConnections()));
  const configuration = new Configuration(JSON.stringify({ endpoints: [`http://127.0.0.1:${engine.address().port}`] }));
  const gateway = new Gateway(configuration, { telemetry: observed.telemetry, scrapeEveryMs: 3_600_000, log() {} });
  await gateway.start();
  t.after(() => gateway.stop());
  const body = JSON.stringify({ model: 'm', stream: true, prompt: 'Hi' });
  for (const path of ['/v1/completions', '/v1/completions', '/v1/completions']) {
    const wrong = sent.length === 2 ? '{' : body;
    const answer = await fetch(gateway.url + path, { method: 'POST', body: wrong, headers: { traceparent: PARENT } });
    await answer.arrayBuffer();
  }
  await gateway.stop();
  const spans = observed.spans.getFinishedSpans();
  assert.deepEqual(spans.map(({ name, attributes }) => [name, attributes['http.response.status_code'], attributes['error.type']]), [
    ['text_completion m', 200, undefined],
    ['text_completion m', 400, '400'],
  ], 'a body that cannot be read names no model');
  const [{ attributes }] = spans;
  assert.equal(attributes['gen_ai.usage.input_tokens'], 7);
  assert.equal(attributes['slotwise.endpoint'], gateway.configuration.pool('default').endpoints[0].name);
  spans.forEach((span, at) => {
    const { traceId, spanId } = span.spanContext();
    assert.deepEqual([traceId, span.parentSpanContext.spanId], PARENT.split('-').slice(1, 3));
    assert.equal(sent[at], `00-${traceId}-${spanId}-01`);
  });
});
