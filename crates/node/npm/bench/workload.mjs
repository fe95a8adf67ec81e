// A seeded workload: a pool that has served traffic, and prompts that share prefixes as chats do.
// The core's own benchmarks use the same, so the difference is the cost of the binding.
import { Scheduler } from 'slotwise';

/** Prompts of one length: half of each is one of eight shared beginnings, the rest its own. */
export function prompts(count, bytes, tokens, seed) {
  let state = seed;
  const below = (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const letters = 'etaoinshrdlucmfwypvbgk    ';
  const random = (letterCount, idCount) => ({
    text: Array.from({ length: letterCount }, () => letters[below(letters.length)]).join(''),
    tokens: Array.from({ length: idCount }, () => below(128_000)),
  });
  const shared = Array.from({ length: 8 }, () => random(bytes >> 1, tokens >> 1));
  return Array.from({ length: count }, () => {
    const beginning = shared[below(8)];
    const own = random(bytes - (bytes >> 1), tokens - (tokens >> 1));
    // Joined and then copied: otherwise the first measurement would flatten the string.
    const bytesOfText = Buffer.from(beginning.text + own.text);
    return {
      string: bytesOfText.toString(),
      buffer: bytesOfText,
      tokens: Uint32Array.from([...beginning.tokens, ...own.tokens]),
    };
  });
}

/** A scheduler under traffic, with a few requests in flight on every endpoint. */
export class Gateway {
  #inFlight = [];
  #oldest = 0;
  #now = 0;
  #depth;

  constructor(endpoints, options = {}) {
    this.scheduler = new Scheduler({}, { now: () => this.#now, ...options });
    for (let number = 0; number < endpoints; number += 1) {
      this.scheduler.addEndpoint(`http://10.0.${number >> 8}.${number & 255}:8000`);
    }
    this.#depth = 4 * endpoints;
    this.#inFlight.length = this.#depth;
    this.#inFlight.fill(0);
  }

  /** Picks an endpoint for one request and ends the oldest one in flight. */
  serve(prompt) {
    this.#now += 1;
    const dispatch = this.scheduler.pick(prompt, OPTIONS);
    if (dispatch.kind !== 'dispatch') {
      throw new Error(dispatch.message);
    }
    const oldest = this.#inFlight[this.#oldest];
    this.#inFlight[this.#oldest] = dispatch.requestId;
    this.#oldest = (this.#oldest + 1) % this.#depth;
    if (oldest > 0) {
      this.scheduler.handleFirstToken(oldest);
      this.scheduler.complete(oldest);
    }
    return dispatch.endpointId;
  }
}

const OPTIONS = { model: 'llama-3.1-8b' };
