/** The reason of a refusal, from what callers pass. */
import { typeError } from './errors.js';
import { describe, optionalNumber, optionalString, string } from './validate.js';

export interface Refused {
  readonly code: string;
  readonly evicted: boolean;
  readonly retryAfterMs: number | undefined;
  readonly sentence: string | undefined;
}

/** Reads a reason: a code, a decision, or the error that carries one. */
export function refused(reason: unknown): Refused {
  if (typeof reason === 'string') {
    return { code: reason, evicted: false, retryAfterMs: undefined, sentence: undefined };
  }
  if (typeof reason !== 'object' || reason === null || !('reason' in reason) || !('kind' in reason)) {
    throw typeError(`reason must be a code, a Rejected, an Evicted or a RejectedError, got ${describe(reason)}`);
  }
  const after = optionalNumber('retryAfterMs', 'retryAfterMs' in reason ? reason.retryAfterMs : undefined);
  // That of another reason is the reason's own message.
  const named = reason.reason === 'not_served' && 'sentence' in reason ? reason.sentence : undefined;
  const sentence = optionalString('sentence', named);
  return { code: string('reason', reason.reason), evicted: reason.kind === 'evicted', retryAfterMs: after, sentence };
}
