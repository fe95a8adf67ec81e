/**
 * Ends the requests of leases and tracked streams that are garbage collected. The collector decides
 * when that happens, so this is a safety net, and no way to end a request.
 */
import type { NativeLease } from '../native/index.js';
import type { Scheduler } from './scheduler.js';

/**
 * What remains of an abandoned lease. It must not refer to the lease, which would keep it alive.
 */
export interface LeaseRecord {
  readonly scheduler: Scheduler;
  readonly native: NativeLease;
  readonly requestId: number;
  /** Whether a stream ends it. */
  tracked: boolean;
}

let warned = false;

/** Ends the requests of abandoned leases. Warns once: one abandoned lease is one of many. */
export const abandonedLeases = new FinalizationRegistry<LeaseRecord>((record) => {
  const { scheduler, native, requestId, tracked } = record;
  if (native.ended || scheduler.closed) {
    return;
  }
  ignoringErrors(() => {
    const now = scheduler.clock();
    native.close(now, 'client_disconnected');
    scheduler.wakeAt(now);
  });
  if (!tracked && !warned) {
    warned = true;
    process.emitWarning(
      `the lease of request ${requestId} was never ended: it is cancelled now. End each lease with `
      + 'complete, fail, cancel, finish or track',
      { type: 'SlotwiseWarning', code: 'SLOTWISE_LEASE' },
    );
  }
});

/** What remains of an abandoned stream: how to end its request, and to close its source. */
export interface StreamRecord {
  readonly end: () => void;
  readonly close: () => unknown;
}

/** Ends the requests of abandoned streams, and closes their sources. */
export const abandonedStreams = new FinalizationRegistry<StreamRecord>(({ end, close }) => {
  ignoringErrors(end);
  // The source has no reader any more, so its errors are ignored.
  Promise.resolve().then(close).catch(() => {});
});

/** In a finalizer, an error would end the process. */
function ignoringErrors(call: () => unknown): void {
  try {
    call();
  } catch {
    // The host's clock failed, or the scheduler was closed meanwhile.
  }
}
