/** Other gateways of the same pools: what each shares, and what this one shows of them. */
import { connect, seedOf, share, type Sharing } from '../peers.js';
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

/** How the pools of a gateway are shared: one channel for each pool, with its name. */
export class Peering {
  readonly #url: string;
  readonly #key: Uint8Array | string;
  readonly #name: string | undefined;
  readonly #shared = new Map<string, Sharing>();
  #usage: Sharing | undefined;

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
    this.#shared.set(pool.name, sharing);
    const close = async () => {
      // A pool of the same name may have come meanwhile.
      if (this.#shared.get(pool.name) === sharing) {
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
    this.#usage = await share(scheduler, transport, { key: this.#key, name: this.#name, gates: ingress });
    return this.#usage;
  }

  /** The names of the other gateways of a pool. */
  alive(pool: string): string[] {
    return this.#shared.get(pool)?.alive ?? [];
  }

  /** What the admin page shows of a pool's gateways; null before it is shared. */
  state(pool: string) {
    const sharing = this.#shared.get(pool);
    if (sharing === undefined) {
      return null;
    }
    const { name, alive, transport, rejections } = sharing;
    const { connected, dropped } = transport;
    return { name, alive, connected, dropped, rejections: Object.fromEntries(rejections) };
  }

  /** The metrics of a link as OpenMetrics text, by its channel: of each pool, and of the usage. */
  pages(pools: Iterable<string>): [channel: string, text: string][] {
    return [...pools, USAGE_CHANNEL].flatMap((channel) => {
      const sharing = channel === USAGE_CHANNEL ? this.#usage : this.#shared.get(channel);
      return sharing === undefined ? [] : textsOf(sharing).map((text): [string, string] => [channel, text]);
    });
  }
}

function textsOf({ link, transport }: Sharing): string[] {
  return [link.metricsText(), `\
# TYPE slotwise_gateway_peers_connected gauge
# HELP slotwise_gateway_peers_connected Whether messages can be sent and received.
slotwise_gateway_peers_connected ${Number(transport.connected)}
# TYPE slotwise_gateway_peer_messages_dropped counter
# HELP slotwise_gateway_peer_messages_dropped Messages that made room for newer ones.
slotwise_gateway_peer_messages_dropped_total ${transport.dropped}
`];
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
