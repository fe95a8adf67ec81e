/** What hosts and engines report or describe: loads, adapters and usage. */
import type { Load } from '../native/index.js';
import { checkEndpointId, describe, readObject, strings, type SchemaOf } from './validate.js';
import { typeError } from './errors.js';
import { warnImplausible } from './warn_once.js';

export type { Load } from '../native/index.js';

/** The load of one endpoint of several. */
export interface EndpointLoad extends Load {
  /** The endpoint. */
  endpointId: number;
}

/** Token counts as the engine reported them. Leave out what it did not report. */
export interface Usage {
  /** Tokens of the prompt. Teaches the model's bytes per token. */
  promptTokens?: number | undefined;
  /** Prompt tokens found in the cache. Corrects the estimated cache of the endpoint. */
  cachedTokens?: number | undefined;
  /** Tokens of the answer. Teaches the expected length of answers. */
  completionTokens?: number | undefined;
}

/** The LoRA adapters that an endpoint reported. */
export interface Adapters {
  /** Adapters of running and waiting requests. An adapter that is missing may still be loaded. */
  active: readonly string[];
  /** Adapters that fit side by side, if the engine reports it. */
  slots?: number | undefined;
}

/** What is known of a LoRA adapter before it is loaded. Leave out what is not. */
export interface Adapter {
  /** The rank. It scales the load times of the endpoints, which hold for rank 16. Default: 16. */
  rank?: number | undefined;
  /** Milliseconds to load it on any endpoint, in place of the scaled ones. */
  loadTimeMs?: number | undefined;
  /** Slots that it takes. Default: 1. */
  slots?: number | undefined;
  /** Prefill time of its requests over that of requests without an adapter. Default: 1. */
  slowdown?: number | undefined;
}

const LOAD = {
  waiting: 'number',
  running: 'number',
  kvUsage: 'number',
  sleeping: 'boolean',
  sampledAt: 'number',
} satisfies SchemaOf<Load>;

const ADAPTERS = {
  active: 'strings',
  slots: 'number',
} satisfies SchemaOf<Adapters>;

const ADAPTER = {
  rank: 'number',
  loadTimeMs: 'number',
  slots: 'number',
  slowdown: 'number',
} satisfies SchemaOf<Adapter>;

const USAGE = {
  promptTokens: 'number',
  cachedTokens: 'number',
  completionTokens: 'number',
} satisfies SchemaOf<Usage>;

/** A validated copy of a load report. */
export function readLoad(load: Load): Load {
  return readObject('load', LOAD, load);
}

/** A validated copy of the reports of several endpoints: their ids, and their loads. */
export function readLoads(reports: readonly EndpointLoad[]): { ids: Float64Array; loads: Load[] } {
  if (!Array.isArray(reports)) {
    throw typeError(`reports must be an array, got ${describe(reports)}`);
  }
  const read = (reports as readonly EndpointLoad[]).map((report) =>
    readObject<EndpointLoad>('reports', { endpointId: 'number', ...LOAD }, report));
  const ids = read.map(({ endpointId }) => checkEndpointId('reports.endpointId', endpointId));
  return { ids: Float64Array.from(ids), loads: read.map(({ endpointId: _, ...load }) => load) };
}

/** A validated copy of a usage report. */
export function readUsage(usage: Usage): Usage {
  return readObject('usage', USAGE, usage);
}

/** A validated copy of an adapter report. */
export function readAdapters(adapters: Adapters): { active: string[]; slots: number } {
  const { active, slots = 0 } = readObject<Adapters>('adapters', ADAPTERS, adapters);
  return { active: strings('adapters.active', active), slots };
}

/** A validated copy of an adapter's description. */
export function readAdapter(adapter: Adapter): Adapter {
  const read = readObject<Adapter>('adapter', ADAPTER, adapter);
  warnImplausible('adapter_load_time', 'loadTimeMs', read.loadTimeMs);
  return read;
}
