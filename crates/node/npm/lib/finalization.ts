/**
 * What becomes of leases and tracked streams that are garbage collected: their requests are cancelled, so that nothing stays in
 * flight for ever. When that happens is up to the engine's collector, so it is a safety net and no way to end a request.
 */
import type { Lease } from './lease.js';
import type { Scheduler } from './scheduler.js';

/** What is left of a lease that was forgotten. It must not refer to the lease, which would keep it alive. */
export interface Forgotten {
  readonly scheduler: Scheduler;
  readonly request: number;
  ended: boolean;
  /** Whether a stream ends it. */
  tracked: boolean;
}

let warned = false;

/** Cancels the requests of leases that nothing refers to, and warns once: a gateway that forgets one forgets many. */
export const forgotten = new FinalizationRegistry<Forgotten>((account) => {
  const { scheduler, request, ended, tracked } = account;
  if (ended || scheduler.closed) {
    return;
  }
  account.ended = true;
  quietly(() => scheduler.cancel(request));
  if (!tracked && !warned) {
    warned = true;
    process.emitWarning(
      `the lease of request ${request} was never ended: it is cancelled now. End each lease with complete, fail, cancel, finish or track`,
      { type: 'SlotwiseWarning', code: 'SLOTWISE_LEASE' },
    );
  }
});

/** What is left of a tracked stream that was dropped: its lease, and how to close what it reads from. */
export interface Dropped {
  readonly lease: Lease;
  readonly close: () => unknown;
}

/** Ends the leases of tracked streams that were dropped before their end, and closes their sources. */
export const dropped = new FinalizationRegistry<Dropped>(({ lease, close }) => {
  quietly(() => lease.left('client_disconnected'));
  // The source has no reader any more, and its errors have none either.
  Promise.resolve().then(close).catch(() => {});
});

/** Runs what cannot report an error to anybody: nothing calls it but the collector, where one would end the process. */
function quietly(call: () => unknown): void {
  try {
    call();
  } catch {
    // The host's clock failed, or a scheduler was closed meanwhile.
  }
}
