/** Reads the metrics pages of all endpoints. See `scrape`. */
import type { Endpoints } from '../endpoints.js';
import { WireError } from '../errors.js';
import type { MetricsOptions } from '../metrics.js';
import { checkFields, type FieldsOf } from '../validate.js';
import { readMetrics } from '../wire.js';
import { Followers, checkAboveZero, limited, type BackgroundOptions } from './background.js';
import type { Get, Page } from './http.js';
import { Random } from './random.js';

/** How metrics pages are scraped. */
export interface ScrapeOptions extends BackgroundOptions {
  /** Milliseconds between two requests of an endpoint. Default: 1,000. */
  intervalMs?: number | undefined;
  /** Milliseconds that a request may take. Default: 5,000. */
  timeoutMs?: number | undefined;
  /** The longest time between two requests while an endpoint fails. Default: 10,000. */
  backoffLimitMs?: number | undefined;
  /** The path of the page. Default: `/metrics`. */
  path?: string | undefined;
  /** How pages are read. */
  page?: MetricsOptions | undefined;
  /** Spreads the requests over the interval. Default: 0. */
  seed?: number | undefined;
}

const OPTIONS = {
  intervalMs: true,
  timeoutMs: true,
  backoffLimitMs: true,
  path: true,
  page: true,
  seed: true,
  log: true,
  sleep: true,
} satisfies FieldsOf<ScrapeOptions>;

/**
 * Reads the metrics page of every endpoint about once per `intervalMs`, until `close`.
 *
 * Endpoints that are added later are found. Their names are their URLs. The seed spreads the
 * requests over the interval. At most one request of an endpoint is open, and it fails after
 * `timeoutMs`. While an endpoint fails, the time between two requests doubles up to
 * `backoffLimitMs`.
 *
 * A page goes to `handleMetricsPage`, with the options in `page`. The first one also sets the block
 * size and `kvCacheTokens` of an endpoint that was described without the latter.
 *
 * A failed request goes to `handleProbe` as a failed probe. So does a page that is not a metrics
 * page. There are two exceptions: an engine that has not measured anything yet, and one that
 * answers 404, 405 or 501 from the start. The latter has no metrics page.
 *
 * ```ts
 * const scraper = scrape(scheduler, httpGet());
 * // serve
 * await scraper.close();
 * ```
 */
export function scrape(scheduler: Endpoints, get: Get, options: ScrapeOptions = {}): Scraper {
  checkFields('options', OPTIONS, options);
  return new Scraper(scheduler, get, options);
}

/** The requests for metrics pages, in the background. */
export class Scraper extends Followers {
  readonly #scheduler: Endpoints;
  readonly #get: Get;
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  readonly #backoffLimitMs: number;
  readonly #path: string;
  readonly #page: MetricsOptions;
  readonly #seed: number;
  /** The last error of each endpoint whose last request failed, by name. */
  readonly failing = new Map<string, string>();

  /** @internal */
  constructor(scheduler: Endpoints, get: Get, options: ScrapeOptions) {
    const { intervalMs = 1_000, timeoutMs = 5_000, backoffLimitMs = 10_000 } = options;
    checkAboveZero({ intervalMs, timeoutMs });
    super(scheduler, intervalMs, options);
    this.#scheduler = scheduler;
    this.#get = get;
    this.#intervalMs = intervalMs;
    this.#timeoutMs = timeoutMs;
    this.#backoffLimitMs = Math.max(backoffLimitMs, intervalMs);
    this.#path = options.path ?? '/metrics';
    this.#page = options.page ?? {};
    this.#seed = options.seed ?? 0;
    this.start();
  }

  /** @internal */
  protected override async follow(id: number, name: string, signal: AbortSignal): Promise<void> {
    const random = new Random(`${this.#seed} ${name}`);
    let [pages, failures] = [0, 0];
    try {
      await this.sleep(this.#intervalMs * random.next(), signal);
      for (;;) {
        if (await this.#scrape(id, name, pages === 0, signal)) {
          [pages, failures] = [pages + 1, 0];
        } else {
          failures += 1;
        }
        const wait = Math.min(this.#intervalMs * 2 ** Math.min(failures, 30), this.#backoffLimitMs);
        // Engines that were in step do not stay so.
        await this.sleep(wait * (0.9 + 0.2 * random.next()), signal);
      }
    } finally {
      this.failing.delete(name);
    }
  }

  /** Reads one page. Returns whether that succeeded. */
  async #scrape(id: number, name: string, first: boolean, signal: AbortSignal): Promise<boolean> {
    const url = name.replace(/\/+$/, '') + this.#path;
    let answer: Page;
    try {
      const limitMs = this.#timeoutMs;
      const got = await limited((ends) => this.#get(url, ends), limitMs, this.sleep, signal);
      if (got === undefined) {
        return this.#failed(id, name, `no response within ${limitMs} ms`, true);
      }
      answer = got.value;
    } catch (error) {
      signal.throwIfAborted();
      return this.#failed(id, name, reasonOf(error), true);
    }
    signal.throwIfAborted();
    const { status, body } = answer;
    if (status !== 200) {
      return this.#failed(id, name, `status ${status}`, !(first && NO_PAGE.includes(status)));
    }
    try {
      if (first) {
        this.#describe(id, body);
      }
      this.#scheduler.handleMetricsPage(id, body, this.#page);
    } catch (error) {
      if (!(error instanceof WireError)) {
        throw error;
      }
      return this.#failed(id, name, error.message, error.code !== 'nothing_known');
    }
    if (this.failing.delete(name)) {
      this.log.info(`${name}: its metrics page is back`);
    }
    return true;
  }

  #failed(id: number, name: string, reason: string, probe: boolean): false {
    if (!this.failing.has(name)) {
      this.log.warn(`${name}: no metrics page: ${reason}`);
    }
    this.failing.set(name, reason);
    if (probe) {
      this.#scheduler.handleProbe(id, false);
    }
    return false;
  }

  /** Completes the endpoint's description by its page. */
  #describe(id: number, page: Uint8Array): void {
    const endpoint = this.#scheduler.endpoint(id);
    if (endpoint === null || (endpoint.kvCacheTokens ?? null) !== null) {
      return;
    }
    const { kvCacheTokens, blockSize } = readMetrics(page, this.#page);
    if (kvCacheTokens !== null) {
      const size = blockSize ?? endpoint.blockSize;
      this.#scheduler.updateEndpoint(id, { ...endpoint, kvCacheTokens, blockSize: size });
    }
  }
}

/** Why there is no response. The cause has the words: `fetch` itself only says that it failed. */
function reasonOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  const reason = cause instanceof Error ? cause : error;
  return (reason instanceof Error ? reason.message : String(reason)) || String(error);
}

const NO_PAGE = [404, 405, 501];
