/** What hosts and engines report: loads, adapters and usage. */
import type { Load } from '../native/index.js';
import { readObject, strings, type SchemaOf } from './validate.js';
import { warnOnce } from './warn_once.js';

export type { Load } from '../native/index.js';

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

const USAGE = {
  promptTokens: 'number',
  cachedTokens: 'number',
  completionTokens: 'number',
} satisfies SchemaOf<Usage>;

/** A validated copy of a load report. */
export function readLoad(load: Load): Load {
  return readObject('load', LOAD, load);
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

/** `usage` without implausible numbers. Engines report them, and no end of a request fails over it. */
export function possibleUsage(usage: Usage): Usage {
  for (const [field, value] of Object.entries(usage) as [keyof Usage, number][]) {
    if (!(Number.isInteger(value) && value >= 0 && value < 2 ** 32)) {
      delete usage[field];
      warnOnce(
        `usage.${field}`,
        `usage.${field} must be a number of tokens, got ${value}: it is left out`,
      );
    }
  }
  return usage;
}
