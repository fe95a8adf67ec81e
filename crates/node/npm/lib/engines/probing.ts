/** Active health checks of all endpoints. See `probe`. */
import type { Endpoints } from '../endpoints.js';
import { UnknownEndpointError } from '../errors.js';
import { HealthChecks, type Probe } from '../health_checks.js';
import type { Data } from '../machine.js';
import { checkFields, type FieldsOf } from '../validate.js';
import { Background, type BackgroundOptions, type Task } from './background.js';
import type { Get } from './http.js';
import { Members } from './members.js';

/**
 * The fields of a pool's `health_check`. Times are seconds, as in its file.
 */
export interface ProbeChecks {
  /** Default: `/health`. */
  readonly path?: string | undefined;
  /** Default: the endpoint's. */
  readonly port?: number | undefined;
  /** Seconds between two probes of an endpoint. */
  readonly interval?: number | undefined;
  /** Seconds that a probe may take. */
  readonly timeout?: number | undefined;
  /** Passed probes after which an endpoint is healthy. */
  readonly healthy_threshold?: number | undefined;
  /** Failed probes after which an endpoint is unhealthy. */
  readonly unhealthy_threshold?: number | undefined;
}

/** How endpoints are probed. */
export interface ProbeOptions extends BackgroundOptions {
  /** Milliseconds within which other endpoints are found. Default: 1,000. */
  everyMs?: number | undefined;
  /** Spreads the first probes. Default: 0. */
  seed?: number | bigint | undefined;
  /** The clock, in milliseconds. Default: `performance.now()`. */
  now?: (() => number) | undefined;
}

const OPTIONS = {
  everyMs: true,
  seed: true,
  now: true,
  log: true,
  sleep: true,
} satisfies FieldsOf<ProbeOptions>;

/**
 * Probes every endpoint, and reports those that are unhealthy to `handleProbe`, until `close`.
 *
 * A 200 passes. Endpoints that are added or removed are found within `everyMs`. Throws a
 * `TypeError` for an invalid field of `checks`.
 */
export function probe(
  scheduler: Endpoints,
  get: Get,
  checks: ProbeChecks = {},
  options: ProbeOptions = {},
): Prober {
  checkFields('options', OPTIONS, options);
  return new Prober(scheduler, get, checks, options);
}

/** The health checks, in the background. */
export class Prober extends Background {
  readonly #scheduler: Endpoints;
  readonly #checks: HealthChecks;
  readonly #members: Members;
  readonly #get: Get;
  readonly #path: string;
  readonly #port: number | undefined;
  readonly #everyMs: number;
  readonly #now: () => number;
  readonly #probes = new Map<number, Task>();
  /** The names of the endpoints that were reported as unhealthy. */
  readonly unhealthy = new Set<string>();

  /** @internal */
  constructor(scheduler: Endpoints, get: Get, checks: ProbeChecks, options: ProbeOptions) {
    super(options);
    const { everyMs = 1_000, seed = 0, now = () => performance.now() } = options;
    const given = Object.entries(checks).filter(([, value]) => value !== undefined && value !== null);
    this.#checks = new HealthChecks(Object.fromEntries(given) as { [name: string]: Data }, { seed });
    this.#scheduler = scheduler;
    this.#members = new Members(scheduler);
    this.#get = get;
    this.#path = checks.path ?? '/health';
    this.#port = checks.port ?? undefined;
    this.#everyMs = everyMs;
    this.#now = now;
    this.spawn('Prober', (signal) => this.#run(signal));
  }

  /** Reports a failed request: earlier passed probes of its endpoint no longer count. */
  handleFailure(endpointId: number): void {
    this.#checks.handleFailure(endpointId);
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        this.#look();
        this.#act();
      } catch (error) {
        this.log.error('health checks failed, and go on', error);
      }
      const due = this.#checks.nextTimeout ?? Infinity;
      const wait = Math.min(this.#everyMs, due - this.#now());
      await this.sleep(Math.max(wait, SHORTEST_MS), signal);
    }
  }

  /** Watches new endpoints, and stops with those that were removed. */
  #look(): void {
    const { joined, left } = this.#members.look();
    for (const [id, name] of left) {
      this.#checks.unwatch(id);
      this.unhealthy.delete(name);
      this.#probes.get(id)?.cancel();
      this.#probes.delete(id);
    }
    for (const id of joined.keys()) {
      this.#checks.watch(id, this.#now());
    }
  }

  /** Sends the probes that are due, and reports results. */
  #act(): void {
    const next = () => this.#checks.poll(this.#now());
    for (let step = next(); step !== null; step = next()) {
      const { endpointId } = step;
      const name = this.#members.names.get(endpointId) ?? '';
      if (step.kind === 'report') {
        this.#report(endpointId, name, step.passed);
        continue;
      }
      const due = step;
      // An earlier one is late.
      this.#probes.get(endpointId)?.cancel();
      const work = (signal: AbortSignal) => this.#send(due, name, signal);
      this.#probes.set(endpointId, this.spawn(`probe of ${name}`, work));
    }
  }

  async #send(probe: Probe, name: string, signal: AbortSignal): Promise<void> {
    let status = 0;
    try {
      status = (await this.#get(this.#url(name), signal)).status;
    } catch {
      // No response is a failed probe.
    }
    if (!signal.aborted) {
      this.#checks.handleResult(probe, status === 200);
      this.#act();
    }
  }

  #report(id: number, name: string, passed: boolean): void {
    if (passed && this.unhealthy.delete(name)) {
      this.log.info(`${name} is healthy`);
    } else if (!passed && !this.unhealthy.has(name)) {
      this.log.warn(`${name} is unhealthy`);
      this.unhealthy.add(name);
    }
    try {
      this.#scheduler.handleProbe(id, passed);
    } catch (error) {
      // It may have been removed since the last look.
      if (!(error instanceof UnknownEndpointError)) {
        throw error;
      }
    }
  }

  #url(name: string): string {
    if (this.#port === undefined) {
      return name.replace(/\/+$/, '') + this.#path;
    }
    const { protocol, hostname } = new URL(name);
    return `${protocol}//${hostname}:${this.#port}${this.#path}`;
  }
}

/** Milliseconds between two rounds at least: a timer may ring a little early. */
const SHORTEST_MS = 1;
