// Performs the calls of the wire vectors and returns results in their format.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { RejectedError, Scheduler } from 'slotwise';
import * as wire from 'slotwise/wire';
import headers from '../../dist/headers.js';
import { NativeExchange } from '../../native/index.js';

const fixtures = new URL('../../../../wire/tests/fixtures/', import.meta.url);

/** Fields that the package omits when they are absent. */
const LOAD = { waiting: null, running: null, kv_usage: null, sleeping: null, sampled_at: null };
const USAGE = { prompt_tokens: null, cached_tokens: null, completion_tokens: null };

/** The bytes that a vector names. */
export function bytes(said) {
  if (typeof said === 'string') {
    return Buffer.from(said);
  }
  return said.file === undefined ? Buffer.from(said.hex, 'hex') : readFileSync(new URL(said.file, fixtures));
}

export class WireRunner {
  #clock = 0;
  #scheduler = new Scheduler({ seed: 0 }, { now: () => this.#clock });
  #endpoints = [];
  #leases = new Map();
  #exchange = new NativeExchange(this.#scheduler.native, '', 3);
  /** What a reply begins with that has the head of the engine's answer. */
  #head;
  /** Outputs of the exchange that its inputs have returned. */
  #returned = [FIRST];

  async answer({ call, args }) {
    this.#clock = Math.max(this.#clock, (args.at_us ?? 0) / 1_000);
    assert.ok(call in this, `there is no ${call}`);
    try {
      return toCore((await this[call](args)) ?? null);
    } catch (error) {
      if (error instanceof RejectedError) {
        return { rejected: error.reason };
      }
      if (!(error instanceof wire.WireError)) {
        throw error;
      }
      const { offset, code, message } = error;
      return { error: { offset, code, message } };
    }
  }

  read_metrics({ page, engine, fields = {}, adapters, rank_label: rankLabel }) {
    const named = Object.fromEntries(Object.entries(fields).map(([name, metrics]) => [camel(name), metrics]));
    return wire.readMetrics(bytes(page), { engine, fields: named, adapters, rankLabel });
  }

  read_orca({ header }) {
    return wire.readOrca(bytes(header));
  }

  forwarded_headers({ headers, add, credentials }) {
    return wire.forwardedHeaders(headers, { add, credentials });
  }

  response_headers({ headers, add }) {
    return wire.responseHeaders(headers, { add });
  }

  read_kv_frames({ frames }) {
    return wire.readKvFrames(frames.map(bytes));
  }

  read_kv_batch({ payload }) {
    return wire.readKvBatch(bytes(payload));
  }

  replay_request({ start }) {
    return wire.replayRequest(start);
  }

  block_hashes({ tokens, ...options }) {
    return wire.blockHashes(tokens, fromCore(options));
  }

  api_of_path({ path }) {
    return wire.apiOfPath(path);
  }

  read_request({ body, ...options }) {
    return wire.readRequest(bytes(body), options);
  }

  rewrite_model({ body, model }) {
    return wire.rewriteModel(bytes(body), model);
  }

  add_usage({ body, path }) {
    return wire.addUsage(bytes(body), { path });
  }

  kv_transfer_body({ body, ...how }) {
    return Buffer.from(wire.kvTransferBody(bytes(body), how)).toString();
  }

  kv_transfer_params({ answer }) {
    return wire.kvTransferParams(bytes(answer));
  }

  read_response({ status, content_type: contentType, close, ...rest }) {
    const reader = new wire.ResponseReader(status, contentType);
    const progress = { firstToken: false, tokens: 0, ended: false };
    for (const chunk of chunks(rest)) {
      const { firstToken, tokens, ended } = reader.feed(chunk);
      progress.firstToken ||= firstToken;
      progress.tokens += tokens;
      progress.ended ||= ended;
    }
    const outcome = reader.finish(close);
    const settled = outcome.end === 'complete' || (outcome.end === 'refused' && outcome.retry === 'never');
    assert.equal(outcome.complete, settled);
    if (contentType === 'text/event-stream' && outcome.end === 'complete') {
      assert.deepEqual([reader.tokens, reader.usage], [outcome.tokens, outcome.usage]);
    }
    assert.deepEqual(reader.finish(close), outcome, 'it can be asked again');
    return { progress, outcome };
  }

  outcome_of_status({ status }) {
    return wire.outcomeOfStatus(status);
  }

  filter_model({ content_type: contentType, name, ...rest }) {
    const filter = new wire.ModelFilter(contentType, name);
    return Buffer.concat(chunks(rest).map((chunk) => filter.feed(chunk)));
  }

  filter_answer({ content_type: contentType, model, drop_usage: dropUsage, ...rest }) {
    const filter = new wire.AnswerFilter(contentType, { model, dropUsage });
    return Buffer.concat([...chunks(rest).map((chunk) => filter.feed(chunk)), filter.finish()]);
  }

  read_headers({ headers }) {
    return wire.readHeaders(headers.map(([name, value]) => [bytes(name).toString('latin1'), bytes(value)]));
  }

  refusal({ reason, retry_after: after, message, shape }) {
    const { status, headers, body } = wire.refusal(reason, { retryAfterMs: after && after * 1_000, message, shape });
    return { status, headers, body: Buffer.from(body).toString() };
  }

  add_endpoint({ name, model, page, role }) {
    const { blockSize, kvCacheTokens } = page === undefined ? {} : wire.readMetrics(bytes(page));
    const ofModel = { ...(role && { role }), ...(model && { models: [model] }) };
    const endpoint = { name, ...ofModel, ...(page && { blockSize, kvCacheTokens }) };
    const id = this.#scheduler.addEndpoint(endpoint);
    this.#endpoints.push(id);
    const described = this.#scheduler.endpoint(id);
    return { blockSize: described.blockSize, kvCacheTokens: described.kvCacheTokens ?? null };
  }

  handle_metrics_page({ endpoint, page, engine, fields = {} }) {
    const named = Object.fromEntries(Object.entries(fields).map(([name, metrics]) => [camel(name), metrics]));
    this.#scheduler.handleMetricsPage(this.#endpoints[endpoint], bytes(page), { engine, fields: named });
  }

  endpoint_stats({ endpoint, fields }) {
    const stats = this.#scheduler.stats().endpoints[endpoint];
    return Object.fromEntries(fields.map((field) => [field, stats[camel(field)]]));
  }

  handle_orca({ endpoint, header }) {
    this.#scheduler.handleOrca(this.#endpoints[endpoint], bytes(header));
  }

  handle_kv_frames({ endpoint, frames, replay }) {
    const id = this.#endpoints[endpoint];
    const report = this.#scheduler.handleKvFrames(id, frames.map(bytes), { replay });
    if (report.ask !== null) {
      assert.equal(this.#scheduler.replayFrom(id), report.ask);
    }
    return report;
  }

  abandon_replay({ endpoint }) {
    return this.#scheduler.abandonReplay(this.#endpoints[endpoint]);
  }

  async pick({ body, path, headers, model, adapter }) {
    const request = { body: bytes(body), path, headers };
    const options = { model, adapter };
    const foreseen = this.#scheduler.explain(request, options);
    const lease = await this.#scheduler.acquire(request, { ...options, timeoutMs: 0 });
    const { requestId: number, endpointId: endpoint, endpointName: name, promptTokens, cachedTokens } = lease.dispatch;
    assert.deepEqual([foreseen.endpointId, foreseen.promptTokens], [endpoint, promptTokens]);
    this.#leases.set(number, lease);
    return { request: number, endpoint: name, promptTokens, cachedTokens };
  }

  begin({ request, status, content_type: contentType }) {
    this.#leases.get(request).begin(status, contentType);
  }

  feed({ request, chunk }) {
    return this.#leases.get(request).feed(bytes(chunk));
  }

  finish({ request, close }) {
    return this.#leases.get(request).finish(close);
  }

  disaggregate({ config }) {
    this.#scheduler = new Scheduler({ seed: 0, ...config }, { now: () => this.#clock });
    this.#endpoints = [];
    this.#exchange = new NativeExchange(this.#scheduler.native, '', 3);
    this.#returned = [FIRST];
  }

  exchange({ input, ...how }) {
    const now = this.#clock;
    const exchange = this.#exchange;
    let [passedOn, left] = [null, null];
    switch (input) {
      case 'new':
        this.#exchange = new NativeExchange(
          this.#scheduler.native, how.path, how.attempts, undefined, fromCore(how), how.answers_as, how.drop_usage);
        this.#returned = [FIRST];
        break;
      case 'pick': {
        const decision = this.#scheduler.pick('Hi', { model: 'm', exclude: exchange.excluded });
        const { requestId, endpointId, firstTokenIn, streams, reason, retryAfterMs } = decision;
        if (decision.kind === 'dispatch') {
          const next = exchange.handleDispatch(now, requestId, endpointId, firstTokenIn, streams);
          const url = this.#scheduler.endpoint(endpointId)?.name;
          this.#returned.push(next === true ? { kind: 'send', url, headers: [] } : next || null);
        } else {
          exchange.handleRefusal(now, reason, false, retryAfterMs);
        }
        break;
      }
      case 'refuse':
        exchange.handleRefusal(now, how.reason, false);
        break;
      case 'prefilled':
        exchange.handlePrefilled(now, how.request, how.status, bytes(how.body));
        break;
      case 'prefill_failure':
        exchange.handlePrefillFailure(now, how.request, how.failure);
        break;
      case 'unreachable':
        exchange.handleUnreachable(now, how.failure);
        break;
      case 'head':
        exchange.handleHead(undefined, now, how.status, how.headers.flat());
        this.#head = { kind: 'reply', status: how.status, headers: headers.pairsOf(how.headers.flat()) };
        break;
      case 'chunk': {
        const next = exchange.handleChunk(undefined, now, bytes(how.chunk));
        passedOn = next === 1;
        const begins = next === 2 ? { ...this.#head, body: bytes(how.chunk) } : null;
        this.#returned.push(typeof next === 'object' ? next : begins);
        break;
      }
      case 'close':
        this.#returned.push(exchange.handleClose(now, how.close) ? { kind: 'end' } : null);
        break;
      case 'disconnect':
        exchange.handleClientDisconnected(now);
        break;
      case 'wait':
        left = exchange.startWait(now);
        break;
      case 'end_wait':
        exchange.endWait(now);
        break;
      default:
        assert.fail(`there is no input ${input}`);
    }
    const { excluded, ended, outcome } = this.#exchange;
    const { inFlight, completed, failed, cancelled } = this.#scheduler.stats();
    return {
      outputs: [...outputsOf(this.#exchange, this.#returned.splice(0).filter((output) => output !== null))],
      passedOn,
      leftUs: left === null ? null : Math.round(left * 1_000),
      excluded,
      ended,
      outcome: outcome?.end ?? null,
      counts: [inFlight, completed, failed, cancelled],
    };
  }

  metrics_text({ names, pool }) {
    return this.#scheduler.metricsText({ names, pool });
  }
}

/** The body of each client of an exchange. */
const BODY = Buffer.from('{"prompt":"Hi","max_tokens":64}');

/** What an exchange begins with, which it does not return. */
const FIRST = { kind: 'dispatch' };

/** The outputs of an exchange: their kinds and their values. */
function* outputsOf(exchange, returned) {
  for (let output; (output = returned.shift() ?? exchange.poll()); ) {
    const { kind, requestId, url, status, headers, body } = output;
    const sent = url && Buffer.from(exchange.callBody('/v1/completions', BODY)).toString();
    // An endpoint that gets the client's body without headers is shown by its name.
    const plain = kind === 'send' && headers.length === 0 && sent === BODY.toString();
    const text = body ? Buffer.from(body).toString() : sent;
    // The first bytes of a body come with the head of the reply.
    const whole = [kind, requestId, url, status, headers, kind === 'reply' ? undefined : text];
    yield (plain ? [kind, url] : whole).filter((value) => value !== undefined);
    if (kind === 'reply' && text !== undefined) {
      yield ['body', text];
    }
  }
}

/** The body, in pieces of so many bytes. */
function chunks({ body, chunk }) {
  const whole = bytes(body);
  const size = Math.max(1, chunk ?? whole.length);
  return Array.from({ length: Math.ceil(whole.length / size) }, (_, at) => whole.subarray(at * size, (at + 1) * size));
}

function fromCore(value) {
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [camel(name), inner]));
}

/** `sloTtftMs: 400` as `slo_ttft: 0.4`, bytes as hexadecimal digits, at every level. */
function toCore(value) {
  if (value instanceof Uint8Array) {
    return Buffer.from(value).toString('hex');
  }
  if (Array.isArray(value) || value instanceof Uint32Array) {
    return Array.from(value, toCore);
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  if ('settlement' in value) {
    // What the host is to make of an outcome stands beside it.
    const { settlement, failure, complete, ...outcome } = value;
    assert.equal(settlement === 'fail', failure !== null);
    return toCore(outcome);
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      if (name === 'load') return ['load', { ...LOAD, ...toCore(inner) }];
      if (name === 'usage') return ['usage', { ...USAGE, ...toCore(inner) }];
      if (name === 'sentAt') return ['sent_at', inner / 1_000];
      if (name.endsWith('Ms')) return [snake(name.slice(0, -2)), inner === null ? null : inner / 1_000];
      return [snake(name), toCore(inner)];
    }),
  );
}

function camel(name) {
  return name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
}

function snake(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
