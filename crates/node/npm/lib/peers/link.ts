/** A scheduler's messages to and from the other gateways of its pool, without I/O. */
import { NativePeerLink, seedOfPeers, type PeerLoad, type PeersStats } from '../../native/index.js';
import { guarded, typeError } from '../errors.js';
import { Gates } from '../gates.js';
import { Ingress } from '../ingress.js';
import { stringify } from '../machine.js';
import { readWire } from '../prompt.js';
import type { Scheduler } from '../scheduler.js';
import { checkEndpointId, describe, number, optionalNumber, readObject, string, type SchemaOf } from '../validate.js';

export type { PeerLoad, PeersStats } from '../../native/index.js';

/** What one peer may claim, and what a message may contain. Claims beyond are cut. */
export interface PeerLimits {
  /** Bytes of a message, sent or received. Default: 4 MiB. */
  messageBytes?: number | undefined;
  /** Peers that are remembered. Default: 256. */
  peers?: number | undefined;
  /** Endpoints of one peer that are remembered. Default: 65,536. */
  endpoints?: number | undefined;
  /** Requests of one peer on one endpoint. Default: 4,096. */
  requests?: number | undefined;
  /** Tokens of one peer on one endpoint. Default: 100,000,000. */
  kvTokens?: number | undefined;
  /** Predicted prefill of one peer on one endpoint, in milliseconds. Default: 120,000. */
  bookedMs?: number | undefined;
  /** The longest backoff that is taken over from a peer, in milliseconds. Default: 30,000. */
  backoffMs?: number | undefined;
  /** Prompt blocks of one peer in a second, on average over eight seconds. Default: 65,536. */
  blocksPerSecond?: number | undefined;
  /** Prompt blocks that are sent in a second, likewise; 8 bytes each. Default: 5,120. */
  sentBlocksPerSecond?: number | undefined;
  /** Seconds of service of one peer's flows in a second, likewise. Default: 1,024. */
  servicePerSecond?: number | undefined;
  /** Prompts of which only new blocks are sent; in blocks. Default: 2^20. */
  knownBlocks?: number | undefined;
  /** Counters of one peer that are remembered. Default: 4,096. */
  counters?: number | undefined;
  /** Limits of API keys, in their steps, whose use is sent, or known of a peer. Default: 16,384. */
  usage?: number | undefined;
  /** Sent bytes that are kept for peers that have lost a message. Default: 256 KiB. */
  repairBytes?: number | undefined;
}

/** What a link needs to know. */
export interface PeerLinkOptions {
  /** This gateway's name, unique among its peers; at most 64 bytes. */
  name: string;
  /** The secret that the gateways share; at least 16 bytes. */
  key: Uint8Array | string;
  /** A number larger than at the last start. Default: the time in microseconds. */
  incarnation?: number | undefined;
  /** The mean time between two messages while loads change. Default: 200. */
  intervalMs?: number | undefined;
  /** Messages about new dispatches that may go ahead of that time. Default: 8. */
  burst?: number | undefined;
  /** The time between two messages while nothing changes. Default: 1,000. */
  heartbeatMs?: number | undefined;
  /** How long the load of a silent peer still counts. Default: 3,000. */
  silenceMs?: number | undefined;
  /** What a peer may claim. */
  limits?: PeerLimits | undefined;
}

/** What a message was: news, a sign of life, known before, outdated, or this gateway's own. */
export type Applied = 'new' | 'beacon' | 'repeated' | 'old' | 'own';

/**
 * A scheduler's messages to and from the other gateways of its pool.
 *
 * After each input of the scheduler, and at `nextTimeout`, call `exportDelta` until it returns
 * null, and send each message to all peers. A scheduler has at most one link.
 *
 * `now` is in milliseconds on the scheduler's clock, and defaults to it.
 */
export class PeerLink {
  readonly #scheduler: Scheduler;
  readonly #native: NativePeerLink;

  /** Throws a `ConfigError` for a value that cannot be used. */
  constructor(scheduler: Scheduler, options: PeerLinkOptions) {
    const { name, key, incarnation = Date.now() * 1_000, burst, limits, ...times } = options;
    const config = {
      name: string('name', name),
      ...seconds(readObject<Times>('options', TIMES, times)),
      ...(burst === undefined ? {} : { burst: number('burst', burst) }),
      limits: seconds(readObject<PeerLimits>('limits', LIMITS, limits ?? {})),
    };
    const bytes = keyBytes(key);
    const start = number('incarnation', incarnation);
    this.#scheduler = scheduler;
    this.#native = guarded(() =>
      new NativePeerLink(scheduler.native, stringify(config), bytes, start));
  }

  /** The next message for all peers, if one is due. Call it until it returns null. */
  exportDelta(now?: number): Uint8Array | null {
    const at = this.#at(now);
    const message = guarded(() => this.#native.exportDelta(this.#scheduler.native, at));
    this.#scheduler.wakeAt(at);
    return message;
  }

  /** Applies a message of a peer. Throws a `PeerError` if it cannot be trusted or read. */
  applyDelta(message: Uint8Array, now?: number): Applied {
    const [at, bytes] = [this.#at(now), readWire('message', message)];
    const applied = guarded(() => this.#native.applyDelta(this.#scheduler.native, at, bytes));
    this.#scheduler.wakeAt(at);
    return applied as Applied;
  }

  /**
   * Counts in the gates what peers have used of their limits, and the reverse. Call it before
   * `exportDelta` and after `applyDelta`. It has an effect if the configuration of the gates has
   * `shared: true`. Of several links, one exchanges the usage of a gateway's gates. All times are
   * those of one clock.
   */
  exchangeUsage(gates: Gates | Ingress, now?: number): void {
    const at = this.#at(now);
    if (gates instanceof Ingress) {
      guarded(() => this.#native.exchangeUsageOf(gates.native, at));
    } else if (gates instanceof Gates) {
      guarded(() => this.#native.exchangeUsage(gates.machine.native, at));
    } else {
      throw typeError(`gates must be Gates or an Ingress, got ${describe(gates)}`);
    }
  }

  /** When to call `exportDelta` again, unless something happens before. */
  nextTimeout(now?: number): number | null {
    const at = this.#at(now);
    return guarded(() => this.#native.nextTimeout(this.#scheduler.native, at));
  }

  /** What all living peers have in flight on an endpoint. */
  load(endpointId: number, now?: number): PeerLoad {
    const [at, id] = [this.#at(now), checkEndpointId('endpointId', endpointId)];
    return guarded(() => this.#native.load(this.#scheduler.native, at, id));
  }

  /** Names of the peers whose claims count. */
  get alive(): string[] {
    return this.#native.alive;
  }

  /** Whether all messages of these peers have arrived, as far as is known. */
  get isComplete(): boolean {
    return this.#native.isComplete;
  }

  /** Metrics of the link as OpenMetrics text: peers, messages, bytes, and what is held. */
  metricsText(now?: number): string {
    const at = this.#at(now);
    return guarded(() => this.#native.metricsText(at));
  }

  /** Counts of messages. */
  stats(): PeersStats {
    return this.#native.stats();
  }

  #at(now: number | undefined): number {
    return optionalNumber('now', now) ?? this.#scheduler.clock();
  }
}

/**
 * The seed for the schedulers of all gateways with this key. Hashes of prompts and endpoints can
 * only be compared between schedulers of one seed.
 */
export function seedOf(key: Uint8Array | string): number {
  const bytes = keyBytes(key);
  return guarded(() => seedOfPeers(bytes));
}

function keyBytes(key: unknown): Uint8Array {
  if (typeof key !== 'string' && !(key instanceof Uint8Array)) {
    throw typeError(`key must be a Uint8Array or a string, got ${describe(key)}`);
  }
  return typeof key === 'string' ? Buffer.from(key) : readWire('key', key);
}

type Times = Pick<PeerLinkOptions, 'intervalMs' | 'heartbeatMs' | 'silenceMs'>;

const TIMES = {
  intervalMs: 'number',
  heartbeatMs: 'number',
  silenceMs: 'number',
} satisfies SchemaOf<Times>;

const LIMITS = {
  messageBytes: 'number',
  peers: 'number',
  endpoints: 'number',
  requests: 'number',
  kvTokens: 'number',
  bookedMs: 'number',
  backoffMs: 'number',
  blocksPerSecond: 'number',
  sentBlocksPerSecond: 'number',
  servicePerSecond: 'number',
  knownBlocks: 'number',
  counters: 'number',
  usage: 'number',
  repairBytes: 'number',
} satisfies SchemaOf<PeerLimits>;

/** The same with times in seconds, as configurations have them, and names without their unit. */
function seconds(given: object): { [name: string]: number } {
  const entries = Object.entries(given as { [name: string]: number }).map(([name, value]) =>
    name.endsWith('Ms') ? [name.slice(0, -2), value / 1_000] : [snakeCase(name), value]);
  return Object.fromEntries(entries);
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
