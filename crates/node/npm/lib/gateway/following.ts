/**
 * Follows the engines of all pools by `slotwise/engines`: metrics pages, the health checks that a
 * pool configures, KV events if the settings have their ports, the sources that list a pool's
 * engines, and messages to other gateways.
 */
import * as engines from '../engines/index.js';
import type { Gateway } from './gateway.js';
import { described } from './log.js';
import type { Pool } from './pools.js';

/** Milliseconds between two looks for pools and endpoints that have left. */
const TIDY_EVERY = 1_000;

/** The name and the key of the work for all pools. */
const USAGE = 'usage of limits';

/** Work that goes on until it is closed. */
interface Follower {
  close(): Promise<void>;
}

type Start = () => Follower | Promise<Follower>;

/** Work for one pool, or for all, which runs or starts. */
interface Work {
  readonly pool: Pool | null;
  /** Differs from that of work with other settings. */
  readonly name: string;
  readonly started: Promise<Follower | undefined>;
}

/** The work beside the requests, for each pool and kind of work. */
export class Following {
  readonly #gateway: Gateway;
  readonly #works = new Map<string, Work>();
  /** Why work of the first start could not start. */
  #failure: unknown;
  #tidying: NodeJS.Timeout | undefined;
  #numbers = new WeakMap<Pool, number>();
  #count = 0;

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
  }

  /**
   * Does the work of the pools that exist now, as they are configured now, and no other. Work that
   * stays goes on: a pool whose health check changes loses no KV event.
   */
  sync(): void {
    const wanted = new Map<string, { pool: Pool | null; name: string; start: Start }>();
    for (const pool of this.#gateway.pools) {
      for (const [name, start] of this.#worksOf(pool)) {
        wanted.set(`${this.#numberOf(pool)} ${name}`, { pool, name, start });
      }
    }
    const { peering, ingress } = this.#gateway;
    if (peering !== null && this.#sharesUsage()) {
      wanted.set(USAGE, { pool: null, name: USAGE, start: () => peering.shareUsage(ingress) });
    }
    for (const [key, work] of this.#works) {
      if (!wanted.has(key)) {
        this.#works.delete(key);
        void end(work);
      }
    }
    for (const [key, { pool, name, start }] of wanted) {
      if (!this.#works.has(key)) {
        this.#works.set(key, { pool, name, started: this.#start(pool, name, start) });
      }
    }
    this.#tidying ??= setInterval(() => this.#tidy(), TIDY_EVERY).unref();
  }

  /** All work has started. Rejects if some cannot, as without a package that it needs. */
  async started(): Promise<void> {
    await Promise.all(Array.from(this.#works.values(), ({ started }) => started));
    if (this.#failure !== undefined) {
      throw this.#failure;
    }
  }

  /** What runs now, by pool. */
  works(): string[] {
    return Array.from(this.#works.values(), ({ pool, name }) => `${nameOf(pool)}: ${name}`).sort();
  }

  /** Follows no engine any more. */
  async close(): Promise<void> {
    clearInterval(this.#tidying);
    const works = [...this.#works.values()];
    this.#works.clear();
    await Promise.all(works.map(end));
  }

  #sharesUsage(): boolean {
    // Once begun, it goes on: a new link would get the gateway's own usage from its peers.
    return this.#gateway.configuration.gates?.['shared'] === true || this.#works.has(USAGE);
  }

  async #start(pool: Pool | null, name: string, start: Start): Promise<Follower | undefined> {
    try {
      return await start();
    } catch (error) {
      this.#failure ??= error;
      this.#gateway.settings.log('error', `${nameOf(pool)} has no ${name}: ${described(error)}`);
      return undefined;
    }
  }

  #tidy(): void {
    this.#gateway.pools.removeIdle();
    this.sync();
  }

  #numberOf(pool: Pool): number {
    const number = this.#numbers.get(pool) ?? (this.#count += 1);
    this.#numbers.set(pool, number);
    return number;
  }

  /** What starts the work for a pool, by its name. */
  #worksOf(pool: Pool): Map<string, Start> {
    const { settings, get, peering } = this.#gateway;
    const { scheduler, healthCheck } = pool;
    const log: engines.Log = {
      info: (message) => settings.log('info', message),
      warn: (message) => settings.log('warning', message),
      error: (message, error) => settings.log('error', `${message}: ${described(error)}`),
    };
    const works = new Map<string, Start>([
      ['metrics pages', () => engines.scrape(scheduler, get, { intervalMs: settings.scrapeEveryMs, log })],
    ]);
    if (healthCheck !== null) {
      const start = () => engines.probe(scheduler, get, healthCheck, { log });
      works.set(`health checks ${JSON.stringify(healthCheck)}`, start);
    }
    if (settings.kvEvents !== undefined) {
      const publishers = engines.publishersOn(...settings.kvEvents);
      works.set('KV events', () => engines.subscribe(scheduler, publishers, { log }));
    }
    const source = settings.discover[pool.name];
    if (source !== undefined) {
      const options = { intervalMs: settings.discoverEveryMs, log };
      works.set('discovery', () => engines.discover(scheduler, source, options));
    }
    if (peering !== null) {
      works.set('peers', () => peering.share(pool));
    }
    return works;
  }
}

function nameOf(pool: Pool | null): string {
  return pool === null ? 'the gateway' : pool.name;
}

/** Ends work, also if it has not started. */
async function end({ started }: Work): Promise<void> {
  await (await started)?.close();
}
