/** Keeps a pool in step with a list of engines. See `discover`. */
import type { Endpoint } from '../config.js';
import type { Endpoints } from '../endpoints.js';
import { EndpointError, UnknownEndpointError } from '../errors.js';
import { checkFields, type FieldsOf } from '../validate.js';
import { Background, checkAboveZero, type BackgroundOptions, type Task } from './background.js';
import { drain } from './draining.js';
import { ofList, type Source } from './sources.js';

/** How engines are discovered. */
export interface DiscoverOptions extends BackgroundOptions {
  /** Milliseconds between two reads of the source. Default: 5,000. */
  intervalMs?: number | undefined;
  /** Milliseconds that an engine which is no longer listed may drain. Default: 30,000. */
  drainTimeoutMs?: number | null | undefined;
  /** The description of an engine, from its URL. Default: its first metrics page provides it. */
  describe?: ((url: string) => Endpoint) | undefined;
}

const OPTIONS = {
  intervalMs: true,
  drainTimeoutMs: true,
  describe: true,
  log: true,
  sleep: true,
} satisfies FieldsOf<DiscoverOptions>;

/**
 * Adds the engines that the `source` lists, and removes those that it no longer lists.
 *
 * The source is a collection of URLs, or `ofFile`, `ofDns` or `ofSrv`. It is read before the
 * promise resolves, and again after each `intervalMs`. While it cannot be read, the pool stays as
 * it is. An engine that is no longer listed drains for up to `drainTimeoutMs`; if it is listed
 * again meanwhile, it resumes.
 *
 * Endpoints that other code has added are left alone. They stay in the pool after `close`, as do
 * all others.
 */
export async function discover(
  scheduler: Endpoints,
  source: Source | Iterable<string>,
  options: DiscoverOptions = {},
): Promise<Discovery> {
  checkFields('options', OPTIONS, options);
  const listed = typeof source === 'function' ? source : ofList(source);
  const discovery = new Discovery(scheduler, listed, options);
  await discovery.look();
  return discovery;
}

/** The engines of a source, in the background. */
export class Discovery extends Background {
  readonly #scheduler: Endpoints;
  readonly #source: Source;
  readonly #drainTimeoutMs: number | null;
  readonly #describe: (url: string) => Endpoint;
  readonly #draining = new Map<string, Task>();
  /** The ids of the listed engines, by URL. */
  readonly endpoints = new Map<string, number>();
  /** Why the source could not be read, if the last attempt failed. */
  error: unknown;

  /** @internal */
  constructor(scheduler: Endpoints, source: Source, options: DiscoverOptions) {
    const { intervalMs = 5_000, drainTimeoutMs = 30_000 } = options;
    checkAboveZero({ intervalMs });
    super(options);
    this.#scheduler = scheduler;
    this.#source = source;
    this.#drainTimeoutMs = drainTimeoutMs;
    this.#describe = options.describe ?? ((name) => ({ name }));
    this.spawn('Discovery', async (signal) => {
      for (;;) {
        await this.sleep(intervalMs, signal);
        await this.look();
      }
    });
  }

  /** Reads the source now. Errors are logged. */
  async look(): Promise<void> {
    let listed: Set<string>;
    try {
      listed = new Set(await this.#source());
    } catch (error) {
      if (this.error === undefined) {
        this.log.warn(`the engines cannot be listed, and stay as they are: ${String(error)}`);
      }
      this.error = error ?? new Error('the source has failed');
      return;
    }
    this.error = undefined;
    for (const [url, id] of [...this.endpoints]) {
      if (!listed.has(url)) {
        this.log.info(`${url} is no longer listed`);
        this.endpoints.delete(url);
        this.#draining.set(url, this.spawn(`drain of ${url}`, (signal) => this.#leave(url, id, signal)));
      }
    }
    for (const url of listed) {
      if (!this.endpoints.has(url)) {
        this.#enter(url);
      }
    }
  }

  /** Adds an engine, or resumes it if it has not left yet. */
  #enter(url: string): void {
    const id = this.#scheduler.endpointNamed(url);
    const draining = this.#draining.get(url);
    this.#draining.delete(url);
    draining?.cancel();
    try {
      if (id === null) {
        this.endpoints.set(url, this.#scheduler.addEndpoint(this.#describe(url)));
        this.log.info(`${url} is added`);
      } else if (draining !== undefined) {
        this.#scheduler.resumeEndpoint(id);
        this.endpoints.set(url, id);
        this.log.info(`${url} is listed again`);
      }
    } catch (error) {
      if (!(error instanceof EndpointError)) {
        throw error;
      }
      this.log.error(`${url} is not added`, error);
    }
  }

  async #leave(url: string, id: number, signal: AbortSignal): Promise<void> {
    const { log, sleep } = this;
    try {
      await drain(this.#scheduler, id, { timeoutMs: this.#drainTimeoutMs, signal, log, sleep });
    } catch (error) {
      // Other code may have removed it.
      if (!(error instanceof UnknownEndpointError)) {
        throw error;
      }
    }
    this.#draining.delete(url);
  }
}
