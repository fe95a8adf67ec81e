/** The host's cost function: one call per decision, over columns. */
import { types } from 'node:util';
import type { Columns } from '../native/index.js';
import { CostFunctionError, rangeError, typeError } from './errors.js';
import { describe } from './validate.js';

/** The eligible endpoints of a request, best first, column by column. All times are seconds. */
export interface Candidates {
  /** Their ids. */
  readonly endpoints: Float64Array;
  /** Their names. */
  readonly names: readonly string[];
  /** Prompt tokens that each is expected to find in its cache. */
  readonly cachedTokens: Uint32Array;
  /** Predicted time to the first token. */
  readonly firstTokenIn: Float64Array;
  /** Prefill of earlier requests. */
  readonly queue: Float64Array;
  /** Waiting for KV cache space. */
  readonly kvAdmissionWait: Float64Array;
  /** This request's own prefill. */
  readonly prefill: Float64Array;
  /** Expected recomputation of blocks that this request evicts. */
  readonly cacheEviction: Float64Array;
  /** KV cache occupancy including this request. */
  readonly kv: Float64Array;
  /** Delay of running decodes during its prefill. */
  readonly decode: Float64Array;
  /** Adapter loads. */
  readonly adapter: Float64Array;
  /** Remaining backoff of an endpoint that failed. */
  readonly failureBackoff: Float64Array;
  /** The built-in cost: the sum of the terms. */
  readonly cost: Float64Array;
  /** Tokens of the prompt. */
  readonly promptTokens: number;
}

/**
 * Returns the cost of each candidate, in seconds; lower is better. An infinite cost ranks last, and
 * a negative one counts as zero.
 */
export type CostFunction = (candidates: Candidates) => Float64Array | readonly number[];

/** Endpoints and their costs. */
export interface Costs {
  readonly endpoints: Float64Array;
  readonly costs: Float64Array;
}

/** Calls the host's cost function, and falls back to the built-in cost if it fails. */
export class CostFunctionCalls {
  readonly #costFunction: CostFunction;
  /** Calls of the function within itself. */
  #depth = 0;
  #quietUntil = -Infinity;

  constructor(cost: CostFunction) {
    this.#costFunction = cost;
  }

  /** The costs of the candidates; null without candidates, and after a failure. */
  costs(candidates: () => Columns, nameOf: (endpointId: number) => string): Costs | null {
    if (this.#depth >= MAX_DEPTH) {
      throw new CostFunctionError(
        `a cost function runs within itself ${MAX_DEPTH} times: it calls pick, which calls it. Use the `
        + 'columns that it receives, or explain()',
        'cost_function_reentered',
      );
    }
    const columns = candidates();
    this.#depth += 1;
    try {
      return call(this.#costFunction, columns, nameOf);
    } catch (fault) {
      this.#warn(fault);
      return null;
    } finally {
      this.#depth -= 1;
    }
  }

  /** Warns once a minute at most: a broken function would fill the host's log. */
  #warn(fault: unknown): void {
    const now = performance.now();
    if (now < this.#quietUntil) {
      return;
    }
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

/** Calls the function over columns, and validates what it returns. */
function call(
  cost: CostFunction,
  columns: Columns,
  nameOf: (endpointId: number) => string,
): Costs | null {
  const { rows, numbers, promptTokens } = columns;
  if (rows === 0) {
    return null;
  }
  const column = (at: number) => numbers.subarray(at * rows, (at + 1) * rows);
  // The function may write to its columns, so the ids are copied first.
  const endpoints = column(0).slice();
  const answer: unknown = cost({
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
    throw typeError(
      `the cost function must return a Float64Array or an array of numbers, got ${describe(answer)}`,
    );
  }
  if (answer.length !== rows) {
    throw rangeError(`the cost function returned ${answer.length} costs for ${rows} candidates`);
  }
  const costs = new Float64Array(rows);
  for (let at = 0; at < rows; at += 1) {
    const cost: unknown = answer[at];
    if (typeof cost !== 'number' || Number.isNaN(cost)) {
      const name = nameOf(endpoints[at] as number);
      throw typeError(`the cost function's cost of ${name} is not a number: ${describe(cost)}`);
    }
    costs[at] = cost;
  }
  return { endpoints, costs };
}

/** A function that always calls `pick` would recurse until the stack overflows. */
const MAX_DEPTH = 16;
