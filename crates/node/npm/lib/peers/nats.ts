/**
 * Messages by a NATS server: one subject for each pool, without JetStream. Needs the package
 * `@nats-io/transport-node`.
 */
import type { NatsConnection, connect as connectTo } from '@nats-io/transport-node';
import { Backoff, Outbox, optional, within, type Receive, type Transport } from './transport.js';

/** The options of a NATS transport. */
export interface NatsTransportOptions {
  /** Gateways with the same channel receive each other's messages. Default: `default`. */
  channel?: string | undefined;
  /** Milliseconds without an answer to pings after which a connection is lost. Default: 5,000. */
  silentMs?: number | undefined;
}

/** A subject of NATS servers, which are listed with commas. */
export class NatsTransport implements Transport {
  /** The largest message in bytes: what a server accepts by default. */
  readonly maxMessage = 2 ** 20;
  readonly #servers: string[];
  readonly #login: { user?: string; pass?: string };
  readonly #subject: string;
  readonly #silentMs: number;
  readonly #outbox = new Outbox();
  readonly #stop = new AbortController();
  #connection: NatsConnection | undefined;
  #runs: Promise<void> = Promise.resolve();

  /** Connects at `start`. */
  constructor(url: string, { channel = 'default', silentMs = 5_000 }: NatsTransportOptions = {}) {
    const urls = url.split(',').map((one) => new URL(one));
    this.#servers = urls.map(({ protocol, host }) => `${protocol}//${host}`);
    const { username = '', password = '' } = urls[0] ?? {};
    this.#login = username === '' ? {} : { user: decodeURIComponent(username), pass: decodeURIComponent(password) };
    this.#subject = subjectOf(channel);
    this.#silentMs = silentMs;
  }

  /** Whether there is a connection that answers pings. */
  get connected(): boolean {
    return this.#connection !== undefined && !this.#connection.isClosed();
  }

  /** Messages that were not sent. */
  get dropped(): number {
    return this.#outbox.dropped;
  }

  /** Begins to connect. Rejects only if the package is missing. */
  async start(receive: Receive): Promise<void> {
    const load = (): Promise<typeof import('@nats-io/transport-node')> => import('@nats-io/transport-node');
    const { connect } = await optional('@nats-io/transport-node', load);
    this.#runs = this.#run(connect, receive);
  }

  /** Publishes a message, once those before it are. */
  broadcast(message: Uint8Array): void {
    this.#outbox.add(message);
  }

  /** Publishes what waits, while that succeeds at once, and closes the connection. */
  async close(): Promise<void> {
    const connection = this.#connection;
    try {
      for (let message = this.#outbox.take(); connection && message; message = this.#outbox.take()) {
        connection.publish(this.#subject, message);
      }
      await within(this.#silentMs, 'a flush', connection?.flush() ?? Promise.resolve());
    } catch {
      this.#outbox.dropped += 1;
    }
    this.#stop.abort();
    await this.#runs;
  }

  async #run(connect: typeof connectTo, receive: Receive): Promise<void> {
    const [backoff, { signal }] = [new Backoff(), this.#stop];
    while (!signal.aborted) {
      let connection: NatsConnection | undefined;
      try {
        connection = await connect({
          servers: this.#servers,
          ...this.#login,
          reconnect: false,
          noEcho: true,
          timeout: this.#silentMs,
          pingInterval: Math.ceil(this.#silentMs / 2),
          maxPingOut: 1,
        });
        await this.#serve(connection, receive, backoff);
      } catch {
        // Another attempt follows, whatever the reason was.
      }
      this.#connection = undefined;
      try {
        await within(this.#silentMs, 'a close', connection?.close() ?? Promise.resolve());
      } catch {
        // It was closed already.
      }
      await backoff.wait(signal);
    }
  }

  /** Publishes and receives until the connection is lost. */
  async #serve(connection: NatsConnection, receive: Receive, backoff: Backoff): Promise<void> {
    const lost = new AbortController();
    void connection.closed().then(() => lost.abort());
    const signal = AbortSignal.any([this.#stop.signal, lost.signal]);
    connection.subscribe(this.#subject, {
      callback: (error, message) => {
        if (error === null) {
          receive(message.data);
        }
      },
    });
    this.#connection = connection;
    backoff.reset();
    for (let message = await this.#outbox.next(signal); message; message = await this.#outbox.next(signal)) {
      connection.publish(this.#subject, message);
      // Slow connections are waited for: the outbox is bounded, and the client's buffer is not.
      await within(this.#silentMs, 'a publication', Promise.race([connection.flush(), connection.closed()]));
    }
  }
}

/** The subject of a channel, in which the bytes of other signs are `=` and their number. */
function subjectOf(channel: string): string {
  const encoded = [...Buffer.from(channel)].map((byte) => {
    const sign = String.fromCharCode(byte);
    return /[A-Za-z0-9_-]/.test(sign) ? sign : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  });
  return `slotwise.peers.${encoded.join('')}`;
}
