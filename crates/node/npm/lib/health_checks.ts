/**
 * Active health checks: which endpoint the host probes next, and what its results mean.
 *
 * ```ts
 * const checks = new HealthChecks({ path: '/health', interval: 5, timeout: 1 });
 * checks.watch(scheduler.addEndpoint('http://10.0.0.1:8000'));
 * for (let step = checks.poll(); step !== null; step = checks.poll()) {
 *   if (step.kind === 'report') scheduler.handleProbe(step.endpointId, step.passed);
 *   else send(step).then((passed) => checks.handleResult(step, passed));
 * }
 * ```
 *
 * Times are milliseconds of `performance.now`, unless `now` is given.
 */
import { micros } from './gates.js';
import { type Data, Machine } from './machine.js';

/** A probe to send. Report its end by `handleResult`. */
export interface Probe {
  readonly kind: 'probe';
  /** The endpoint. */
  readonly endpointId: number;
  /** The number of the probe. */
  readonly number: number;
  /** When it has failed without a result, in milliseconds. */
  readonly deadline: number;
}

/** What to pass to `scheduler.handleProbe`. */
export interface Report {
  readonly kind: 'report';
  /** The endpoint. */
  readonly endpointId: number;
  /** Whether it is healthy. */
  readonly passed: boolean;
}

type Step =
  | { readonly endpoint_id: number; readonly probe: number; readonly deadline_us: number }
  | { readonly endpoint_id: number; readonly report: boolean };

/** The probes of a pool's endpoints. At most one probe of an endpoint is open. */
export class HealthChecks {
  readonly #machine: Machine;

  /**
   * `config` is the `healthCheck` of a pool's configuration: path, port, interval and timeout in
   * seconds, thresholds. An invalid field is a `TypeError`. `seed` spreads the first probes.
   */
  constructor(config: { readonly [name: string]: Data } = {}, { seed = 0 }: { seed?: number | bigint } = {}) {
    this.#machine = new Machine('health_checks', { config, seed });
  }

  /** The endpoint is probed from now on. */
  watch(endpointId: number, now?: number): void {
    this.#machine.call('watch', { endpointId, at_us: micros(now) });
  }

  /** The endpoint is probed no longer. */
  unwatch(endpointId: number): void {
    this.#machine.call('unwatch', { endpointId });
  }

  /** The next step. Call it until it returns null, then wait for `nextTimeout`. */
  poll(now?: number): Probe | Report | null {
    const step = this.#machine.call<Step | null>('poll', { at_us: micros(now) });
    if (step === null) {
      return null;
    }
    const endpointId = step.endpoint_id;
    return 'report' in step
      ? { kind: 'report', endpointId, passed: step.report }
      : { kind: 'probe', endpointId, number: step.probe, deadline: step.deadline_us / 1_000 };
  }

  /** When to call `poll`, in milliseconds; null while no endpoint is watched. */
  get nextTimeout(): number | null {
    const at = this.#machine.call<number | null>('next_timeout');
    return at === null ? null : at / 1_000;
  }

  /** A probe has ended. A result after its deadline has no effect. */
  handleResult({ endpointId, number }: Probe, passed: boolean): void {
    this.#machine.call('handle_result', { endpointId, probe: number, passed });
  }

  /** A request to the endpoint failed: the count of passed probes begins again. */
  handleFailure(endpointId: number): void {
    this.#machine.call('handle_failure', { endpointId });
  }
}
