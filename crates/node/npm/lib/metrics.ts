/**
 * How metrics pages are read: the same for those that are looked into and those that are observed.
 */
import type { MetricsReport } from '../native/index.js';
import { optionalString } from './options.js';
import { known, string, strings, type Known } from './shape.js';

/** An engine whose metrics are known. */
export type Engine = NonNullable<MetricsReport['engine']>;

/** What a gauge can say. */
export type Field = keyof typeof FIELDS;

/** How a metrics page is read. A metric is written `name` or `name{label=value, label="value"}`. */
export interface MetricsOptions {
  /** Whose page it is; told from the page unless given. With `'custom'`, nothing is looked for but `fields` and `adapters`. */
  engine?: Engine | 'custom' | null | undefined;
  /** Metrics to look for in place of what engines call a field; of several, the first that a rank has counts. */
  fields?: Readonly<Partial<Record<Field, string | readonly string[]>>> | null | undefined;
  /** A metric with the labels of vLLM's `vllm:lora_requests_info`, in place of what else tells of adapters. */
  adapters?: string | readonly string[] | null | undefined;
  /** The label by which ranks are told apart in these metrics. */
  rankLabel?: string | null | undefined;
}

/** Fields, and their names in configurations. */
const FIELDS = {
  waiting: 'waiting',
  running: 'running',
  kvUsage: 'kv_usage',
  kvTokens: 'kv_tokens',
  kvCacheTokens: 'kv_cache_tokens',
  blockSize: 'block_size',
  blocks: 'blocks',
} as const;

const METRICS = { engine: true, fields: true, adapters: true, rankLabel: true } satisfies Known<MetricsOptions>;

/** How a metrics page is observed: read as `wire.readMetrics` reads it. */
export interface ObserveMetricsOptions extends MetricsOptions {
  /** The time, in milliseconds; the scheduler's clock unless told. */
  now?: number | undefined;
}

const OBSERVE_METRICS = { ...METRICS, now: true } satisfies Known<ObserveMetricsOptions>;

/** What the native part is told of how a page is read. */
export interface Specification {
  engine: string | null | undefined;
  /** Names of fields and metrics in turn. */
  fields: string[];
  adapters: string[];
  rankLabel: string | null | undefined;
}

export function readMetricsOptions(options: MetricsOptions): Specification {
  known('options', METRICS, options);
  return specification(options);
}

export function readObserveOptions(options: ObserveMetricsOptions): Specification {
  known('options', OBSERVE_METRICS, options);
  return specification(options);
}

function specification(options: MetricsOptions): Specification {
  return {
    engine: optionalString('engine', options.engine),
    fields: flatFields(options.fields ?? {}),
    adapters: several('adapters', options.adapters ?? []),
    rankLabel: optionalString('rankLabel', options.rankLabel),
  };
}

function flatFields(fields: object): string[] {
  known('fields', FIELDS, fields);
  return Object.entries(fields).flatMap(([name, metrics]: [string, unknown]) =>
    metrics === undefined || metrics === null
      ? []
      : several(`fields.${name}`, metrics).flatMap((metric) => [FIELDS[name as Field], metric]));
}

function several(what: string, value: unknown): string[] {
  return Array.isArray(value) ? strings(what, value) : [string(what, value)];
}
