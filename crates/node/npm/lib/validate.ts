/**
 * Validates the objects of callers: field names and types. The native module checks ranges.
 *
 * Objects are copied here, so no getter of a caller runs during a native call.
 */
import type { Signal } from './abort.js';
import { typeError } from './errors.js';

/** What a field must be. */
export type Kind = 'number' | 'integer' | 'string' | 'boolean' | 'strings' | 'labels' | 'json';

/** The fields of an object, by name. */
export interface Schema {
  readonly [field: string]: Kind | Schema;
}

/** The shape of `T`: a field that is missing here, or one too many, does not compile. */
export type SchemaOf<T> = { readonly [K in keyof Required<T>]: Kind | SchemaOf<NonNullable<T[K]>> };

/** As many models, labels or adapters as one object may list. */
const MAX_ENTRIES = 65_536;

/** A copy of `value` with the fields of `shape`, without those that are null or undefined. */
export function readObject<T>(
  what: string,
  shape: Schema,
  value: unknown,
  unknownField: (path: string) => Error = (path) => typeError(`${path} is not a known field`),
  path = what,
): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw typeError(`${path} must be an object, got ${describe(value)}`);
  }
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(shape, name)) {
      throw unknownField(`${path}.${name}`);
    }
  }
  const copy: Record<string, unknown> = {};
  // Calls of each request come here, so no list of the shape's entries is made.
  for (const name in shape) {
    const field = (value as Record<string, unknown>)[name];
    if (field === undefined || field === null) {
      continue;
    }
    const [kind, place] = [shape[name] as Kind | Schema, `${path}.${name}`];
    copy[name] = typeof kind === 'string' ? one(place, kind, field) : readObject(what, kind, field, unknownField, place);
  }
  return copy as T;
}

function one(path: string, kind: Kind, value: unknown): unknown {
  switch (kind) {
    case 'integer':
      return typeof value === 'bigint' ? value : number(path, value);
    case 'strings':
      return strings(path, value);
    case 'json':
      return JSON.parse(JSON.stringify(value));
    case 'labels':
      return Object.fromEntries(labels(path, value));
    default:
      if (typeof value !== kind) {
        throw typeError(`${path} must be a ${kind}, got ${describe(value)}`);
      }
      return value;
  }
}

/** `value`, which must be a number. */
export function number(path: string, value: unknown): number {
  if (typeof value !== 'number') {
    throw typeError(`${path} must be a number, got ${describe(value)}`);
  }
  return value;
}

/** `value`, which must be a string. */
export function string(path: string, value: unknown): string {
  if (typeof value !== 'string') {
    throw typeError(`${path} must be a string, got ${describe(value)}`);
  }
  return value;
}

/** The id of an endpoint. */
export function checkEndpointId(path: string, value: unknown): number {
  // Digits are an id that was made text on its way.
  if (typeof value === 'string' && !/^\d+$/.test(value)) {
    const name = describe(value);
    throw typeError(`${path} must be a number, got ${name}: pass what addEndpoint returned, or endpointNamed(${name})`);
  }
  return number(path, value);
}

/** The id of a request. */
export function checkRequestId(value: unknown): number {
  if (typeof value === 'object' && value !== null && 'requestId' in value) {
    throw typeError(`requestId must be a number, got ${describe(value)}: pass its .requestId`);
  }
  if (typeof value === 'string') {
    throw typeError(`requestId must be a number, got ${describe(value)}: pass dispatch.requestId, which is no X-Request-ID`);
  }
  return number('requestId', value);
}

/** The name of an endpoint. */
export function endpointName(value: unknown): string {
  if (typeof value === 'number') {
    throw typeError(`name must be a string, got ${value}: endpoint(${value})?.name is the name of an id`);
  }
  return string('name', value);
}

/** A copy of `value`, which must be a list of strings. */
export function strings(path: string, value: unknown): string[] {
  if (!Array.isArray(value)) {
    throw typeError(`${path} must be an array of strings, got ${describe(value)}`);
  }
  checkCount(path, value.length);
  const copy: string[] = [];
  for (let at = 0; at < value.length && at < MAX_ENTRIES; at += 1) {
    copy.push(string(`${path}[${at}]`, value[at]));
  }
  return copy;
}

/** The keys and values of `value`, which must be strings. */
export function labels(path: string, value: unknown): [string, string][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw typeError(`${path} must be an object of strings, got ${describe(value)}`);
  }
  const entries = Object.entries(value);
  checkCount(path, entries.length);
  return entries.map(([key, label]) => [key, string(`${path}.${key}`, label)]);
}

/** A copy of an array of numbers. */
export function numbers(name: string, given: unknown): number[] {
  if (!Array.isArray(given)) {
    throw typeError(`${name} must be an array of numbers, got ${describe(given)}`);
  }
  // `map` would pass over the holes of a sparse array, all four billion of them.
  return Array.from(given, (value: unknown, at) => number(`${name}[${at}]`, value));
}

/** `value`, which must be a string unless it is null or undefined. */
export function optionalString(name: string, value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : string(name, value);
}

/** The host's name of a tenant or a session. */
export function optionalName(what: string, value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'bigint') {
    throw typeError(`${what} must be a string, got ${value}: pass String(${value})`);
  }
  return optionalString(what, value);
}

/** `value`, which must be a number unless it is null or undefined. */
export function optionalNumber(name: string, value: unknown): number | undefined {
  return value === undefined || value === null ? undefined : number(name, value);
}

/** `value`, which must be a boolean unless it is null or undefined. */
export function optionalBoolean(name: string, value: unknown): boolean | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  if (typeof value !== 'boolean') {
    throw typeError(`${name} must be a boolean, got ${describe(value)}`);
  }
  return value;
}

/** `value`, which must be a function unless it is undefined. */
export function optionalFunction<T>(name: string, value: T | undefined): T | undefined {
  if (value !== undefined && typeof value !== 'function') {
    throw typeError(`${name} must be a function, got ${describe(value)}`);
  }
  return value;
}

/** Rejects a signal that is no `AbortSignal`. */
export function checkSignal(signal: Signal | undefined): void {
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw typeError(`signal must be an AbortSignal, got ${describe(signal)}`);
  }
}

/** The fields that an object of this type may have. */
export type FieldsOf<T> = { readonly [K in keyof Required<T>]: true };

/** Refuses names that mean nothing, without a copy: every pick asks. */
export function checkFields(what: string, names: object, value: unknown): void {
  if (typeof value !== 'object' || value === null) {
    throw typeError(`${what} must be an object, got ${describe(value)}`);
  }
  for (const name in value) {
    if (!Object.hasOwn(names, name)) {
      throw typeError(`${what}.${name} is not a known field`);
    }
  }
}

/** What a value is, in an error message. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object';
    case 'string':
      return value.length > 40 ? 'a long string' : JSON.stringify(value);
    case 'function':
    case 'symbol':
      return `a ${typeof value}`;
    default:
      return String(value);
  }
}

function checkCount(path: string, length: number): void {
  if (length > MAX_ENTRIES) {
    throw typeError(`${path} lists ${length} entries; ${MAX_ENTRIES} is the most`);
  }
}
