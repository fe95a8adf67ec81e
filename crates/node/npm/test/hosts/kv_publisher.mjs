// Publishes the KV events of a real engine over ZeroMQ, and replays them.
import { readFileSync } from 'node:fs';
import { Router, XPublisher } from 'zeromq';

const STORED = new URL('../../../../wire/tests/fixtures/vllm-0.32/default/kv/', import.meta.url);
const REPLAY_END = Buffer.alloc(8, 0xff);
const EMPTY = Buffer.alloc(0);

/** Batches of a real engine, each with one stored block or more. */
export const BATCHES = ['s01_cold.seq1', 's03_extend.seq2', 's04_exact_multiple.seq3'].map((name) =>
  readFileSync(new URL(`${name}.bin`, STORED)));

/** A publisher as vLLM has it: a PUB socket, and a ROUTER that replays. */
export class KvPublisher {
  events = new XPublisher({ linger: 0 });
  replays = new Router({ linger: 0 });
  sent = [];
  asked = [];
  answers = true;

  async start() {
    await Promise.all([this.events, this.replays].map((socket) => socket.bind('tcp://127.0.0.1:*')));
    this.address = { events: this.events.lastEndpoint, replay: this.replays.lastEndpoint };
    this.#replay().catch(() => {}); // until it is closed
    return this;
  }

  close() {
    this.events.close();
    this.replays.close();
  }

  async subscribed() {
    if ((await this.events.receive())[0][0] !== 1) throw new Error('a subscriber has left');
  }

  async left() {
    if ((await this.events.receive())[0][0] !== 0) throw new Error('a subscriber has come');
  }

  async publish(batch, { lost = false } = {}) {
    this.sent.push(batch);
    if (!lost) await this.events.send([EMPTY, numbered(this.sent.length - 1), batch]);
  }

  /** Answers requests for replays. */
  async #replay() {
    for await (const [client, , start] of this.replays) {
      const first = Number(start.readBigUInt64BE());
      this.asked.push(first);
      if (!this.answers) continue;
      for (let number = first; number < this.sent.length; number += 1) {
        await this.replays.send([client, EMPTY, EMPTY, numbered(number), this.sent[number]]);
      }
      await this.replays.send([client, EMPTY, EMPTY, REPLAY_END, EMPTY]);
    }
  }
}

function numbered(number) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(number));
  return bytes;
}
