/**
 * Several gateways, one fleet: what each has in flight and has sent where, for all others.
 *
 * ```ts
 * const scheduler = new Scheduler({ seed: seedOf(key) });
 * const transport = connect('unix:/run/slotwise', { channel: 'llama' });
 * const sharing = await share(scheduler, transport, { key });
 * ```
 *
 * All gateways of a pool need the same key, and schedulers with the same seed. The chapter "Several
 * gateways" of the manual lists what is lost while a transport has no connection.
 */
import { typeError } from './errors.js';
import { NatsTransport } from './peers/nats.js';
import { RedisTransport } from './peers/redis.js';
import type { Transport } from './peers/transport.js';
import { UnixTransport } from './peers/unix.js';
import { string } from './validate.js';

export { PeerError } from './errors.js';
export {
  PeerLink,
  seedOf,
  type Applied,
  type PeerLimits,
  type PeerLinkOptions,
  type PeerLoad,
  type PeersStats,
} from './peers/link.js';
export { Sharing, share, type ShareOptions } from './peers/sharing.js';
export type { Receive, Transport } from './peers/transport.js';

/** The options of `connect`. */
export interface ConnectOptions {
  /** Gateways with the same channel receive each other's messages: use the pool's name. */
  channel?: string | undefined;
}

/**
 * The transport for a URL, not connected yet: `redis://[[user]:password@]host[:port]` or
 * `rediss://...`, `nats://[user:password@]host[:port][,...]` or `tls://...`, or `unix:DIRECTORY`.
 * Throws a `TypeError` for another URL.
 */
export function connect(url: string, { channel = 'default' }: ConnectOptions = {}): Transport {
  const [, scheme = '', rest = ''] = /^(\w+):(.*)$/s.exec(string('url', url)) ?? [];
  if (string('channel', channel) === '') {
    throw typeError('channel must not be empty');
  }
  if (scheme === 'unix' && rest !== '') {
    return new UnixTransport(rest, { channel });
  }
  if (rest.startsWith('//') && rest.length > 2) {
    if (scheme === 'redis' || scheme === 'rediss') {
      return new RedisTransport(url, { channel });
    }
    if (scheme === 'nats' || scheme === 'tls') {
      return new NatsTransport(url, { channel });
    }
  }
  const shown = url.replace(/\/\/.*@/s, '//');
  throw typeError(`'${shown}' must be redis://HOST:PORT, nats://HOST:PORT or unix:DIRECTORY`);
}
