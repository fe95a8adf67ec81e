/** A cost of the host's own: one call per decision, over columns. */
import { types } from 'node:util';
import type { Columns } from '../native/index.js';
import { rangeError, typeError } from './errors.js';
import { describe } from './shape.js';

/** The endpoints that could have a request, best first, column by column. All times are seconds. */
export interface Candidates {
  /** Their ids. */
  readonly endpoints: Float64Array;
  /** Their names. */
  readonly names: readonly string[];
  /** Prompt tokens that each is expected to find in its cache. */
  readonly cachedTokens: Uint32Array;
  /** Predicted time to the first token. */
  readonly firstTokenIn: Float64Array;
  /** Booked prefill before this request's turn. */
  readonly queue: Float64Array;
  /** Waiting for room in the KV cache. */
  readonly kvAdmissionWait: Float64Array;
  /** This request's own prefill. */
  readonly prefill: Float64Array;
  /** What others must compute again because of it. */
  readonly cacheEviction: Float64Array;
  /** The share of the KV cache that is in use with it. */
  readonly kv: Float64Array;
  /** Running answers that stand still while it prefills. */
  readonly decode: Float64Array;
  /** Loading adapters. */
  readonly adapter: Float64Array;
  /** Time until an endpoint that failed is trusted again. */
  readonly failureBackoff: Float64Array;
  /** The sum of the terms: the built-in cost. */
  readonly cost: Float64Array;
  /** Tokens of the prompt. */
  readonly promptTokens: number;
}

/** Says what each candidate costs, in seconds. An infinite cost is a last resort; what is below zero counts as zero. */
export type CostFunction = (candidates: Candidates) => Float64Array | readonly number[];

/** Endpoints and what they cost. */
export interface Costs {
  readonly endpoints: Float64Array;
  readonly costs: Float64Array;
}

/** Asks the cost function. A faulty answer is an error; no candidates are no question. */
export function score(scorer: CostFunction, columns: Columns, nameOf: (endpoint: number) => string): Costs | null {
  const { rows, numbers, promptTokens } = columns;
  if (rows === 0) {
    return null;
  }
  const column = (at: number) => numbers.subarray(at * rows, (at + 1) * rows);
  // A copy, which the cost function never sees.
  const endpoints = column(0).slice();
  const answer: unknown = scorer({
    endpoints: column(0),
    names: Array.from(endpoints, nameOf),
    cachedTokens: Uint32Array.from(column(1)),
    firstTokenIn: column(2),
    queue: column(3),
    kvAdmissionWait: column(4),
    prefill: column(5),
    cacheEviction: column(6),
    kv: column(7),
    decode: column(8),
    adapter: column(9),
    failureBackoff: column(10),
    cost: column(11),
    promptTokens,
  });
  if (!types.isFloat64Array(answer) && !Array.isArray(answer)) {
    throw typeError(`the cost function must return a Float64Array or an array of numbers, got ${describe(answer)}`);
  }
  if (answer.length !== rows) {
    throw rangeError(`the cost function returned ${answer.length} costs for ${rows} candidates`);
  }
  const costs = new Float64Array(rows);
  for (let at = 0; at < rows; at += 1) {
    const cost: unknown = answer[at];
    if (typeof cost !== 'number' || Number.isNaN(cost)) {
      throw typeError(`the cost function's cost of ${nameOf(endpoints[at] as number)} is not a number: ${describe(cost)}`);
    }
    costs[at] = cost;
  }
  return { endpoints, costs };
}

/** Tells the host of a cost function's faults, once a minute at most: a broken one would fill its log. */
export class CostFunctionFaults {
  #quietUntil = -Infinity;

  report(fault: unknown): void {
    const now = performance.now();
    if (now >= this.#quietUntil) {
      this.#quietUntil = now + 60_000;
      const message = fault instanceof Error ? fault.message : describe(fault);
      const detail = fault instanceof Error ? fault.stack : undefined;
      process.emitWarning(`the built-in cost decides, because the cost function failed: ${message}`, {
        type: 'SlotwiseWarning',
        code: 'SLOTWISE_SCORER',
        ...(detail === undefined ? {} : { detail }),
      });
    }
  }
}
