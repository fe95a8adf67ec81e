// Schedulers for tests, with a clock that stands still unless it is moved.
import { Scheduler } from 'slotwise';

/** A scheduler over `endpoints`, and its clock in milliseconds. */
export function pool(endpoints = ['a', 'b'], config = {}, options = {}) {
  const clock = { now: 0 };
  const scheduler = new Scheduler({ seed: 0, ...config }, { now: () => clock.now, ...options });
  const ids = endpoints.map((endpoint) => scheduler.addEndpoint(endpoint));
  return { scheduler, clock, ids };
}

/** The requests in flight and in the queue; none once all have ended. */
export function left(scheduler) {
  return { inFlight: scheduler.stats().inFlight, waiting: scheduler.queued };
}

/** Lets what was settled be heard. */
export async function settle() {
  for (let turn = 0; turn < 10; turn += 1) {
    await Promise.resolve();
  }
}
