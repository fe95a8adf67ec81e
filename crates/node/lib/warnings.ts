/** Warnings about values that cannot be meant. Each kind is given once: a gateway that makes a mistake makes it at every request. */

const given = new Set<string>();

/** Emits a `SlotwiseWarning`, the first time that there is one of this kind. */
export function warnOnce(kind: string, message: string): void {
  if (!given.has(kind)) {
    given.add(kind);
    process.emitWarning(message, { type: 'SlotwiseWarning', code: 'SLOTWISE_VALUE' });
  }
}
