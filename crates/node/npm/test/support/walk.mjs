// A long random walk over a scheduler, the same in every language, with a digest of its decisions.
//
// The random numbers are mulberry32; the digest is FNV-1a over 32-bit words and includes the bits
// of every cost.
import { Scheduler, SlotwiseError } from 'slotwise';

const BLOCK = 16;
const ADAPTERS = ['a0', 'a1', 'a2', 'a3', 'a4', 'a5'];

export class Walk {
  #state;
  #digest = 0x811c9dc5;
  #now = 0;
  #scheduler = new Scheduler({ seed: 0 });
  #endpoints = [];
  #added = 0;
  #requests = [];
  #bits = new DataView(new ArrayBuffer(8));

  constructor(seed) {
    this.#state = seed;
  }

  run(operations) {
    for (let done = 0; done < operations; done += 1) {
      this.#step();
    }
    const { dispatched, completed, failed, cancelled, corrections } = this.#scheduler.stats();
    for (const count of [dispatched, completed, failed, cancelled, corrections]) {
      this.#note(count);
    }
    return this.#digest.toString(16).padStart(8, '0');
  }

  #step() {
    this.#now += this.#below(2_000);
    const roll = this.#below(100);
    if (roll < 2 || this.#endpoints.length === 0) {
      return this.#addEndpoint();
    }
    if (roll === 2) return this.#removeEndpoint();
    if (roll === 3) return this.#drainOrResume();
    if (roll < 10) return this.#reportLoad();
    if (roll < 12) return this.#reportAdapters();
    if (roll < 16) return this.#publish();
    if (roll < 50) return this.#pick();
    if (roll === 99) return this.#explain();
    if (this.#requests.length === 0) return undefined;
    if (roll < 66) return this.#firstToken();
    if (roll < 69) return this.#tokens();
    if (roll < 96) return this.#complete();
    if (roll === 96) return this.#fail();
    if (roll === 97) return this.#cancel();
    return this.#redirect();
  }

  #addEndpoint() {
    if (this.#endpoints.length === 12) {
      return;
    }
    const kvCacheTokens = 20_000 + this.#below(50_000);
    const maxInFlight = 4 + this.#below(60);
    const name = `e${this.#added}`;
    this.#added += 1;
    const id = this.#scheduler.addEndpoint({ name, models: ['m'], kvCacheTokens, maxInFlight, adapterSlots: 3 }, this.#at());
    this.#endpoints.push(id);
    this.#noteId(id);
  }

  #removeEndpoint() {
    if (this.#endpoints.length > 4) {
      const place = this.#below(this.#endpoints.length);
      const [id] = this.#endpoints.splice(place, 1);
      this.#note(this.#scheduler.removeEndpoint(id, this.#at()).inFlight.length);
    }
  }

  #drainOrResume() {
    const id = this.#endpoint();
    if (this.#below(3) === 0) {
      this.#scheduler.drainEndpoint(id, this.#at());
    } else {
      this.#scheduler.resumeEndpoint(id, this.#at());
    }
  }

  #reportLoad() {
    const id = this.#endpoint();
    const waiting = this.#below(10);
    const running = this.#below(40);
    const kvUsage = this.#below(1_001) / 1_000;
    this.#scheduler.handleLoad(id, { waiting, running, kvUsage }, this.#at());
  }

  #reportAdapters() {
    const id = this.#endpoint();
    const active = [ADAPTERS[this.#below(6)]];
    this.#scheduler.handleAdapters(id, { active, slots: 4 }, this.#at());
  }

  /**
   * An engine stores the start of a family's prompt, removes its last stored blocks, or clears its
   * cache.
   */
  #publish() {
    const id = this.#endpoint();
    const family = this.#below(20);
    const count = 1 + this.#below(8);
    const kind = this.#below(40);
    const blocks = BigUint64Array.from({ length: count }, (_, block) => BigInt(family * 1_000 + block));
    if (kind === 0) {
      this.#scheduler.handleKvEvent(id, { kind: 'AllBlocksCleared' }, this.#at());
    } else if (kind < 10) {
      this.#scheduler.handleKvEvent(id, { kind: 'BlockRemoved', blocks: blocks.subarray(-1) }, this.#at());
    } else {
      const event = { kind: 'BlockStored', blocks, blockSize: BLOCK, tokens: tokens(family, count * 16) };
      this.#scheduler.handleKvEvent(id, event, this.#at());
    }
  }

  #pick() {
    const answer = this.#ask((prompt, options) => this.#scheduler.pick(prompt, options));
    if (answer.kind === 'dispatch') {
      this.#requests.push(answer.requestId);
      this.#noteId(answer.requestId);
      this.#noteId(answer.endpointId);
      this.#note(answer.alternatives.length);
      this.#note(answer.promptTokens);
      this.#note(answer.cachedTokens);
      this.#noteF64(answer.cost);
    } else {
      this.#note(answer.httpStatus);
      this.#note(answer.reason.length);
      // Whole microseconds of what are nanoseconds, however they look as milliseconds.
      this.#note(answer.retryAfterMs === null ? 0 : Math.floor(Math.round(answer.retryAfterMs * 1e6) / 1_000));
    }
  }

  #explain() {
    const explanation = this.#ask((prompt, options) => this.#scheduler.explain(prompt, options));
    this.#note(explanation.promptTokens);
    for (const { endpointId: endpoint, terms, cost } of explanation.candidates) {
      this.#noteId(endpoint);
      this.#noteF64(terms.queue);
      this.#noteF64(terms.cacheEviction);
      this.#noteF64(cost);
    }
  }

  /** A request of one of 30 families, whose prompts are text, token ids or ready hashes. */
  #ask(ask) {
    const family = this.#below(30);
    const length = 1 + this.#below(2_000);
    const adapter = ADAPTERS[this.#below(18)];
    const priority = this.#below(3) - 1;
    const expectedOutputTokens = this.#below(500);
    const deadline = (this.#now + this.#below(4_000_000)) / 1_000;
    const patient = this.#below(4) > 0;
    const options = { model: 'm', priority, expectedOutputTokens, session: 's', adapter, now: this.#at() };
    if (!patient) {
      options.deadline = deadline;
    }
    switch (family % 3) {
      case 0:
        return ask(`family ${family} says so. `.repeat(Math.floor(length / 8)), options);
      case 1:
        return ask(tokens(family, length), options);
      default: {
        const blocks = BigUint64Array.from({ length: Math.floor(length / 16) }, (_, block) => {
          return (BigInt(family) << 40n) | BigInt(block);
        });
        return ask({ blocks, blockSize: BLOCK, tokens: length }, options);
      }
    }
  }

  #firstToken() {
    const place = this.#below(this.#requests.length);
    this.#scheduler.handleFirstToken(this.#requests[place], this.#at());
  }

  #tokens() {
    const place = this.#below(this.#requests.length);
    const count = this.#below(100);
    this.#scheduler.handleTokens(this.#requests[place], count, this.#at());
  }

  #complete() {
    const request = this.#takeRequest();
    const promptTokens = this.#below(3_000);
    const cachedTokens = this.#below(2_000);
    const completionTokens = this.#below(800);
    this.#scheduler.complete(request, { promptTokens, cachedTokens, completionTokens }, this.#at());
  }

  #fail() {
    const request = this.#takeRequest();
    this.#scheduler.fail(request, ['unreachable', 'engine', 'timeout'][this.#below(3)], this.#at());
  }

  #cancel() {
    const request = this.#takeRequest();
    if (!this.#scheduler.cancel(request, this.#at())) {
      throw new Error(`request ${request} was not in flight`);
    }
  }

  #redirect() {
    const place = this.#below(this.#requests.length);
    const id = this.#endpoint();
    let note = 0;
    try {
      this.#scheduler.redirect(this.#requests[place], id, this.#at());
    } catch (error) {
      if (!(error instanceof SlotwiseError)) throw error;
      note = error.code.length;
    }
    this.#note(note);
  }

  #endpoint() {
    return this.#endpoints[this.#below(this.#endpoints.length)];
  }

  #takeRequest() {
    return this.#requests.splice(this.#below(this.#requests.length), 1)[0];
  }

  #at() {
    return this.#now / 1_000;
  }

  /** A number below `n`. */
  #below(n) {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }

  #note(word) {
    for (let shift = 0; shift < 32; shift += 8) {
      this.#digest = Math.imul(this.#digest ^ ((word >>> shift) & 0xff), 0x01000193) >>> 0;
    }
  }

  #noteId(number) {
    this.#note(number >>> 0);
    this.#note(Math.floor(number / 2 ** 32) >>> 0);
  }

  #noteF64(value) {
    this.#bits.setFloat64(0, value);
    this.#note(this.#bits.getUint32(4));
    this.#note(this.#bits.getUint32(0));
  }
}

function tokens(family, count) {
  return Uint32Array.from({ length: count }, (_, at) => family * 10_000 + at);
}
