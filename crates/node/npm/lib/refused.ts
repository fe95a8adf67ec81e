/** Refusals that are taken for a dispatch: what they do not have says what to do. */
import type { Evicted, Rejected } from './answers.js';
import { typeError } from './errors.js';

const OF_DISPATCH = ['endpoint', 'name', 'alternatives'] as const;

/** The same refusal, where reading what only a dispatch has is an error. Its keys, copies and JSON are as before. */
export function refused<T extends Rejected | Evicted>(refusal: T): T {
  for (const field of refusal.kind === 'rejected' ? (['request', ...OF_DISPATCH] as const) : OF_DISPATCH) {
    Object.defineProperty(refusal, field, {
      enumerable: false,
      configurable: true,
      get() {
        throw typeError(
          `this request was not dispatched (${refusal.reason}), so it has no ${field}: ask decision.kind === 'dispatch' first, or use `
          + 'acquire, which rejects',
        );
      },
    });
  }
  return refusal;
}
