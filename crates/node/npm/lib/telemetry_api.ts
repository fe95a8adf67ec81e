/** What `telemetry` uses of `@opentelemetry/api`, which is an optional peer dependency. */

/** The values of attributes. */
export type Value = string | number | boolean | string[];
export type Attributes = Record<string, Value>;

/** A span. */
export interface Span {
  isRecording(): boolean;
  setAttribute(name: string, value: Value): unknown;
  setAttributes(attributes: Attributes): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  end(): void;
}

/** Makes spans. */
export interface Tracer {
  startSpan(name: string, options: { kind: number; attributes: Attributes }, context: unknown): Span;
}

/** Makes tracers: that of the SDK. */
export interface TracerProvider {
  getTracer(name: string): Tracer;
}

/** The global provider of tracers, which stands for the SDK's once there is one. */
interface GlobalTracerProvider extends TracerProvider {
  getDelegateTracer?(name: string): Tracer | undefined;
}

/** A histogram. */
export interface Histogram {
  record(value: number, attributes: Attributes): void;
}

/** Makes histograms. */
export interface Meter {
  createHistogram(
    name: string,
    options: { unit: string; description: string; advice: { explicitBucketBoundaries: number[] } },
  ): Histogram;
}

/** Makes meters: that of the SDK. */
export interface MeterProvider {
  getMeter(name: string): Meter;
}

/** The package `@opentelemetry/api`. */
export interface Api {
  readonly SpanKind: { readonly SERVER: number };
  readonly SpanStatusCode: { readonly ERROR: number };
  readonly ROOT_CONTEXT: unknown;
  readonly trace: TracerProvider & {
    getTracerProvider(): GlobalTracerProvider;
    setSpan(context: unknown, span: Span): unknown;
  };
  readonly metrics: MeterProvider;
  createNoopMeter(): Meter;
  readonly context: { active(): unknown; with<T>(context: unknown, call: () => T): T };
  readonly propagation: {
    extract(context: unknown, carrier: Record<string, string>): unknown;
    inject(context: unknown, carrier: Record<string, string>): void;
  };
}

/** The package; undefined where it is not installed. */
export function loadApi(): Api | undefined {
  try {
    return require('@opentelemetry/api') as Api;
  } catch {
    return undefined;
  }
}

/** Whether the host has set up an SDK. Until then, the API's own tracers and meters do nothing. */
export function isSetUp({ trace, metrics, createNoopMeter }: Api): boolean {
  const provider = trace.getTracerProvider();
  const traces = provider.getDelegateTracer === undefined || provider.getDelegateTracer(NAME) !== undefined;
  return traces || metrics.getMeter(NAME) !== createNoopMeter();
}

/** The name of the instrumentation. */
export const NAME = 'slotwise';
