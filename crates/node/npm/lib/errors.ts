/**
 * Errors, one class for each kind. `code` stays the same when a message changes: match on it or on
 * the class, never on the text.
 */
import { types } from 'node:util';
import { reasonMessage } from '../native/index.js';
import type { Evicted, Rejected } from './values.js';

/** The base class of slotwise's errors. */
export class SlotwiseError extends Error {
  /** The kind of error, the same in every language. */
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

/** A field of the configuration cannot be used. */
export class ConfigError extends SlotwiseError {
  /** The path of the field. */
  readonly field: string;

  constructor(message: string, code: string, field: string) {
    super(message, code);
    this.field = field;
  }
}

/** A description of a LoRA adapter was rejected. */
export class AdapterError extends SlotwiseError {}

/** An endpoint was not added or changed. */
export class EndpointError extends SlotwiseError {}

/** There is no such endpoint, or no longer. */
export class UnknownEndpointError extends SlotwiseError {}

/** There is no such request in flight: it is over, or never was. */
export class UnknownRequestError extends SlotwiseError {}

/** A lease was asked for an answer that has not begun. */
export class NotBegunError extends SlotwiseError {}

/** A cost function called `pick` or `acquire`, which call the cost function. */
export class CostFunctionError extends SlotwiseError {}

/** A request has no such stage on another endpoint, or the stage has ended. */
export class LegError extends SlotwiseError {}

/** A redirect was rejected: the request stays at its endpoint. */
export class RedirectError extends SlotwiseError {}

/** A KV event was not applied. Nothing of it was. */
export class KvEventError extends SlotwiseError {}

/** A snapshot was not restored. Nothing has changed. */
export class SnapshotError extends SlotwiseError {}

/** A message of another gateway was rejected. Nothing of it was applied. */
export class PeerError extends SlotwiseError {}

/** Bytes that could not be read. Nothing of them was applied. */
export class WireError extends SlotwiseError {
  /** The first byte that is not as it should be, counted from the beginning of what was given. */
  readonly offset: number;

  constructor(message: string, code: string, offset: number) {
    super(message, code);
    this.offset = offset;
  }
}

/** A request that `acquire` waited for was rejected or evicted. */
export class RejectedError extends SlotwiseError {
  /** Whether it was refused at once, or evicted after it had waited. */
  readonly kind: 'rejected' | 'evicted';
  /** Why. */
  readonly reason: Rejected['reason'] | Evicted['reason'];
  /** The recommended HTTP status. */
  readonly httpStatus: number;
  /** Milliseconds after which to retry; null if they cannot be estimated. */
  readonly retryAfterMs: number | null;
  /** Milliseconds in the queue; 0 for a request that never waited. */
  readonly queueTimeMs: number;
  /** Why, in one sentence for the client. */
  readonly sentence: string;

  constructor(answer: Rejected | Evicted) {
    const sentence = answer.kind === 'rejected' ? answer.sentence : reasonMessage(answer.reason, true);
    super(answer.kind === 'rejected' ? answer.message : evicted(answer, sentence), answer.reason);
    this.sentence = sentence;
    this.kind = answer.kind;
    this.reason = answer.reason;
    this.httpStatus = answer.httpStatus;
    this.retryAfterMs = answer.retryAfterMs;
    this.queueTimeMs = answer.kind === 'rejected' ? 0 : answer.queueTimeMs;
  }
}

function evicted(answer: Evicted, sentence: string): string {
  return `evicted after ${(answer.queueTimeMs / 1_000).toFixed(3)} s (${answer.reason}): ${sentence}`;
}

/** An endpoint sent nothing of an answer for too long. The request has failed with `'timeout'`. */
export class IdleTimeoutError extends SlotwiseError {
  /** How long the lease waited, in milliseconds. */
  readonly waitedMs: number;
  /** Whether anything of the answer had come: if not, another endpoint may be asked. */
  readonly begun: boolean;

  constructor(waitedMs: number, begun: boolean) {
    super(`${begun ? 'no further token' : 'no first token'} within ${waitedMs} ms`, 'idle_timeout');
    this.waitedMs = waitedMs;
    this.begun = begun;
  }
}

const kinds = {
  SlotwiseError,
  AdapterError,
  EndpointError,
  UnknownEndpointError,
  UnknownRequestError,
  LegError,
  RedirectError,
  KvEventError,
  SnapshotError,
  NotBegunError,
  PeerError,
};

// A property of the prototype, as of the built-in errors: it is not listed with an error's own.
for (const kind of [ConfigError, WireError, RejectedError, IdleTimeoutError, CostFunctionError, ...Object.values(kinds)]) {
  Object.defineProperty(kind.prototype, 'name', { value: kind.name, writable: true, configurable: true });
}

/** A built-in error with the code that Node gives to its like. */
export function typeError(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' });
}

/** The same for a value that is too large, too small or not whole. */
export function rangeError(message: string): RangeError {
  return Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' });
}

/** The scheduler was closed. */
export function closedError(): SlotwiseError {
  return new SlotwiseError('the scheduler is closed', 'closed');
}

/** Runs a call of the native part; its errors become ours. */
export function guarded<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw translated(error);
  }
}

/**
 * The public error for an error of the native part, from any realm: its `code` is `Kind:code`, or
 * `Kind:code:field`.
 */
function translated(error: unknown): unknown {
  if (!types.isNativeError(error) || !('code' in error) || typeof error.code !== 'string') {
    return error;
  }
  const [kind = '', code = '', field = ''] = error.code.split(':');
  switch (kind) {
    case 'ConfigError':
      return new ConfigError(error.message, code, field);
    case 'WireError':
      return new WireError(error.message, code, Number(field));
    case 'RangeError':
      return rangeError(error.message);
    case 'TypeError':
      return typeError(error.message);
    default:
      return Object.hasOwn(kinds, kind) ? new kinds[kind as keyof typeof kinds](error.message, code) : error;
  }
}
