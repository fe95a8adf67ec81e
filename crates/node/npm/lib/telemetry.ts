/**
 * OpenTelemetry spans and metrics of a gateway's requests.
 *
 * ```ts
 * const telemetry = new Telemetry();
 * const observed = telemetry.request('chat', model, { headers: request.headers });
 * const lease = await observed.run(() => scheduler.acquire({ body, path }, { flow }));
 * observed.handleDispatch(lease.dispatch);
 * // Send `observed.headers` along, call `handleChunk` for each chunk, and then:
 * observed.end({ status: 200, outcome: lease.outcome, isStream: true });
 * ```
 *
 * The names are those of the semantic conventions for generative AI, which are in development:
 *
 * - a span of kind `SERVER`, named `{operation} {model}`, with the attributes of the decision and
 *   of the usage;
 * - the histograms `gen_ai.server.request.duration`, `gen_ai.server.time_to_first_token`,
 *   `gen_ai.server.time_per_output_token` and `gen_ai.client.token.usage`.
 *
 * They need the package `@opentelemetry/api`. Without it, and until the host sets up
 * OpenTelemetry's SDK, every call does nothing. A `Gateway` observes its requests by itself.
 *
 * @packageDocumentation
 */
import type { Outcome } from '../native/index.js';
import { RejectedError, SlotwiseError } from './errors.js';
import type { HeaderSource } from './headers.js';
import { pairs } from './gates.js';
import {
  isSetUp,
  loadApi,
  NAME,
  type Api,
  type Attributes,
  type Histogram,
  type MeterProvider,
  type Span,
  type Tracer,
  type TracerProvider,
} from './telemetry_api.js';
import type { Dispatch } from './values.js';
import { apiOfPath, attributes, type SpanRequest } from './wire.js';

export type { MeterProvider, TracerProvider } from './telemetry_api.js';

/** The `gen_ai.operation.name` of the API at a path. */
export function operationOf(path: string): string {
  const api = apiOfPath(path) ?? 'unknown';
  return OPERATIONS.get(api) ?? api;
}

/** Settings of telemetry. */
export interface TelemetryOptions {
  /** The `gen_ai.provider.name` of the pool. Default: `openai`. */
  readonly provider?: string | undefined;
  /** The default is the global one. */
  readonly tracerProvider?: TracerProvider | undefined;
  /** The default is the global one. */
  readonly meterProvider?: MeterProvider | undefined;
  /** Names of models in metrics; further ones are `_OTHER`. Default: 1,000. */
  readonly maxModels?: number | undefined;
  /** The time in milliseconds. Default: `performance.now`. */
  readonly now?: (() => number) | undefined;
}

/** A request, beside its operation and its model. */
export interface TelemetryRequest {
  /** The client's headers, which continue its trace (`traceparent`). */
  readonly headers?: HeaderSource | undefined;
  /** The session: the `gen_ai.conversation.id`. */
  readonly session?: string | undefined;
  /** The fairness id. */
  readonly flow?: string | undefined;
  /** The priority. */
  readonly priority?: number | undefined;
}

/** How a request ended. */
export interface RequestEnd {
  /** The status that the client got. */
  readonly status?: number | undefined;
  /** The outcome of the answer, as of a lease. */
  readonly outcome?: Outcome | null | undefined;
  /** Whether the answer was a stream. */
  readonly isStream?: boolean | undefined;
  /** What the request failed with: an error, or the `error.type`. */
  readonly error?: unknown;
}

/** The spans and metrics of one gateway. */
export class Telemetry {
  readonly #instruments: Instruments | undefined;
  readonly #provider: string;
  readonly #maxModels: number;
  readonly #models = new Set<string>();
  readonly #now: () => number;

  constructor(options: TelemetryOptions = {}) {
    const { provider = 'openai', maxModels = 1_000, now = () => performance.now() } = options;
    const api = loadApi();
    this.#instruments = api === undefined ? undefined : new Instruments(api, options);
    this.#provider = provider;
    this.#maxModels = maxModels;
    this.#now = now;
  }

  /** Whether `@opentelemetry/api` is installed, and something takes the spans or the metrics. */
  get enabled(): boolean {
    return this.#instruments?.isTaken ?? false;
  }

  /** Observes one request from now on, until its `end`. */
  request(operation: string, model: string, request: TelemetryRequest = {}): ObservedRequest {
    if (this.#instruments === undefined) {
      return new ObservedRequest(undefined, this.#now, {}, {}, {});
    }
    if (this.#models.size < this.#maxModels) {
      this.#models.add(model);
    }
    const measured: Attributes = {
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': this.#provider,
      'gen_ai.request.model': this.#models.has(model) ? model : '_OTHER',
    };
    const { headers = [], session, flow, priority } = request;
    const carrier = Object.fromEntries(pairs(headers).map(([name, value]) => [name.toLowerCase(), value]));
    return new ObservedRequest(this.#instruments, this.#now, measured, { model, session, flow, priority }, carrier);
  }
}

/** One request, from its start to `end`. */
export class ObservedRequest {
  readonly #instruments: Instruments | undefined;
  readonly #now: () => number;
  readonly #measured: Attributes;
  readonly #described: SpanRequest;
  readonly #span: Span | undefined;
  readonly #begun: number;
  #first: number | undefined;
  #ended = false;

  /** @internal */
  constructor(
    instruments: Instruments | undefined,
    now: () => number,
    measured: Attributes,
    described: SpanRequest,
    carrier: Record<string, string>,
  ) {
    this.#instruments = instruments;
    this.#now = now;
    this.#measured = measured;
    this.#described = described;
    this.#begun = instruments === undefined ? 0 : now();
    this.#span = instruments?.start({ ...measured, 'gen_ai.request.model': described.model ?? '' }, carrier);
  }

  /** Headers that continue the trace in the engine: add them to the request. */
  get headers(): Record<string, string> {
    return this.#span === undefined ? {} : (this.#instruments?.inject(this.#span) ?? {});
  }

  /** Calls a function whose own spans are children of the request's. */
  run<T>(call: () => T): T {
    const [instruments, span] = [this.#instruments, this.#span];
    return instruments === undefined || span === undefined ? call() : instruments.within(span, call);
  }

  /** Adds the decision to the span. */
  handleDispatch(dispatch: Dispatch): void {
    // Without an SDK, and for a trace that is not sampled, attributes would be dropped.
    if (this.#span?.isRecording()) {
      this.#span.setAttributes(attributes(dispatch, this.#described));
    }
  }

  /** A chunk of the answer came. */
  handleChunk(): void {
    this.#first ??= this.#now();
  }

  /** The request has ended. Only the first end counts. */
  end({ status, outcome, isStream = false, error }: RequestEnd = {}): void {
    const [instruments, span] = [this.#instruments, this.#span];
    if (instruments === undefined || span === undefined || this.#ended) {
      return;
    }
    this.#ended = true;
    if (status !== undefined) {
      span.setAttribute('http.response.status_code', status);
    }
    if (error instanceof RejectedError) {
      span.setAttributes(attributes(error));
    }
    const why = typeOf(error) ?? failureOf(status, outcome);
    if (outcome !== undefined && outcome !== null) {
      this.#describe(span, outcome);
      this.#count(instruments, outcome);
    }
    if (why === undefined && this.#first !== undefined && isStream) {
      this.#time(instruments, this.#first, outcome?.tokens ?? 0);
    }
    const measured = why === undefined ? this.#measured : { ...this.#measured, 'error.type': why };
    instruments.duration.record((this.#now() - this.#begun) / 1_000, measured);
    instruments.end(span, why);
  }

  #describe(span: Span, { usage, finishReason }: Outcome): void {
    if (span.isRecording()) {
      span.setAttributes(attributes(usage));
    }
    if (finishReason !== null) {
      span.setAttribute('gen_ai.response.finish_reasons', [finishReason]);
    }
  }

  #count({ tokens }: Instruments, { usage }: Outcome): void {
    for (const [type, count] of [['input', usage.promptTokens], ['output', usage.completionTokens]] as const) {
      if (count !== undefined && count !== null) {
        tokens.record(count, { ...this.#measured, 'gen_ai.token.type': type });
      }
    }
  }

  #time({ firstToken, perToken }: Instruments, first: number, tokens: number): void {
    firstToken.record((first - this.#begun) / 1_000, this.#measured);
    if (tokens > 1) {
      perToken.record((this.#now() - first) / 1_000 / (tokens - 1), this.#measured);
    }
  }
}

/** The tracer and the histograms. */
class Instruments {
  readonly duration: Histogram;
  readonly firstToken: Histogram;
  readonly perToken: Histogram;
  readonly tokens: Histogram;
  readonly #api: Api;
  readonly #tracer: Tracer;
  #isTaken: boolean;

  constructor(api: Api, options: TelemetryOptions) {
    const { tracerProvider = api.trace, meterProvider = api.metrics } = options;
    this.#api = api;
    this.#isTaken = tracerProvider !== api.trace || meterProvider !== api.metrics;
    this.#tracer = tracerProvider.getTracer(NAME);
    const meter = meterProvider.getMeter(NAME);
    const histogram = (name: string, unit: string, description: string, explicitBucketBoundaries: number[]) =>
      meter.createHistogram(name, { unit, description, advice: { explicitBucketBoundaries } });
    this.duration = histogram(
      'gen_ai.server.request.duration', 's', 'Generative AI server request duration.', REQUEST_SECONDS);
    this.firstToken = histogram(
      'gen_ai.server.time_to_first_token', 's',
      'Time to generate the first token of successful responses.', FIRST_TOKEN_SECONDS);
    this.perToken = histogram(
      'gen_ai.server.time_per_output_token', 's',
      'Time per output token after the first token of successful responses.', TOKEN_SECONDS);
    this.tokens = histogram(
      'gen_ai.client.token.usage', '{token}', 'Number of input and output tokens used.', TOKENS);
  }

  /** Whether the host has passed a provider, or has set up an SDK since. */
  get isTaken(): boolean {
    return (this.#isTaken ||= isSetUp(this.#api));
  }

  start(given: Attributes, carrier: Record<string, string>): Span {
    const { SpanKind, ROOT_CONTEXT, propagation } = this.#api;
    const name = `${given['gen_ai.operation.name']} ${given['gen_ai.request.model']}`.trimEnd();
    const parent = propagation.extract(ROOT_CONTEXT, carrier);
    return this.#tracer.startSpan(name, { kind: SpanKind.SERVER, attributes: given }, parent);
  }

  inject(span: Span): Record<string, string> {
    const carrier: Record<string, string> = {};
    this.#api.propagation.inject(this.#api.trace.setSpan(this.#api.ROOT_CONTEXT, span), carrier);
    return carrier;
  }

  within<T>(span: Span, call: () => T): T {
    const { context, trace } = this.#api;
    return context.with(trace.setSpan(context.active(), span), call);
  }

  end(span: Span, error: string | undefined): void {
    if (error !== undefined) {
      span.setAttribute('error.type', error);
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: error });
    }
    span.end();
  }
}

/** The `error.type` of a status or of an outcome. */
function failureOf(status: number | undefined, outcome: Outcome | null | undefined): string | undefined {
  if (status !== undefined && status >= 400) {
    return String(status);
  }
  return outcome === undefined || outcome === null || outcome.complete ? undefined : outcome.end;
}

/** The `error.type`: the code of an error of slotwise, and else its name. */
function typeOf(error: unknown): string | undefined {
  if (error === undefined || typeof error === 'string') {
    return error;
  }
  if (error instanceof SlotwiseError) {
    return error.code;
  }
  return error instanceof Error ? error.name : typeof error;
}

const OPERATIONS: ReadonlyMap<string, string> = new Map([
  ['chat_completions', 'chat'],
  ['responses', 'chat'],
  ['messages', 'chat'],
  ['completions', 'text_completion'],
  ['generate', 'text_completion'],
  ['inference_generate', 'text_completion'],
  ['embeddings', 'embeddings'],
]);

// The boundaries that the conventions recommend.
const REQUEST_SECONDS = Array.from({ length: 14 }, (_, power) => 0.01 * 2 ** power);
const FIRST_TOKEN_SECONDS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];
const TOKEN_SECONDS = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];
const TOKENS = Array.from({ length: 14 }, (_, power) => 4 ** power);
