/**
 * The HTTP response to a client whose request was refused or has failed.
 *
 * ```ts
 * const { status, headers, body } = errorResponse(error, { path: '/v1/messages' });
 * return new Response(body, { status, headers });
 * ```
 *
 * Client libraries parse the body, so it has the shape of the API at the request's path:
 * Anthropic's for messages, and OpenAI's for all others.
 *
 * @packageDocumentation
 */
import type { RefusalResponse } from '../native/index.js';
import { IdleTimeoutError, RejectedError, WireError, rangeError } from './errors.js';
import { RefusedError } from './gates.js';
import type { OwnBytes } from './prompt.js';
import { checkFields, optionalString, type FieldsOf } from './validate.js';
import type { Evicted, Rejected } from './values.js';
import { apiOfPath, refusal } from './wire.js';

export type { RefusalResponse } from '../native/index.js';

/** The path of the request. */
export interface ErrorResponseOptions {
  /** Default: `''`, for the shape of OpenAI. */
  path?: string | undefined;
}

/** Options of `failureResponse`. */
export interface FailureResponseOptions extends ErrorResponseOptions {
  /** Headers that are added. */
  headers?: Iterable<readonly [name: string, value: string]> | undefined;
}

const FAILURE = { path: true, headers: true } satisfies FieldsOf<FailureResponseOptions>;

/** The shape of errors that the clients of the API at this path parse. */
export function shapeOf(path: string): 'openai' | 'anthropic' {
  return apiOfPath(path) === 'messages' ? 'anthropic' : 'openai';
}

/**
 * The response to a request that ended with this error, or this refusal.
 *
 * | error | status | retry time |
 * |---|---|---|
 * | `RejectedError`, `Rejected`, `Evicted` | its own | if known |
 * | `RefusedError` of a gate or an ingress | its own | its headers |
 * | `WireError` of a body | 400 | |
 * | `AbortError`: the client has disconnected | 499, for logs | |
 * | `IdleTimeoutError`, `TimeoutError` | 504 | |
 * | any other | 500, without its text | |
 */
export function errorResponse(error: unknown, options: ErrorResponseOptions = {}): RefusalResponse {
  checkFields('options', { path: true }, options);
  const path = optionalString('path', options.path) ?? '';
  const shape = shapeOf(path);
  if (isRefusal(error)) {
    return refusal(error, { shape });
  }
  if (error instanceof RefusedError) {
    const body = bytesOf(error.body(shape));
    return { status: error.httpStatus, headers: [...error.headers], body };
  }
  if (error instanceof WireError) {
    return failureResponse(400, error.code, `the body cannot be read: ${error.message}`, { path });
  }
  const name: unknown = typeof error === 'object' && error !== null && 'name' in error ? error.name : '';
  if (name === 'AbortError') {
    return failureResponse(499, 'client_disconnected', 'the client has disconnected', { path });
  }
  if (error instanceof IdleTimeoutError || name === 'TimeoutError') {
    return failureResponse(504, 'timeout', 'the engine did not answer in time', { path });
  }
  return failureResponse(500, 'internal_error', 'the gateway has failed', { path });
}

/** A response with this status, code and message. */
export function failureResponse(
  status: number,
  code: string,
  message: string,
  options: FailureResponseOptions = {},
): RefusalResponse {
  checkFields('options', FAILURE, options);
  if (!(status >= 400 && status <= 599)) {
    throw rangeError(`status must be that of an error, 400 to 599, got ${status}`);
  }
  const isAnthropic = shapeOf(options.path ?? '') === 'anthropic';
  const other = status < 500 ? 'invalid_request_error' : isAnthropic ? 'api_error' : 'server_error';
  const type = (isAnthropic ? ANTHROPIC : OPENAI).get(status) ?? other;
  const body = isAnthropic
    ? { type: 'error', error: { type, message } }
    : { error: { message, type, param: null, code } };
  const added = Array.from(options.headers ?? [], ([name, value]): [string, string] => [name, value]);
  const headers: [string, string][] = [['content-type', 'application/json'], ...added];
  return { status, headers, body: bytesOf(JSON.stringify(body)) };
}

function isRefusal(error: unknown): error is RejectedError | Rejected | Evicted {
  if (error instanceof RejectedError) {
    return true;
  }
  const kind: unknown = typeof error === 'object' && error !== null && 'kind' in error ? error.kind : '';
  return kind === 'rejected' || kind === 'evicted';
}

function bytesOf(text: string): OwnBytes {
  return new TextEncoder().encode(text);
}

const ANTHROPIC: ReadonlyMap<number, string> = new Map([
  [401, 'authentication_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [504, 'timeout_error'],
  [529, 'overloaded_error'],
]);
const OPENAI: ReadonlyMap<number, string> = new Map([[429, 'rate_limit_error']]);
