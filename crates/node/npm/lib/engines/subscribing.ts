/** Follows the KV events of all endpoints over ZeroMQ. See `subscribe`. */
import type { Endpoints } from '../endpoints.js';
import { WireError } from '../errors.js';
import { checkFields, type FieldsOf } from '../validate.js';
import { replayRequest } from '../wire.js';
import { Followers, checkAboveZero, limited, type BackgroundOptions, type Task } from './background.js';
import { publishersOf, type Publisher, type Publishers } from './publishers.js';
import { loadZeroMq, type ReceivingSocket, type SocketOptions, type ZeroMq } from './zeromq.js';

/** How KV events are followed. */
export interface SubscribeOptions extends BackgroundOptions {
  /** Milliseconds without a message after which a replay is abandoned. Default: 5,000. */
  replayTimeoutMs?: number | undefined;
  /** Messages of a publisher that wait; further ones are requested again. Default: 100,000. */
  queueLimit?: number | undefined;
  /** Milliseconds within which other endpoints are found. Default: 1,000. */
  everyMs?: number | undefined;
  /** The package `zeromq`. Default: it is imported. */
  zeromq?: ZeroMq | undefined;
}

const OPTIONS = {
  replayTimeoutMs: true,
  queueLimit: true,
  everyMs: true,
  zeromq: true,
  log: true,
  sleep: true,
} satisfies FieldsOf<SubscribeOptions>;

/**
 * Applies the KV events of every endpoint that has `publishers`, until `close`. Needs the package
 * `zeromq`, and rejects without it. Its sockets keep the process alive until `close`.
 *
 * With events (vLLM: `--kv-events-config`), the scheduler's record of a cache is exact. Without
 * events, it is estimated from answers.
 *
 * A subscriber that connects late or misses batches requests them again. A replay is abandoned
 * after `replayTimeoutMs` without a message. At most `queueLimit` messages of a publisher wait;
 * further ones are dropped and requested again. ZeroMQ reconnects by itself. Endpoints that are
 * added or removed are found within `everyMs`.
 */
export async function subscribe(
  scheduler: Endpoints,
  publishers: Publishers,
  options: SubscribeOptions = {},
): Promise<Subscriber> {
  checkFields('options', OPTIONS, options);
  const zeromq = options.zeromq ?? (await loadZeroMq());
  return new Subscriber(scheduler, publishers, zeromq, options);
}

/** The subscriptions, in the background. */
export class Subscriber extends Followers {
  readonly #scheduler: Endpoints;
  readonly #publishers: Publishers;
  readonly #zeromq: ZeroMq;
  readonly #replayTimeoutMs: number;
  readonly #socketOptions: SocketOptions;

  /** @internal */
  constructor(scheduler: Endpoints, publishers: Publishers, zeromq: ZeroMq, options: SubscribeOptions) {
    const { replayTimeoutMs = 5_000, queueLimit = 100_000, everyMs = 1_000 } = options;
    checkAboveZero({ replayTimeoutMs, everyMs });
    super(scheduler, everyMs, options);
    this.#scheduler = scheduler;
    this.#publishers = publishers;
    this.#zeromq = zeromq;
    this.#replayTimeoutMs = replayTimeoutMs;
    // The keep-alive finds out about a host that is gone, after which ZeroMQ connects again.
    const keepAlive = { tcpKeepalive: 1, tcpKeepaliveIdle: 30 };
    this.#socketOptions = { linger: 0, ...keepAlive, receiveHighWaterMark: queueLimit };
    this.start();
  }

  /** @internal */
  protected override async follow(id: number, name: string, signal: AbortSignal): Promise<void> {
    const publishers = publishersOf(this.#publishers, name);
    if (publishers.length === 0) {
      await aborted(signal); // The endpoint is removed.
      return;
    }
    // The first rank that fails ends the others, and all start again.
    const ends = new AbortController();
    const end = () => ends.abort();
    signal.addEventListener('abort', end, { once: true });
    const ranks = publishers.map(async (publisher) => {
      try {
        await this.#followRank(id, publisher, ends.signal);
      } finally {
        end();
      }
    });
    try {
      await Promise.all(ranks);
    } finally {
      signal.removeEventListener('abort', end);
      await Promise.allSettled(ranks);
    }
  }

  /** Applies what one rank publishes. */
  async #followRank(id: number, publisher: Publisher, signal: AbortSignal): Promise<void> {
    let replaying: Task | undefined;
    const subscriber = new this.#zeromq.Subscriber(this.#socketOptions);
    const close = closedBy(signal, subscriber);
    try {
      subscriber.subscribe();
      subscriber.connect(publisher.events);
      for (;;) {
        const frames = await subscriber.receive();
        const first = this.#handle(id, publisher, frames, false);
        if (first !== null) {
          replaying?.cancel();
          const replay = (ends: AbortSignal) => this.#replay(id, publisher, first, ends);
          replaying = this.spawn(`replay of ${publisher.events}`, replay);
        }
      }
    } finally {
      replaying?.cancel();
      close();
    }
  }

  /** Requests the batches from `first` on. The scheduler puts them in order with live ones. */
  async #replay(id: number, publisher: Publisher, first: number, signal: AbortSignal): Promise<void> {
    const { replay: address, rank = 0 } = publisher;
    const abandon = () => this.#scheduler.abandonReplay(id, { rank }).ask;
    let ask: number | null = first;
    while (ask !== null) {
      if (address === undefined || address === null) {
        ask = abandon();
        continue;
      }
      // A new socket for each request: it must not receive the answer to an earlier one.
      const dealer = new this.#zeromq.Dealer(this.#socketOptions);
      const close = closedBy(signal, dealer);
      try {
        dealer.connect(address);
        await dealer.send([EMPTY, replayRequest(ask)]);
        ask = null;
        while (ask === null && this.#scheduler.replayFrom(id, rank) !== null) {
          const receive = () => dealer.receive();
          const got = await limited(receive, this.#replayTimeoutMs, this.sleep, signal);
          if (got === undefined) {
            this.log.warn(`${address}: the replay is abandoned`);
            ask = abandon();
            break;
          }
          ask = this.#handle(id, publisher, got.value, true);
        }
      } finally {
        close();
      }
    }
  }

  /** Applies a message. Returns the first batch of a replay to request, or null. */
  #handle(id: number, publisher: Publisher, frames: Uint8Array[], replay: boolean): number | null {
    try {
      return this.#scheduler.handleKvFrames(id, frames, { replay, rank: publisher.rank ?? 0 }).ask;
    } catch (error) {
      if (!(error instanceof WireError)) {
        throw error;
      }
      // The frames hold no batch.
      this.log.warn(`${publisher.events}: ${error.message}`);
      return null;
    }
  }
}

/** Closes the socket when the signal aborts, or when the function it returns is called. */
function closedBy(signal: AbortSignal, socket: ReceivingSocket): () => void {
  const close = () => {
    signal.removeEventListener('abort', close);
    socket.close();
  };
  if (signal.aborted) {
    close();
  }
  signal.addEventListener('abort', close);
  return close;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
    }
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

const EMPTY = new Uint8Array();
