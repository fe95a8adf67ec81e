/**
 * Messages by a Redis server: one pub/sub channel for each pool.
 *
 * Pub/sub keeps nothing: a message is worth nothing once the next one has come. Needs the package
 * `redis`. Servers with the same protocol, such as Valkey, serve as well.
 */
import type { createClient } from 'redis';
import { Backoff, Outbox, optional, pause, within, type Receive, type Transport } from './transport.js';

type Client = ReturnType<typeof createClient>;

/** The options of a Redis transport. */
export interface RedisTransportOptions {
  /** Gateways with the same channel receive each other's messages. Default: `default`. */
  channel?: string | undefined;
  /** Milliseconds without any message after which a connection counts as lost. Default: 5,000. */
  silentMs?: number | undefined;
}

/** A channel of a Redis server. It has two connections: one publishes, the other is subscribed. */
export class RedisTransport implements Transport {
  /** The largest message in bytes. */
  readonly maxMessage = 2 ** 24;
  readonly #url: string;
  readonly #channel: string;
  readonly #silentMs: number;
  readonly #outbox = new Outbox();
  readonly #stop = new AbortController();
  #publisher: Client | undefined;
  #runs: Promise<void> = Promise.resolve();
  #connected = false;

  /** Connects at `start`. */
  constructor(url: string, { channel = 'default', silentMs = 5_000 }: RedisTransportOptions = {}) {
    this.#url = url;
    this.#channel = `slotwise:peers:${channel}`;
    this.#silentMs = silentMs;
  }

  /** Whether the channel is subscribed, and messages have come lately. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Messages that were not sent. */
  get dropped(): number {
    return this.#outbox.dropped;
  }

  /** Begins to connect. Rejects only if the package is missing. */
  async start(receive: Receive): Promise<void> {
    const { createClient: create } = await optional('redis', () => import('redis'));
    this.#runs = this.#run(create, receive);
  }

  /** Publishes a message, once those before it are. */
  broadcast(message: Uint8Array): void {
    this.#outbox.add(message);
  }

  /** Publishes what waits, while that succeeds at once, and closes the connections. */
  async close(): Promise<void> {
    const publisher = this.#connected ? this.#publisher : undefined;
    try {
      for (let message = this.#outbox.take(); publisher && message; message = this.#outbox.take()) {
        await within(this.#silentMs, 'a publication', publisher.publish(this.#channel, Buffer.from(message)));
      }
    } catch {
      this.#outbox.dropped += 1;
    }
    this.#stop.abort();
    await this.#runs;
  }

  async #run(create: typeof createClient, receive: Receive): Promise<void> {
    const [backoff, { signal }] = [new Backoff(), this.#stop];
    while (!signal.aborted) {
      const clients = [this.#client(create), this.#client(create)] as const;
      try {
        await this.#serve(clients, receive, backoff);
      } catch {
        // Another attempt follows, whatever the reason was.
      }
      this.#connected = false;
      this.#publisher = undefined;
      clients.forEach((client) => client.destroyed || client.destroy());
      await backoff.wait(signal);
    }
  }

  /** Publishes and receives until the connection is lost. */
  async #serve([publisher, subscriber]: readonly [Wrapped, Wrapped], receive: Receive, backoff: Backoff): Promise<void> {
    const signal = AbortSignal.any([this.#stop.signal, publisher.lost, subscriber.lost]);
    let heard = performance.now();
    await within(this.#silentMs, 'a connection', Promise.all([publisher.client.connect(), subscriber.client.connect()]));
    const take = (message: Buffer): void => {
      heard = performance.now();
      receive(message);
    };
    await within(this.#silentMs, 'a subscription', subscriber.client.subscribe(this.#channel, take, true));
    this.#publisher = publisher.client;
    this.#connected = true;
    backoff.reset();
    // A gateway receives its own messages too, at least one a second.
    const watch = async (): Promise<void> => {
      while (!signal.aborted && performance.now() - heard < this.#silentMs) {
        await pause(this.#silentMs / 5, signal);
      }
    };
    const publish = async (): Promise<void> => {
      for (let message = await this.#outbox.next(signal); message; message = await this.#outbox.next(signal)) {
        try {
          await within(this.#silentMs, 'a publication', publisher.client.publish(this.#channel, Buffer.from(message)));
        } catch (error) {
          this.#outbox.dropped += 1;
          throw error;
        }
      }
    };
    await Promise.race([watch(), publish()]);
  }

  #client(create: typeof createClient): Wrapped {
    // Attempts have a backoff of their own here, and a command never waits for a connection.
    const socket = { reconnectStrategy: false, connectTimeout: this.#silentMs } as const;
    const client = create({ url: this.#url, socket, disableOfflineQueue: true });
    return new Wrapped(client as Client);
  }
}

/** A client, and the signal that its connection is lost. */
class Wrapped {
  readonly client: Client;
  readonly #lost = new AbortController();
  destroyed = false;

  constructor(client: Client) {
    this.client = client;
    // Without a listener, an error would end the process.
    client.on('error', () => this.#lost.abort());
    client.on('end', () => this.#lost.abort());
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  destroy(): void {
    this.destroyed = true;
    try {
      this.client.destroy();
    } catch {
      // It was closed already.
    }
  }
}
