/**
 * Reads the wire formats of engines and clients, without a scheduler. Malformed bytes throw a
 * `WireError` with the offset.
 *
 * @packageDocumentation
 */
import * as native from '../native/index.js';
import type { Dispatch, Evicted, Rejected } from './values.js';
import { guarded, typeError, type RejectedError } from './errors.js';
import { readHeaderList, readHeaderValue, type HeaderSource } from './headers.js';
import { readMetricsOptions, type MetricsOptions } from './metrics.js';
import { refused } from './refused.js';
import { readUsage, type Usage } from './reports.js';
import { readFrames, readTokenIds, readWire, type OwnBytes, type TokenIds } from './prompt.js';
import {
  checkFields,
  describe,
  number,
  optionalBoolean,
  optionalNumber,
  optionalString,
  string,
  type FieldsOf,
} from './validate.js';

export { WireError } from './errors.js';
export type { Engine, Field, MetricsOptions } from './metrics.js';
export type { HeaderSource } from './headers.js';
export type { AnswerFilterOptions } from './response.js';
export { AnswerFilter, ModelFilter, ResponseReader } from './response.js';
export type { OwnBytes } from './prompt.js';
export type { Answer, CloseReason, Outcome, Progress } from './response.js';
export type {
  AdapterReport,
  ByteRange,
  KvBatch,
  KvCache,
  KvCleared,
  KvMessage,
  KvRemoved,
  KvReport,
  KvStored,
  SkippedEvents,
  MetricsReport,
  OrcaReport,
  RankReport,
  RefusalResponse,
  ReportedUsage,
  RequestHeaders,
  RequestView,
  UnusableHeader,
  WireProblem,
} from '../native/index.js';

/** An API of model servers, by the body of its requests. */
export type Api = native.RequestView['api'];

/** The `Content-Type` of what `metricsText` gives. */
export const METRICS_CONTENT_TYPE: string = native.METRICS_CONTENT_TYPE;

/** Reads a metrics page, in the text format of Prometheus or OpenMetrics. */
export function readMetrics(page: Uint8Array, options: MetricsOptions = {}): native.MetricsReport {
  const { engine, fields, adapters, rankLabel } = readMetricsOptions(options);
  const bytes = readWire('page', page);
  return guarded(() => native.readMetrics(bytes, engine, fields, adapters, rankLabel));
}

/** Reads the header `endpoint-load-metrics` of an engine's answer. */
export function readOrca(header: string | Uint8Array): native.OrcaReport {
  const bytes = readHeaderValue('header', header);
  return guarded(() => native.readOrca(bytes));
}

/**
 * Reads the frames of a message from an engine's ZMQ socket of KV events, or from its replay
 * socket.
 */
export function readKvFrames(frames: readonly Uint8Array[]): native.KvMessage {
  const list = readFrames('frames', frames);
  return guarded(() => native.readKvFrames(list));
}

/** Decodes one batch of KV events, of vLLM or SGLang. */
export function readKvBatch(payload: Uint8Array): native.KvBatch {
  const bytes = readWire('payload', payload);
  return guarded(() => native.readKvBatch(bytes));
}

/**
 * The second frame of a request for a replay from batch `start` on; the first is empty. Send it
 * from a DEALER socket.
 */
export function replayRequest(start: number): Uint8Array {
  const from = number('start', start);
  return guarded(() => native.replayRequest(from));
}

/** How a vLLM server names blocks. */
export interface HashOptions {
  /** Tokens in a block. */
  blockSize: number;
  /** `--prefix-caching-hash-algo`. Default: `'sha256'`. */
  algorithm?: 'sha256' | 'sha256_cbor' | 'xxhash' | 'xxhash_cbor' | null | undefined;
  /** `PYTHONHASHSEED`, verbatim. Default: the value that vLLM 0.30 and later use if it is unset. */
  seed?: string | null | undefined;
  /** Whether keys carry type tags: vLLM 0.31 and later. Default: true. */
  tagged?: boolean | null | undefined;
  /** The request's adapter, by its name. */
  adapter?: string | null | undefined;
  /** Where the adapter was loaded from: `root` in `/v1/models`. */
  adapterPath?: string | null | undefined;
  /** The request's cache salt. */
  cacheSalt?: string | null | undefined;
}

const HASHES = {
  blockSize: true,
  algorithm: true,
  seed: true,
  tagged: true,
  adapter: true,
  adapterPath: true,
  cacheSalt: true,
} satisfies FieldsOf<HashOptions>;

/**
 * The hashes of a prompt's full blocks as vLLM computes them: 32 bytes each, or 16 with XXH3. Its
 * events carry all of them, or the last 8 bytes.
 */
export function blockHashes(tokens: TokenIds, options: HashOptions): Uint8Array[] {
  checkFields('options', HASHES, options);
  const size = number('blockSize', options.blockSize);
  const algorithm = optionalString('algorithm', options.algorithm);
  const seed = optionalString('seed', options.seed);
  const tagged = optionalBoolean('tagged', options.tagged) ?? true;
  const adapter = optionalString('adapter', options.adapter);
  const path = optionalString('adapterPath', options.adapterPath);
  const salt = optionalString('cacheSalt', options.cacheSalt);
  const ids = readTokenIds('tokens', tokens);
  const digests = guarded(() => native.blockHashes(ids, size, algorithm, seed, tagged, adapter, path, salt));
  const length = algorithm?.startsWith('xxhash') ? 16 : 32;
  return Array.from({ length: digests.length / length }, (_, at) => digests.subarray(at * length, (at + 1) * length));
}

/** The API whose path this is, or ends with; null for any other path. */
export function apiOfPath(path: string): Api | null {
  const which = string('path', path);
  return guarded(() => native.apiOfPath(which));
}

/** Which API a body is for: one of the two. */
export type RequestOptions = { api: Api; path?: undefined } | { path: string; api?: undefined };

/** Reads the body of a request: what a router needs to know of it. */
export function readRequest(body: Uint8Array, options: RequestOptions): native.RequestView {
  const [api, path] = readApi(options);
  const bytes = readWire('body', body);
  return guarded(() => native.readRequest(bytes, api, path));
}

/** The body of a request with another model, and the same otherwise, byte for byte. */
export function rewriteModel(body: Uint8Array, model: string): OwnBytes {
  const name = string('model', model);
  const bytes = readWire('body', body);
  return guarded(() => native.rewriteModel(bytes, name)) as OwnBytes;
}

/** A body that asks for usage. */
export interface UsageAdded {
  /** The body, otherwise unchanged. */
  body: Uint8Array;
  /**
   * Whether the usage was added. If so, remove the extra chunk with `AnswerFilter` and `dropUsage`.
   */
  added: boolean;
}

/**
 * Returns the body with a request for usage at the end of the stream. Chat completions and
 * completions need it.
 */
export function addUsage(body: Uint8Array, options: RequestOptions): UsageAdded {
  const [api, path] = readApi(options);
  const bytes = readWire('body', body);
  const asking = guarded(() => native.addUsage(bytes, api, path));
  return { body: asking ?? body, added: asking !== null };
}

/** What a body of a disaggregated request is for. */
export type KvTransferOptions = RequestOptions & {
  /** For an engine of vLLM or SGLang, or for one that computes the prompt itself. */
  transfer: 'nixl_prefill' | 'nixl_decode' | 'bootstrap' | 'none';
  /** Of `nixl_decode`: what `kvTransferParams` returned. */
  parameters?: string | undefined;
  /** Of `bootstrap`: the host of the prefilling engine. */
  host?: string | undefined;
  /** Of `bootstrap`: its bootstrap port. Default: 8998. */
  port?: number | undefined;
  /** Of `bootstrap`: a number that no other request in flight has. */
  room?: number | undefined;
};

/**
 * Returns the body for one of the engines of a disaggregated request. A client's own transfer
 * fields are replaced. `Scheduler.forward` does this by itself.
 */
export function kvTransferBody(body: Uint8Array, options: KvTransferOptions): Uint8Array {
  const { transfer, parameters, host, port, room, ...others } = options;
  const [api, path] = readApi(others as RequestOptions);
  const bytes = readWire('body', body);
  const [name, params, at] = [
    string('transfer', transfer),
    optionalString('parameters', parameters),
    optionalString('host', host),
  ];
  return guarded(() => native.kvTransferBody(bytes, name, api, path, params, at, port, room));
}

/** The `kv_transfer_params` in the answer of vLLM's prefilling engine, as JSON. */
export function kvTransferParams(answer: Uint8Array): string | null {
  const bytes = readWire('answer', answer);
  return guarded(() => native.kvTransferParams(bytes));
}

function readApi(options: RequestOptions): [string | undefined, string | undefined] {
  checkFields('options', { api: true, path: true }, options);
  const [api, path] = [optionalString('api', options.api), optionalString('path', options.path)];
  if ((api === undefined) === (path === undefined)) {
    throw typeError('options must have one of api and path');
  }
  return [api, path];
}

/** The outcome of a request with this response status, independent of the body. */
export function outcomeOfStatus(status: number): native.Outcome {
  const code = number('status', status);
  return guarded(() => native.outcomeOfStatus(code));
}

/** Options of `forwardedHeaders` and `responseHeaders`. */
export interface ForwardingOptions {
  /** The host's own headers, such as the engine's key. They replace those of the same name. */
  add?: HeaderSource | undefined;
}

/** Options of `forwardedHeaders`. */
export interface RequestForwardingOptions extends ForwardingOptions {
  /** Whether the client's keys and cookies go to the engine. Default: false. */
  credentials?: boolean | undefined;
}

/**
 * The headers of a client's request that go to an engine: pairs with names in lower case. Headers
 * of the connection stop here, as do those about the length and the coding of the body, and choices
 * that belong to the gateway.
 */
export function forwardedHeaders(
  headers: HeaderSource,
  options: RequestForwardingOptions = {},
): [name: string, value: string][] {
  checkFields('options', { add: true, credentials: true }, options);
  const credentials = optionalBoolean('credentials', options.credentials) ?? false;
  const list = readHeaderList('headers', headers, true);
  const add = readHeaderList('add', options.add ?? [], true);
  return inPairs(guarded(() => native.forwardedHeaders(list, add, credentials)));
}

/**
 * The headers of an engine's response that go to the client, as pairs with names in lower case. The
 * reply of `Scheduler.forward` needs no filter.
 */
export function responseHeaders(
  headers: HeaderSource,
  options: ForwardingOptions = {},
): [name: string, value: string][] {
  checkFields('options', { add: true }, options);
  const list = readHeaderList('headers', headers, true);
  const add = readHeaderList('add', options.add ?? [], true);
  return inPairs(guarded(() => native.responseHeaders(list, add)));
}

function inPairs(list: string[]): [string, string][] {
  return Array.from({ length: list.length / 2 }, (_, at) => [list[2 * at] as string, list[2 * at + 1] as string]);
}

/**
 * Reads the headers of a request. Unusable ones are omitted and listed. Headers are claims: check
 * first which clients may send which.
 */
export function readHeaders(headers: HeaderSource): native.RequestHeaders {
  const list = readHeaderList('headers', headers);
  return guarded(() => native.readHeaders(list));
}

/** Why a request is refused: a reason of the scheduler, or one of the gateway. */
export type RefusalReason = Rejected['reason'] | Evicted['reason'] | GatewayReason;

/** Why a gateway refuses a request that its scheduler has not refused. */
export type GatewayReason =
  | 'victim'
  | 'cancelled'
  | 'shutting_down'
  | 'missing_api_key'
  | 'invalid_api_key'
  | 'model_not_allowed'
  | 'model_not_found'
  | 'no_route'
  | 'no_backend'
  | 'rate_limit_exceeded'
  | 'concurrency_limit_exceeded'
  | 'request_exceeds_limit'
  | 'too_many_clients'
  | 'content_filter'
  | 'safety_unavailable';

/** Options of a refusal's response. */
export interface RefusalOptions {
  /** Milliseconds after which to retry. Default: those of the refusal. */
  retryAfterMs?: number | null | undefined;
  /** Message that replaces the reason's own in the body. */
  message?: string | null | undefined;
  /** Client library for which the body is shaped. Default: `'openai'`. */
  shape?: 'openai' | 'anthropic' | null | undefined;
}

const REFUSAL = { retryAfterMs: true, message: true, shape: true } satisfies FieldsOf<RefusalOptions>;

/** The response to a refused request: status, headers and body. */
export function refusal(
  reason: RefusalReason | Rejected | Evicted | RejectedError,
  options: RefusalOptions = {},
): native.RefusalResponse {
  checkFields('options', REFUSAL, options);
  const after = optionalNumber('retryAfterMs', options.retryAfterMs);
  const message = optionalString('message', options.message);
  const shape = optionalString('shape', options.shape);
  const why = refused(reason);
  return guarded(() => native.refusal(why.code, why.evicted, after ?? why.retryAfterMs, message ?? why.sentence, shape));
}

/** What a request asked for that goes into its span. */
export interface SpanRequest {
  /** The model. */
  model?: string | null | undefined;
  /** The LoRA adapter. */
  adapter?: string | null | undefined;
  /** The conversation. */
  session?: string | null | undefined;
  /** The flow: the unit of fairness. */
  flow?: string | null | undefined;
  /** Its priority. */
  priority?: number | null | undefined;
}

const SPAN = { model: true, adapter: true, session: true, flow: true, priority: true } satisfies FieldsOf<SpanRequest>;

/**
 * Span attributes by OpenTelemetry's conventions: of a dispatch and its request, of usage, or of a
 * refused request.
 */
export function attributes(
  of: Dispatch | Usage | Rejected | Evicted | RejectedError,
  request: SpanRequest = {},
): Record<string, string | number> {
  if (typeof of !== 'object' || of === null) {
    throw typeError(`attributes are of an object, got ${describe(of)}`);
  }
  const kind: unknown = 'kind' in of ? of.kind : undefined;
  if (kind === 'dispatch') {
    return pairs(ofDispatch(of as Dispatch, request));
  }
  if (kind === 'rejected' || kind === 'evicted') {
    const { code, evicted, retryAfterMs } = refused(of as Rejected | Evicted | RejectedError);
    const queued = number('queueTimeMs', 'queueTimeMs' in of ? of.queueTimeMs : 0);
    return pairs(guarded(() => native.refusalOfSpan(code, evicted, retryAfterMs, queued)));
  }
  const { promptTokens, cachedTokens, completionTokens } = readUsage(of as Usage);
  return pairs(guarded(() => native.usageOfSpan(promptTokens, cachedTokens, completionTokens)));
}

function ofDispatch(dispatch: Dispatch, asked: SpanRequest): native.Attributes {
  checkFields('request', SPAN, asked);
  const model = optionalString('model', asked.model) ?? '';
  const adapter = optionalString('adapter', asked.adapter);
  const session = optionalString('session', asked.session);
  const flow = optionalString('flow', asked.flow) ?? '';
  const priority = optionalNumber('priority', asked.priority) ?? 0;
  const request = number('request', dispatch.requestId);
  const endpoint = number('endpoint', dispatch.endpointId);
  const name = string('name', dispatch.endpointName);
  const others = Array.from(dispatch.alternatives, (other, at) => number(`alternatives[${at}]`, other));
  const tokens = number('promptTokens', dispatch.promptTokens);
  const cached = number('cachedTokens', dispatch.cachedTokens);
  const best = number('bestCachedTokens', dispatch.bestCachedTokens);
  const [cost, queued] = [number('cost', dispatch.cost), number('queueTimeMs', dispatch.queueTimeMs)];
  return guarded(() =>
    native.dispatchOfSpan(model, adapter, session, flow, priority, request, endpoint, name, others, tokens, cached, best, cost,
      queued));
}

function pairs({ keys, values }: native.Attributes): Record<string, string | number> {
  return Object.fromEntries(keys.map((key, at) => [key, values[at] as string | number]));
}

/** Names of fields and metrics in turn. */
