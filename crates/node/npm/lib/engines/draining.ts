/** Takes an endpoint out of the pool without a loss. See `drain`. */
import type { Endpoints } from '../endpoints.js';
import { UnknownEndpointError } from '../errors.js';
import { checkFields, type FieldsOf } from '../validate.js';
import type { RemovedEndpoint } from '../values.js';
import { defaultLog, defaultSleep, limited, type BackgroundOptions } from './background.js';

/** How an endpoint is drained. */
export interface DrainOptions extends BackgroundOptions {
  /** Milliseconds after which it is removed in any case; null sets no limit. Default: 30,000. */
  timeoutMs?: number | null | undefined;
  /** Ends the wait. The endpoint stays draining: call `resumeEndpoint` to undo that. */
  signal?: AbortSignal | undefined;
}

const OPTIONS = {
  timeoutMs: true,
  signal: true,
  log: true,
  sleep: true,
} satisfies FieldsOf<DrainOptions>;

/**
 * Stops new requests to the endpoint, waits for those in flight, and removes it.
 *
 * The endpoint is given by its id or by its name. After `timeoutMs` it is removed with requests in
 * flight. They are in the result, and may go on.
 *
 * Rejects with an `UnknownEndpointError` if the endpoint is not in the pool, or is removed
 * meanwhile, and with the reason of `signal`.
 */
export async function drain(
  scheduler: Endpoints,
  endpoint: number | string,
  options: DrainOptions = {},
): Promise<RemovedEndpoint> {
  checkFields('options', OPTIONS, options);
  const { timeoutMs = 30_000, log = defaultLog, sleep = defaultSleep } = options;
  const signal = options.signal ?? new AbortController().signal;
  const id = typeof endpoint === 'string' ? scheduler.endpointNamed(endpoint) : endpoint;
  if (id === null) {
    const name = JSON.stringify(endpoint);
    throw new UnknownEndpointError(`no endpoint is named ${name}`, 'unknown_endpoint');
  }
  signal.throwIfAborted();
  scheduler.drainEndpoint(id);
  if (timeoutMs === null) {
    await scheduler.drained(id, { signal });
    return scheduler.removeEndpoint(id);
  }
  const drained = (ends: AbortSignal) => scheduler.drained(id, { signal: ends });
  if ((await limited(drained, timeoutMs, sleep, signal)) === undefined) {
    const count = scheduler.inFlightOn(id);
    log.warn(`endpoint ${endpoint} is removed with ${count} requests in flight`);
  }
  return scheduler.removeEndpoint(id);
}
