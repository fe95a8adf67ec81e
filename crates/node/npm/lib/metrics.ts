/** How metrics pages are read, for `wire.readMetrics` and for `Scheduler.handleMetricsPage`. */
import type { MetricsReport } from '../native/index.js';
import { checkFields, optionalString, string, strings, type FieldsOf } from './validate.js';

/** An engine whose metrics are supported. */
export type Engine = NonNullable<MetricsReport['engine']>;

/** What a gauge measures. */
export type Field = keyof typeof FIELDS;

/** How a page is read. A metric is written `name` or `name{label=value, label="value"}`. */
export interface MetricsOptions {
  /** The engine. Default: detected. With `'custom'`, only `fields` and `adapters` are read. */
  engine?: Engine | 'custom' | null | undefined;
  /**
   * Metrics that replace the engine's for a field; of several, the first that a rank has counts.
   */
  fields?: Readonly<Partial<Record<Field, string | readonly string[]>>> | null | undefined;
  /** A metric with the labels of vLLM's `vllm:lora_requests_info`, for adapters. */
  adapters?: string | readonly string[] | null | undefined;
  /** The label that distinguishes the ranks in these metrics. */
  rankLabel?: string | null | undefined;
}

/** Fields, and their names in the native module. */
const FIELDS = {
  waiting: 'waiting',
  running: 'running',
  kvUsage: 'kv_usage',
  kvTokens: 'kv_tokens',
  kvCacheTokens: 'kv_cache_tokens',
  blockSize: 'block_size',
  blocks: 'blocks',
} as const;

const METRICS = {
  engine: true,
  fields: true,
  adapters: true,
  rankLabel: true,
} satisfies FieldsOf<MetricsOptions>;

/** How a scraped page is read and applied. */
export interface ObserveMetricsOptions extends MetricsOptions {
  /** The time, in milliseconds. Default: the scheduler's clock. */
  now?: number | undefined;
}

const OBSERVE_METRICS = { ...METRICS, now: true } satisfies FieldsOf<ObserveMetricsOptions>;

/** How `metricsText` renders statistics. */
export interface MetricsTextOptions {
  /** slotwise's names (the default), or with the names of the GIE endpoint picker beside them. */
  names?: 'slotwise' | 'reference' | null | undefined;
  /** The pool's name in the metrics of the endpoint picker. Default: `''`. */
  pool?: string | null | undefined;
  /** Endpoints with a label of their own; the others share one. Default: 1,000. */
  maxEndpoints?: number | null | undefined;
}

const METRICS_TEXT = {
  names: true,
  pool: true,
  maxEndpoints: true,
} satisfies FieldsOf<MetricsTextOptions>;

/** How a page is read, as the native module takes it. */
export interface MetricsSpec {
  engine: string | null | undefined;
  /** Names of fields and metrics in turn. */
  fields: string[];
  adapters: string[];
  rankLabel: string | null | undefined;
}

/** Validates options of `readMetrics`. */
export function readMetricsOptions(options: MetricsOptions): MetricsSpec {
  checkFields('options', METRICS, options);
  return specOf(options);
}

/** Validates options of `handleMetricsPage`. */
export function readObserveOptions(options: ObserveMetricsOptions): MetricsSpec {
  checkFields('options', OBSERVE_METRICS, options);
  return specOf(options);
}

/** Rejects unknown options. */
export function checkMetricsText(options: MetricsTextOptions): void {
  checkFields('options', METRICS_TEXT, options);
}

function specOf(options: MetricsOptions): MetricsSpec {
  return {
    engine: optionalString('engine', options.engine),
    fields: flatFields(options.fields ?? {}),
    adapters: oneOrMore('adapters', options.adapters ?? []),
    rankLabel: optionalString('rankLabel', options.rankLabel),
  };
}

function flatFields(fields: object): string[] {
  checkFields('fields', FIELDS, fields);
  return Object.entries(fields).flatMap(([name, metrics]: [string, unknown]) =>
    metrics === undefined || metrics === null
      ? []
      : oneOrMore(`fields.${name}`, metrics).flatMap((metric) => [FIELDS[name as Field], metric]));
}

function oneOrMore(what: string, value: unknown): string[] {
  return Array.isArray(value) ? strings(what, value) : [string(what, value)];
}
