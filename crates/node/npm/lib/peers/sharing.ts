/// <reference lib="esnext.disposable" preserve="true" />
/** Sends a scheduler's messages by a transport, and applies those of its peers. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { PeerError } from '../errors.js';
import type { Gates } from '../gates.js';
import type { Ingress } from '../ingress.js';
import type { Scheduler } from '../scheduler.js';
import { warnOnce } from '../warn_once.js';
import { PeerLink, type PeerLinkOptions, type PeersStats } from './link.js';
import type { Transport } from './transport.js';

/** The options of a link, whose name has a default. */
export interface ShareOptions extends Omit<PeerLinkOptions, 'name'> {
  /** This gateway's name. Default: made of the host's name, the process and a random part. */
  name?: string | undefined;
  /** Exchanges the usage of limits with these. Give them to one of several sharings. */
  gates?: Gates | Ingress | undefined;
}

/**
 * Shares what a scheduler has in flight with the other gateways of its pool, until `close`.
 *
 * ```ts
 * const transport = connect('redis://10.0.0.9:6379', { channel: 'llama' });
 * const sharing = await share(scheduler, transport, { key });
 * ```
 */
export async function share(
  scheduler: Scheduler,
  transport: Transport,
  { name, gates, limits = {}, ...options }: ShareOptions,
): Promise<Sharing> {
  const own = name ?? defaultName();
  const messageBytes = Math.min(limits.messageBytes ?? MOST_BYTES, transport.maxMessage);
  const link = new PeerLink(scheduler, { ...options, name: own, limits: { ...limits, messageBytes } });
  const sharing = new Sharing(scheduler, link, transport, own, gates);
  await transport.start((message) => sharing.receive(message));
  sharing.begin();
  return sharing;
}

/** A name for this process among its peers: a start has another one than the last. */
export function defaultName(): string {
  return `${hostname().slice(0, 40)}-${process.pid}-${randomBytes(4).toString('hex')}`;
}

/** A link and its transport, until `close`. */
export class Sharing {
  /** The messages. */
  readonly link: PeerLink;
  /** What carries them. */
  readonly transport: Transport;
  /** This gateway's name among its peers. */
  readonly name: string;
  /** Rejected messages by the code of their `PeerError`. */
  readonly rejections = new Map<string, number>();
  readonly #scheduler: Scheduler;
  readonly #gates: Gates | Ingress | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @internal */
  constructor(
    scheduler: Scheduler, link: PeerLink, transport: Transport, name: string, gates: Gates | Ingress | undefined,
  ) {
    this.#scheduler = scheduler;
    this.#gates = gates;
    this.link = link;
    this.transport = transport;
    this.name = name;
  }

  /** Names of the peers whose claims count. */
  get alive(): string[] {
    return this.link.alive;
  }

  /** Counts of messages. */
  stats(): PeersStats {
    return this.link.stats();
  }

  /** Sends the last changes, and closes the transport. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#send();
    await this.transport.close();
  }

  /** The same, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  begin(): void {
    this.#send();
    // New dispatches are looked for: a scheduler reports none.
    this.#timer = setInterval(() => this.#send(), LOOK_EVERY_MS).unref();
  }

  /** @internal */
  receive(message: Uint8Array): void {
    if (this.#scheduler.closed) {
      return;
    }
    try {
      this.link.applyDelta(message);
      this.#exchangeUsage();
    } catch (error) {
      const code = error instanceof PeerError ? error.code : 'internal';
      this.rejections.set(code, (this.rejections.get(code) ?? 0) + 1);
      warnOnce(`peers.${code}`, `${this.name} rejects a message of a peer: ${String(error)}`);
    }
  }

  #send(): void {
    if (this.#scheduler.closed) {
      clearInterval(this.#timer);
      return;
    }
    this.#exchangeUsage();
    for (let message = this.link.exportDelta(); message !== null; message = this.link.exportDelta()) {
      this.transport.broadcast(message);
    }
  }

  #exchangeUsage(): void {
    if (this.#gates !== undefined) {
      this.link.exchangeUsage(this.#gates);
    }
  }
}

const LOOK_EVERY_MS = 20;
const MOST_BYTES = 2 ** 22;
