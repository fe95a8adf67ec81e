/**
 * One file that describes a gateway: pools, models, priorities, limits.
 *
 * ```ts
 * const configuration = new Configuration('endpoints: [http://10.0.0.1:8000]');
 * configuration.pools; // ['default']
 * ```
 */
import { schedulerOfPool } from '../native/index.js';
import type { Config } from './config.js';
import { guarded } from './errors.js';
import { type Data, Machine } from './machine.js';
import { Routing } from './routing.js';

/** One difference between two configurations. */
export interface Change {
  /** The path of the field, such as `pools[llama].scheduler.seed`. */
  readonly path: string;
  /** The value before, as JSON; null if it was a default. */
  readonly before: string | null;
  /** The value after, as JSON; null if it is a default. */
  readonly after: string | null;
}

/** A pool as the native module returns it. */
type FilePool = Omit<PoolConfig, 'healthCheck'> & {
  readonly health_check: PoolConfig['healthCheck'];
};

/** A pool: its scheduler, its endpoints, and the clusters that export it, as files have them. */
export interface PoolConfig {
  readonly scheduler: { readonly [name: string]: Data };
  readonly endpoints: readonly { readonly [name: string]: Data }[];
  /** What counts as load where clusters export the pool. */
  readonly balancing: { readonly [name: string]: Data };
  /** The clusters that export the pool; none if only this gateway serves it. */
  readonly exports: readonly { readonly [name: string]: Data }[];
  /** Seconds of the time-out of its requests; null leaves it to the host. */
  readonly timeout: number | null;
  /** How the host probes the endpoints; null probes none. */
  readonly healthCheck: { readonly [name: string]: Data } | null;
}

type RoutingConfig = { readonly pools: readonly { readonly name: string; readonly models?: readonly Data[] }[] } & { readonly [name: string]: Data };

/** The configuration of a gateway, from YAML or JSON: an own file, Kubernetes kinds, or both. */
export class Configuration {
  readonly #file: { readonly name: string; readonly text: string };
  readonly #machine: Machine;
  readonly #routing: RoutingConfig;

  /**
   * `name` appears in messages. An invalid file is a `TypeError` with one line for each problem.
   */
  constructor(text: string, { name = 'configuration' }: { name?: string } = {}) {
    this.#file = { name, text };
    this.#machine = new Machine('configuration', this.#file);
    this.#routing = this.#machine.call('routing');
  }

  /** The names of the pools. */
  get pools(): string[] {
    return this.#routing.pools.map(({ name }) => name);
  }

  /** @internal The text. */
  get source(): string {
    return this.#file.text;
  }

  /** @internal The names of the pools that list their models. */
  withModels(): Set<string> {
    return new Set(this.#routing.pools.filter(({ models }) => models?.length).map(({ name }) => name));
  }

  /** What the file has and the gateway has no use for. */
  get ignored(): string[] {
    return this.#machine.call('ignored');
  }

  /** API keys, quotas and rate limits; null lets all requests pass. */
  get gates(): { readonly [name: string]: Data } | null {
    return this.#machine.call('gates');
  }

  /** The engines' metrics by the name of their signal. */
  get signals(): { readonly [name: string]: readonly string[] } {
    return this.#machine.call('signals');
  }

  /** The JSON Schema of the own file, for editors. */
  static schema(): string {
    return new Machine('configuration', { name: '', text: '{}' }).call('schema');
  }

  /** The pool of this name; null if there is none. */
  pool(name: string): PoolConfig | null {
    const pool: FilePool | null = this.#machine.call('pool', { pool: name });
    if (pool === null) {
      return null;
    }
    const { health_check: healthCheck, ...others } = pool;
    return { ...others, healthCheck };
  }

  /**
   * What `new Scheduler` takes for the pool of this name, with the defaults. Throws a `ConfigError`
   * if there is none.
   */
  scheduler(name: string): Config {
    return guarded(() => schedulerOfPool(this.#file.text, name)) as Config;
  }

  /** The rules by which requests find their pool. */
  routing(options: { seed?: number | bigint } = {}): Routing {
    return new Routing(this.#routing, options);
  }

  /** What an `Ingress` takes. */
  ingress(): { readonly [name: string]: Data } {
    return { routing: this.#routing, gates: this.gates };
  }

  /** What `Clusters` takes: the pools that clusters export, or only this one. */
  clusters(pool?: string): { readonly [name: string]: Data } {
    return this.#machine.call('clusters', { pool });
  }

  /** The file without defaults. */
  text(): string {
    return this.#machine.call('text');
  }

  /** What differs in `newer`, by path. */
  diff(newer: Configuration): Change[] {
    return this.#machine.call('diff', newer.#file);
  }
}
