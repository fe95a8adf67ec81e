/** Random numbers from a seed, which spread requests over time. */

/** SplitMix64 in two halves of 32 bits would be slower; this is its 32-bit variant. */
export class Random {
  #state: number;

  /** Equal seeds give equal numbers. */
  constructor(seed: string) {
    // FNV-1a, so that names that differ in one digit start apart.
    let hash = 0x811c_9dc5;
    for (let at = 0; at < seed.length; at += 1) {
      hash = Math.imul(hash ^ seed.charCodeAt(at), 0x0100_0193);
    }
    this.#state = hash;
  }

  /** A number from 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x9e37_79b9) | 0;
    let mixed = this.#state ^ (this.#state >>> 16);
    mixed = Math.imul(mixed, 0x21f0_aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a_2d97);
    mixed ^= mixed >>> 15;
    return (mixed >>> 0) / 2 ** 32;
  }
}
