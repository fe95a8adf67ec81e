/** The pools of a configuration: one scheduler each, changed while they serve. */
import type { Configuration } from '../configuration.js';
import { typeError } from '../errors.js';
import type { Data } from '../machine.js';
import type { Ask, ExchangeOptions, Reply } from '../engine_answer.js';
import { serve } from '../serve.js';
import type { HttpRequest } from '../request.js';
import { Scheduler } from '../scheduler.js';

/** A pool that requests may be routed to. */
export class Pool {
  readonly name: string;
  readonly scheduler: Scheduler;
  /** How its endpoints are probed; null probes none. */
  healthCheck: { readonly [name: string]: Data } | null;

  constructor(name: string, configuration: Configuration, seed: number | undefined) {
    this.name = name;
    const config = configuration.scheduler(name);
    // Without any seed, the scheduler draws one. The next configuration without a seed keeps it.
    this.scheduler = new Scheduler(config.seed ? config : { ...config, seed });
    this.scheduler.apply(configuration, name);
    this.healthCheck = configuration.pool(name)?.healthCheck ?? null;
  }

  /** Serves a request by the pool's endpoints. */
  exchange(ask: Ask, request: HttpRequest, options: ExchangeOptions): Promise<Reply> {
    return serve(this.scheduler, ask, request, options);
  }

  /** Whether no request waits or is in flight. */
  get isIdle(): boolean {
    return this.scheduler.queued === 0 && this.scheduler.stats().inFlight === 0;
  }
}

/** The pools by their names. */
export class Pools {
  #configuration: Configuration;
  readonly #pools = new Map<string, Pool>();
  #leaving: Pool[] = [];
  readonly #seed: number | undefined;

  /** The seed is that of pools whose configuration has none; without it, each draws one. */
  constructor(configuration: Configuration, seed?: number) {
    checkUrls(configuration);
    this.#configuration = configuration;
    this.#seed = seed;
    for (const name of configuration.pools) {
      this.#pools.set(name, new Pool(name, configuration, seed));
    }
  }

  /** The pool of this name. */
  get(name: string): Pool {
    const pool = this.#pools.get(name);
    if (pool === undefined) {
      throw typeError(`there is no pool ${name}`);
    }
    return pool;
  }

  /** The pools of the configuration, and those that still serve their last requests. */
  *[Symbol.iterator](): IterableIterator<Pool> {
    yield* this.#pools.values();
    yield* this.#leaving;
  }

  /** Whether any endpoint accepts requests. */
  get ready(): boolean {
    return [...this.#pools.values()].some((pool) => pool.scheduler.acceptingEndpoints > 0);
  }

  /** The pools that list no models, and so serve any. */
  withoutModels(): Pool[] {
    const listed = this.#configuration.withModels();
    return [...this.#pools.values()].filter(({ name }) => !listed.has(name));
  }

  /**
   * Changes the pools to those of another configuration. Requests keep the pool that they have.
   * Throws for a field that cannot change; the pools are as before then.
   */
  apply(configuration: Configuration): void {
    checkUrls(configuration);
    const added = configuration.pools
      .filter((name) => !this.#pools.has(name))
      .map((name) => new Pool(name, configuration, this.#seed));
    const kept = configuration.pools.flatMap((name) => this.#pools.get(name) ?? []);
    const changed: Pool[] = [];
    try {
      for (const pool of kept) {
        changed.push(pool);
        pool.scheduler.apply(configuration, pool.name);
      }
    } catch (error) {
      changed.forEach((pool) => pool.scheduler.apply(this.#configuration, pool.name));
      throw error;
    }
    kept.forEach((pool) => (pool.healthCheck = configuration.pool(pool.name)?.healthCheck ?? null));
    const names = new Set(configuration.pools);
    for (const [name, pool] of this.#pools) {
      if (!names.has(name)) {
        this.#pools.delete(name);
        this.#leaving.push(pool);
      }
    }
    added.forEach((pool) => this.#pools.set(pool.name, pool));
    this.#configuration = configuration;
  }

  /** Forgets pools and endpoints that have left the configuration and serve no request. */
  removeIdle(): void {
    this.#leaving = this.#leaving.filter((pool) => !pool.isIdle);
    for (const pool of this) {
      pool.scheduler.removeIdle();
    }
  }
}

/** Requests go to the names of endpoints. Throws a `TypeError` if one is no URL. */
function checkUrls(configuration: Configuration): void {
  for (const pool of configuration.pools) {
    for (const { name } of configuration.pool(pool)?.endpoints ?? []) {
      if (!/^https?:\/\/[^/?#]+/i.test(String(name)) || !URL.canParse(String(name))) {
        throw typeError(
          `the endpoint '${String(name)}' of the pool '${pool}' must be a URL, such as http://10.0.0.1:8000`,
        );
      }
    }
  }
}
