/** Warnings about implausible values, once for each kind: a wrong value recurs at every request. */

import { implausible } from '../native/index.js';

const given = new Set<string>();

/** Emits a `SlotwiseWarning`, the first time that there is one of this kind. */
export function warnOnce(kind: string, message: string): void {
  if (!given.has(kind)) {
    given.add(kind);
    process.emitWarning(message, { type: 'SlotwiseWarning', code: 'SLOTWISE_VALUE' });
  }
}

/** Warns of an implausible duration. `field` is its name in the core, `name` the one here. */
export function warnImplausible(field: string, name: string, ms: number | undefined): void {
  if (ms === undefined || !(ms > 0) || given.has(name)) {
    return;
  }
  const range = implausible(field, ms);
  if (range) {
    warnOnce(name, `${name} is ${ms} milliseconds, where ${range[0]} to ${range[1]} is plausible: times are milliseconds, not seconds`);
  }
}
