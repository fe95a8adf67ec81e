/** Other gateways of the same pools: what each shares, and what this one shows of them. */
import { connect, seedOf, share, type PeersStats, type Sharing } from '../peers.js';
import { keyOf } from '../peers/unix.js';
import { typeError } from '../errors.js';
import type { Ingress } from '../ingress.js';
import { Scheduler } from '../scheduler.js';
import type { Pool } from './pools.js';
import type { Settings } from './settings.js';

/** The start of a URL of a directory. Its processes have a key of their own. */
export const UNIX = 'unix:';

/** No pool has this name in a cluster. */
const USAGE_CHANNEL = '/usage';

/** The metrics: the name of each, its type, and its value. */
export const METRICS: readonly (readonly [name: string, kind: 'gauge' | 'counter', value: (counts: Counts) => number])[] = [
  ['slotwise_gateway_peers_alive', 'gauge', ({ alive }) => alive],
  ['slotwise_gateway_peers_in_flight', 'gauge', ({ inFlight }) => inFlight],
  ['slotwise_gateway_peers_connected', 'gauge', ({ connected }) => connected],
  ['slotwise_gateway_peer_messages_sent', 'counter', ({ sent }) => sent],
  ['slotwise_gateway_peer_bytes_sent', 'counter', ({ sentBytes }) => sentBytes],
  ['slotwise_gateway_peer_messages_received', 'counter', ({ received }) => received],
  ['slotwise_gateway_peer_bytes_received', 'counter', ({ receivedBytes }) => receivedBytes],
  ['slotwise_gateway_peer_messages_rejected', 'counter', ({ rejected }) => rejected],
  ['slotwise_gateway_peer_messages_dropped', 'counter', ({ dropped }) => dropped],
];

/** What the metrics of one pool count. */
interface Counts extends PeersStats {
  readonly inFlight: number;
  readonly connected: number;
  readonly dropped: number;
}

/** What shares a pool. */
interface Shared {
  readonly pool: Pool;
  readonly sharing: Sharing;
}

/** How the pools of a gateway are shared: one channel for each pool, with its name. */
export class Peering {
  readonly #url: string;
  readonly #key: Uint8Array | string;
  readonly #name: string | undefined;
  readonly #shared = new Map<string, Shared>();

  constructor(url: string, key: Uint8Array | string, name: string | undefined) {
    this.#url = url;
    this.#key = key;
    this.#name = name;
  }

  /** The seed of pools whose configuration has none. */
  get seed(): number {
    return seedOf(this.#key);
  }

  /** Shares a pool until the result is closed. */
  async share(pool: Pool): Promise<{ close(): Promise<void> }> {
    const transport = connect(this.#url, { channel: pool.name });
    const sharing = await share(pool.scheduler, transport, { key: this.#key, name: this.#name });
    const shared = { pool, sharing };
    this.#shared.set(pool.name, shared);
    const close = async () => {
      // A pool of the same name may have come meanwhile.
      if (this.#shared.get(pool.name) === shared) {
        this.#shared.delete(pool.name);
      }
      await sharing.close();
    };
    return { close };
  }

  /**
   * Shares what clients use of their limits, until the result is closed. The channel is no pool's:
   * pools come and go, and usage must not be lost with them.
   */
  async shareUsage(ingress: Ingress): Promise<{ close(): Promise<void> }> {
    const transport = connect(this.#url, { channel: USAGE_CHANNEL });
    const scheduler = new Scheduler({ seed: this.seed });
    return share(scheduler, transport, { key: this.#key, name: this.#name, gates: ingress });
  }

  /** The names of the other gateways of a pool. */
  alive(pool: string): string[] {
    return this.#shared.get(pool)?.sharing.alive ?? [];
  }

  /** What the admin page shows of a pool's gateways; null before it is shared. */
  state(pool: string) {
    const sharing = this.#shared.get(pool)?.sharing;
    if (sharing === undefined) {
      return null;
    }
    const { name, alive, transport, rejections } = sharing;
    const { connected, dropped } = transport;
    return { name, alive, connected, dropped, rejections: Object.fromEntries(rejections) };
  }

  /** What the metrics of a pool count; null before it is shared. */
  counts(pool: string): Counts | null {
    const shared = this.#shared.get(pool);
    return shared === undefined ? null : countsOf(shared);
  }
}

function countsOf({ pool, sharing: { link, transport } }: Shared): Counts {
  let inFlight = 0;
  for (const endpoint of pool.scheduler.endpointNames().keys()) {
    const { prefilling, running } = link.load(endpoint);
    inFlight += prefilling + running;
  }
  return { ...link.stats(), inFlight, connected: Number(transport.connected), dropped: transport.dropped };
}

/** What the settings ask for; null for nothing. Throws a `TypeError` if they are incomplete. */
export function peeringOf({ peers, peersKey, name }: Settings): Peering | null {
  if (peers === null) {
    return null;
  }
  // A URL that cannot be used is reported before the gateway listens, and before a key is made.
  connect(peers);
  const key = peersKey ?? (peers.startsWith(UNIX) ? keyOf(peers.slice(UNIX.length)) : undefined);
  if (key === undefined) {
    throw typeError('gateways that share a server need a key: --peers-key-file FILE');
  }
  return new Peering(peers, key, name);
}
