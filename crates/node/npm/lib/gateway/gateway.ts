/** The gateway: its parts, and their life from the start to the last answer. */
import { setTimeout as delay } from 'node:timers/promises';
import { LONGEST_TIMER_MS } from '../clock.js';
import type { Configuration } from '../configuration.js';
import { httpGet, type Get } from '../engines/index.js';
import type { GatesConfig } from '../gates.js';
import { Ingress } from '../ingress.js';
import { adminHandlerOf } from './admin.js';
import type { Answer, Incoming } from './answer.js';
import { Following } from './following.js';
import { History } from './history.js';
import { Listener, type Handler } from './listener.js';
import { described } from './log.js';
import { Mirrors } from './mirrors.js';
import { answerTo } from './pages.js';
import { peeringOf, type Peering } from './peering.js';
import { Pools, type Pool } from './pools.js';
import { settingsOf, type Address, type GatewaySettings, type Settings } from './settings.js';
import { Upstream } from './upstream.js';

/**
 * A gateway for the pools of a configuration.
 *
 * It serves from `start` to `stop`, which refuses new requests, waits for those in flight, and
 * closes its connections.
 */
export class Gateway {
  /** @internal */
  readonly settings: Settings;
  /** @internal */
  readonly ingress: Ingress;
  /** @internal How its pools are shared with other gateways. */
  readonly peering: Peering | null;
  /** @internal */
  readonly pools: Pools;
  /** @internal */
  readonly upstream: Upstream;
  /** @internal */
  readonly history: History;
  /** @internal */
  readonly mirrors: Mirrors;
  /** @internal */
  readonly following: Following;
  /** @internal For pages of engines. Its connections are never all in use by requests. */
  readonly get: Get = httpGet();
  /** Answers to requests by their status; pages are not among them. */
  readonly statuses: ReadonlyMap<number, number>;
  /** Requests whose answer has not ended. */
  openRequests = 0;
  /** Whether new requests are refused. */
  stopping = false;
  /** Why the last configuration was not applied. */
  reloadError: string | null = null;
  readonly #statuses = new Map<number, number>();
  #configuration: Configuration;
  #gates: { readonly safety?: GatesConfig } | null;
  #listeners: Listener[] = [];
  #url: string | null = null;
  #adminUrl: string | null = null;
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;
  #idle: (() => void)[] = [];

  /** Throws a `TypeError` if the configuration does not fit the settings. */
  constructor(configuration: Configuration, settings: GatewaySettings = {}) {
    this.settings = settingsOf(settings);
    this.ingress = new Ingress(configuration, { allow: this.settings.allow });
    this.peering = peeringOf(this.settings);
    this.pools = new Pools(configuration, this.peering?.seed);
    const unknown = Object.keys(this.settings.discover).find((pool) => !configuration.pools.includes(pool));
    if (unknown !== undefined) {
      throw new TypeError(
        `no pool is named '${unknown}', whose engines are to be discovered: the pools are `
        + configuration.pools.join(', '),
      );
    }
    this.upstream = new Upstream(this.settings.connectTimeoutMs);
    this.history = new History(this.settings.admin !== null);
    this.mirrors = new Mirrors(this);
    this.following = new Following(this);
    this.statuses = this.#statuses;
    this.#configuration = configuration;
    this.#gates = gatesOf(configuration);
  }

  /** Where clients connect; null before `start`, and without an address. */
  get url(): string | null {
    return this.#url;
  }

  /** The address of the admin page; null if it is not served. */
  get adminUrl(): string | null {
    return this.#adminUrl;
  }

  /** The configuration that is applied. */
  get configuration(): Configuration {
    return this.#configuration;
  }

  /** @internal Whether clients need keys or have limits. */
  get hasGates(): boolean {
    return this.#gates !== null;
  }

  /** @internal The limits of checks: `gates.safety` of the configuration. */
  get safetyConfig(): GatesConfig | undefined {
    return this.#gates?.safety ?? undefined;
  }

  /** Follows the engines, and listens. Rejects if an address cannot be used. */
  start(): Promise<void> {
    return (this.#started ??= this.#start());
  }

  /** @internal The answer to a request. Never rejects. */
  answer(incoming: Incoming): Promise<Answer> {
    return answerTo(this, incoming);
  }

  /**
   * Changes to another configuration. Requests in flight and in the queue stay. Throws for a field
   * that cannot change. Nothing is changed then.
   */
  apply(configuration: Configuration): void {
    // Its errors come first: of the two, only the pools can be put back.
    void new Ingress(configuration, { allow: this.settings.allow });
    this.pools.apply(configuration);
    this.ingress.setConfig(configuration);
    this.#configuration = configuration;
    this.#gates = gatesOf(configuration);
    this.following.sync();
  }

  /** @internal A request has come. */
  opened(): void {
    this.openRequests += 1;
  }

  /** @internal An answer with this status has ended. */
  closed(status: number): void {
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
    this.openRequests -= 1;
    if (this.openRequests === 0) {
      this.#idle.splice(0).forEach((resolve) => resolve());
    }
  }

  /**
   * Refuses new requests, waits for those in flight, and closes all connections. After `drainMs`,
   * the requests that are left are broken off.
   */
  stop(): Promise<void> {
    return (this.#stopped ??= this.#stop());
  }

  /** `stop`, at the end of a block of `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** @internal The models that the first reachable engine of a pool lists. */
  async servedBy(pool: Pool): Promise<string[]> {
    for (const engine of pool.scheduler.endpointNames().values()) {
      try {
        const { status, body } = await this.get(`${engine}/v1/models`, AbortSignal.timeout(MODELS_TIMEOUT));
        if (status !== 200) {
          throw new Error(`status ${status}`);
        }
        const page: { data: { id: unknown }[] } = JSON.parse(Buffer.from(body).toString());
        return page.data.map(({ id }) => String(id));
      } catch (error) {
        this.settings.log('info', `${engine} lists no models: ${described(error)}`);
      }
    }
    return [];
  }

  async #start(): Promise<void> {
    const { address, admin } = this.settings;
    this.following.sync();
    try {
      if (address !== null) {
        this.#url = await this.#listen(address, (incoming) => this.answer(incoming));
      }
      if (admin !== null) {
        // Each process has an admin page of its own.
        this.#adminUrl = `${await this.#listen(admin, adminHandlerOf(this), true)}/`;
      }
      await this.following.started();
    } catch (error) {
      await this.#close();
      throw error;
    }
  }

  async #listen(address: Address, handle: Handler, exclusive = false): Promise<string> {
    const listener = new Listener(address, handle, exclusive);
    const url = await listener.start();
    this.#listeners.push(listener);
    return url;
  }

  async #stop(): Promise<void> {
    if (!this.stopping) {
      this.stopping = true;
      if (this.settings.graceMs > 0) {
        await delay(this.settings.graceMs);
      }
    }
    this.#listeners.forEach((listener) => listener.stopListening());
    if (this.openRequests > 0) {
      await this.#drained();
    }
    if (this.openRequests > 0) {
      this.settings.log('warning', `${this.openRequests} requests are broken off at the stop`);
    }
    await this.#close();
  }

  /** No request is open, or the time is over. */
  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(this.settings.drainMs, LONGEST_TIMER_MS));
      this.#idle.push(() => (clearTimeout(timer), resolve()));
    });
  }

  async #close(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    await this.mirrors.close();
    await this.following.close();
    this.upstream.close();
  }
}

function gatesOf(configuration: Configuration): { readonly safety?: GatesConfig } | null {
  return configuration.gates as { readonly safety?: GatesConfig } | null;
}

/** How long an engine may take to list its models. */
const MODELS_TIMEOUT = 5_000;
