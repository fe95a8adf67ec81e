/** The array into which the native module writes a dispatch. */
import type { Dispatch, Leg } from './values.js';

/**
 * Twelve numbers, four for each leg, then the alternatives: an array costs less than an object for
 * each decision.
 */
export class DispatchBuffer {
  #numbers = new Float64Array(HEADER);
  #maxAlternatives: number;

  constructor(maxAlternatives: number) {
    this.#maxAlternatives = maxAlternatives;
  }

  /** Where the next native call writes. */
  get numbers(): Float64Array {
    return this.#numbers;
  }

  /** Changes the limit of alternatives, for a pool of this size. */
  limit(maxAlternatives: number, endpoints: number): void {
    this.#maxAlternatives = maxAlternatives;
    this.reserve(endpoints);
  }

  /** Makes room for the alternatives of a pool of this size. */
  reserve(endpoints: number): void {
    const needed = HEADER + Math.min(this.#maxAlternatives, endpoints);
    if (needed > this.#numbers.length) {
      this.#numbers = new Float64Array(Math.min(HEADER + this.#maxAlternatives, 2 * needed));
    }
  }

  /** The dispatch that the latest native call wrote. */
  read(nameOf: (endpointId: number) => string): Dispatch {
    const numbers = this.#numbers;
    const alternatives: number[] = [];
    for (let at = HEADER; at < HEADER + (numbers[11] as number); at += 1) {
      alternatives.push(numbers[at] as number);
    }
    const endpointId = numbers[1] as number;
    const score = numbers[10] as number;
    return {
      kind: 'dispatch',
      requestId: numbers[0] as number,
      endpointId,
      endpointName: nameOf(endpointId),
      alternatives,
      promptTokens: numbers[2] as number,
      cachedTokens: numbers[3] as number,
      bestCachedTokens: numbers[4] as number,
      cost: numbers[5] as number,
      score: Number.isNaN(score) ? null : score,
      queueTimeMs: numbers[6] as number,
      firstTokenIn: numbers[7] as number,
      predictedTtft: numbers[8] as number,
      predictedTpot: numbers[9] as number,
      streams: numbers[12] === 1,
      prefill: this.#leg(PREFILL, nameOf),
      encode: this.#leg(ENCODE, nameOf),
    };
  }

  #leg(at: number, nameOf: (endpoint: number) => string): Leg | null {
    const numbers = this.#numbers;
    const endpointId = numbers[at] as number;
    if (endpointId < 0) {
      return null;
    }
    const [cachedTokens, cost, doneIn] = [numbers[at + 1], numbers[at + 2], numbers[at + 3]] as [number, number, number];
    return { endpointId, endpointName: nameOf(endpointId), cachedTokens, cost, doneIn };
  }
}

const LEG = 4;
const PREFILL = 13;
const ENCODE = PREFILL + LEG;
const HEADER = ENCODE + LEG;
