/** A request as callers pass it, and as the native module takes it. */
import type { Allow as NativeAllow, RareOptions } from '../native/index.js';
import type { Role } from './config.js';
import { rangeError, typeError } from './errors.js';
import { readHeaderList, type HeaderSource } from './headers.js';
import { Scratch, readPrompt, readWire, type NativePrompt, type Prompt } from './prompt.js';
import {
  checkFields,
  describe,
  labels,
  number,
  numbers,
  optionalBoolean,
  optionalName,
  optionalNumber,
  optionalString,
  strings,
  type FieldsOf,
} from './validate.js';

/**
 * How a request failed: the endpoint was unreachable, the engine returned an error or broke the
 * stream, or the gateway's timeout passed.
 */
export type Failure = 'unreachable' | 'engine' | 'timeout';

/** A stage before the answer that can have an endpoint of its own. */
export type Stage = 'encode' | 'prefill';

/** The attributes of a request besides its prompt. */
export interface PickOptions {
  /** The base model. Default: `''`. */
  model?: string | undefined;
  /** The LoRA adapter on top of it. */
  adapter?: string | undefined;
  /** Requests with different salts share no cache, even for equal prompts. */
  cacheSalt?: string | undefined;
  /** Higher goes first; a negative one may be shed under load. Default: 0. */
  priority?: number | undefined;
  /** The flow, which is the unit of fairness: a tenant, for example. */
  flow?: string | undefined;
  /** The id of the answer that it continues: it goes to the same endpoint. Default: the body's. */
  continues?: string | undefined;
  /** The id that all requests of one conversation share. */
  session?: string | undefined;
  /** The latest useful time of the first token, in milliseconds on the scheduler's clock. */
  deadline?: number | undefined;
  /**
   * The service level of the time to first token, in milliseconds. A request of negative priority
   * is rejected unless the prediction meets it.
   */
  sloTtftMs?: number | undefined;
  /** The same of the time per output token. */
  sloTpotMs?: number | undefined;
  /** Expected tokens of the answer; `max_tokens` is a fair estimate. */
  expectedOutputTokens?: number | undefined;
  /** How the engine uses its cache for it. Default: as the body requests it, or `'read'`. */
  cacheUse?: 'read' | 'unreported' | 'unread' | undefined;
  /** Which stages the endpoint must run. Default: `'unified'`. */
  role?: Role | undefined;
  /** Whether it has media, such as images, which another endpoint may encode. Default: false. */
  multimodal?: boolean | undefined;
  /**
   * Whether the answer comes as a stream. Default: that of the body, and true without a body. The
   * first token of a whole answer is not seen.
   */
  streams?: boolean | undefined;
  /** Labels that the endpoint must carry. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Headers that plugins of `config.profile` may read, with names in lower case. */
  pluginHeaders?: Readonly<Record<string, string>> | undefined;
  /** Ids of endpoints that must not get it: those that a retry has tried. */
  exclude?: readonly number[] | undefined;
  /**
   * The only endpoints that may get it: ids, addresses, or a list of addresses as in the header
   * `x-gateway-destination-endpoint-subset`, whose value applies otherwise. Empty: none.
   */
  subset?: readonly number[] | readonly string[] | string | undefined;
  /** How ports of addresses are compared; `'ignored'` is the reference's way. Default: exactly. */
  subsetPorts?: 'exact' | 'ignored' | undefined;
  /** The time, in milliseconds. Default: the scheduler's clock. */
  now?: number | undefined;
}

/** One of several requests. */
export interface PickRequest {
  /** Its prompt, or its body as it came. */
  prompt: Prompt | HttpRequest;
  /** Its attributes. */
  options?: Omit<PickOptions, 'now'> | undefined;
}

/** The attributes of a request that goes through flow control. */
export interface SubmitOptions extends PickOptions {
  /** Milliseconds that it may wait; Infinity for no limit. Default: `config.flow.ttlMs`. */
  ttlMs?: number | undefined;
  /** The share of its flow relative to flows of the same priority. Default: 1. */
  weight?: number | undefined;
}

/** The attributes of a request that `acquire` waits for. */
export interface AcquireOptions extends PickOptions {
  /** The share of its flow relative to flows of the same priority. Default: 1. */
  weight?: number | undefined;
  /** Withdraws the request; the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds that it may wait; Infinity for no limit. Default: `config.flow.ttlMs`. With 0 it
   * is decided immediately, as by `pick`.
   */
  timeoutMs?: number | undefined;
  /** Whether it also waits while no endpoint accepts requests. Default: false. */
  waitForEndpoints?: boolean | undefined;
}

/**
 * A request as it came over HTTP, read in place: `pick`, `submit`, `acquire` and `explain` take it
 * instead of a prompt. Its headers override its body, and options override both. The subset header
 * is parsed (`readHeaders`) but not enforced.
 */
export interface HttpRequest {
  /** The body, as it came. */
  body: Uint8Array;
  /** Its path, which selects the API. Default: `'/v1/chat/completions'`. */
  path?: string | null | undefined;
  /** Its headers. They are the client's claims: see `allow`. */
  headers?: HeaderSource | null | undefined;
  /** The order of priorities in bodies: as in vLLM (`'low_first'`, the default) or SGLang. */
  priorityOrder?: 'low_first' | 'high_first' | null | undefined;
  /** Which claims of its client count, in body and headers. Default: none. */
  allow?: Allow | null | undefined;
}

/**
 * Which claims of clients about their own requests count: names, or an object from names to `true`
 * or a range. Values outside a range are clamped. Without a range, a priority is clamped to -100 to
 * 100, and a TTL or a deadline to one hour.
 */
export type Allow = readonly AllowName[] | AllowRanges;

/** The claims that a host can allow. */
export type AllowName = 'priority' | 'flow' | 'session' | 'ttl' | 'deadline' | 'objective';

/** Which claims count, and within which ranges. */
export interface AllowRanges {
  /** The lowest and the highest priority; higher goes first. */
  priority?: boolean | readonly [number, number] | null | undefined;
  /** The flow. */
  flow?: boolean | null | undefined;
  /** The objective, which an `Ingress` reads. */
  objective?: boolean | null | undefined;
  /** The session, from the body and from known headers. */
  session?: boolean | null | undefined;
  /** Further headers that carry a session id, in order of precedence. */
  sessionHeaders?: readonly string[] | null | undefined;
  /** The shortest and the longest TTL, in milliseconds. */
  ttlMs?: boolean | readonly [number, number] | null | undefined;
  /** The nearest and the furthest deadline, in milliseconds. */
  deadlineMs?: boolean | readonly [number, number] | null | undefined;
}

const PICK = {
  model: true,
  adapter: true,
  cacheSalt: true,
  priority: true,
  flow: true,
  session: true,
  deadline: true,
  sloTtftMs: true,
  sloTpotMs: true,
  expectedOutputTokens: true,
  cacheUse: true,
  continues: true,
  role: true,
  multimodal: true,
  streams: true,
  labels: true,
  pluginHeaders: true,
  exclude: true,
  subset: true,
  subsetPorts: true,
  now: true,
} satisfies FieldsOf<PickOptions>;

const SUBMIT = { ...PICK, ttlMs: true, weight: true } satisfies FieldsOf<SubmitOptions>;

const { ttlMs: _, ...WITHOUT_TTL } = SUBMIT;
const ACQUIRE = {
  ...WITHOUT_TTL, signal: true, timeoutMs: true, waitForEndpoints: true,
} satisfies FieldsOf<AcquireOptions>;

const REQUEST = {
  body: true,
  path: true,
  headers: true,
  priorityOrder: true,
  allow: true,
} satisfies FieldsOf<HttpRequest>;

const ALLOW = {
  priority: true,
  flow: true,
  session: true,
  sessionHeaders: true,
  ttlMs: true,
  deadlineMs: true,
  objective: true,
} satisfies FieldsOf<AllowRanges>;

/** Rejects unknown options. */
export function checkPick(options: PickOptions): void {
  checkFields('options', PICK, options);
}

/** Rejects unknown options. */
export function checkSubmit(options: SubmitOptions): void {
  checkFields('options', SUBMIT, options);
}

/** Rejects unknown options. */
export function checkAcquire(options: object): void {
  checkFields('options', ACQUIRE, options);
}

/** A request as the native module takes it: one argument for each field. */
export interface NativeRequest {
  readonly now: number;
  view: NativePrompt['view'];
  bytes: number;
  readonly model: string | undefined;
  readonly adapter: string | undefined;
  readonly cacheSalt: string | undefined;
  readonly session: string | undefined;
  readonly flow: string | undefined;
  readonly priority: number | undefined;
  readonly deadline: number | undefined;
  readonly expectedOutputTokens: number | undefined;
  rareOptions: RareOptions | undefined;
  /** What came with a body; its bytes are in the view. */
  body: BodyOptions | undefined;
}

/** What came with a body. */
interface BodyOptions {
  readonly path: string;
  readonly headers: string[] | undefined;
  readonly priorityOrder: string | undefined;
  readonly allow: NativeAllow | undefined;
}

/** The rare options, with what came with a body. */
export function allOptions({ rareOptions, body }: NativeRequest): RareOptions | undefined {
  return body === undefined ? rareOptions : { ...rareOptions, ...body };
}

/**
 * Converts a request. Nothing of the caller's runs between this and the native call. With
 * `overwritable`, text lies where the next call overwrites it.
 */
export function readRequest(
  prompt: Prompt | HttpRequest,
  options: PickOptions,
  now: number,
  overwritable: boolean,
): NativeRequest {
  const request: NativeRequest = {
    now,
    view: EMPTY,
    bytes: 0,
    model: optionalString('model', options.model),
    adapter: optionalString('adapter', options.adapter),
    cacheSalt: optionalString('cacheSalt', options.cacheSalt),
    session: optionalName('session', options.session),
    flow: optionalName('flow', options.flow),
    priority: optionalNumber('priority', options.priority),
    deadline: optionalNumber('deadline', options.deadline),
    expectedOutputTokens: optionalNumber('expectedOutputTokens', options.expectedOutputTokens),
    rareOptions: readRareOptions(options),
    body: undefined,
  };
  if (request.deadline !== undefined && request.deadline > now + ONE_DAY_MS) {
    throw rangeError(
      `deadline must be milliseconds on the scheduler's clock, as now is: ${request.deadline} is `
      + 'more than a day ahead. Pass performance.now() + 5_000, say, and not Date.now() + 5_000',
    );
  }
  if (typeof prompt === 'string' && overwritable) {
    request.view = scratch.write(prompt);
    request.bytes = scratch.written;
    return request;
  }
  if (isHttpRequest(prompt)) {
    checkFields('request', REQUEST, prompt);
    const { path, headers, priorityOrder, allow, body } = prompt;
    request.body = {
      path: optionalString('request.path', path) ?? '/v1/chat/completions',
      headers:
        headers === undefined || headers === null
          ? undefined
          : readHeaderList('request.headers', headers),
      priorityOrder: optionalString('request.priorityOrder', priorityOrder),
      allow: allow === undefined || allow === null ? undefined : readAllow(allow),
    };
    request.view = readWire('request.body', body);
    return request;
  }
  const { view, bytes, blockSize, tokens } = readPrompt(prompt);
  request.view = view;
  request.bytes = bytes;
  if (blockSize !== undefined) {
    request.rareOptions = { ...request.rareOptions, blockSize, tokens };
  }
  return request;
}

/** The options of few requests, in an object of their own: arguments cost less, but not unused. */
function readRareOptions(options: PickOptions): RareOptions | undefined {
  const { role, multimodal, streams, labels: required, exclude, subset, subsetPorts, cacheUse } = options;
  const { continues, sloTtftMs, sloTpotMs, pluginHeaders } = options;
  if (
    role === undefined && required === undefined && exclude === undefined
    && cacheUse === undefined && continues === undefined && subset === undefined
    && sloTtftMs === undefined && sloTpotMs === undefined && multimodal === undefined && streams === undefined
    && pluginHeaders === undefined
  ) {
    return undefined;
  }
  return {
    continues: optionalString('continues', continues),
    sloTtftMs: optionalNumber('sloTtftMs', sloTtftMs),
    sloTpotMs: optionalNumber('sloTpotMs', sloTpotMs),
    cacheUse: optionalString('cacheUse', cacheUse),
    role: optionalString('role', role),
    multimodal: optionalBoolean('multimodal', multimodal),
    streams: optionalBoolean('streams', streams),
    labels: readPairs('labels', required),
    pluginHeaders: readPairs('pluginHeaders', pluginHeaders),
    exclude: exclude === undefined || exclude === null ? undefined : numbers('exclude', exclude),
    subset: readSubset(subset),
    subsetPorts: optionalString('subsetPorts', subsetPorts),
  };
}

/** Names and values in turn. */
function readPairs(name: string, pairs: PickOptions['labels'] | null): string[] | undefined {
  return pairs === undefined || pairs === null ? undefined : labels(name, pairs).flat();
}

/** Ids, or a list of addresses as in the header. */
function readSubset(subset: PickOptions['subset'] | null): number[] | string | undefined {
  if (subset === undefined || subset === null) {
    return undefined;
  }
  if (typeof subset === 'string') {
    return subset;
  }
  const named = Array.isArray(subset) && typeof subset[0] === 'string';
  return named ? strings('subset', subset).join(',') : numbers('subset', subset);
}

/** The allowed claims, as the native module takes them. */
export function readAllow(allow: Allow): NativeAllow {
  if (Array.isArray(allow)) {
    return { names: strings('request.allow', allow) };
  }
  checkFields('request.allow', ALLOW, allow);
  const { sessionHeaders, ...ranges } = allow as AllowRanges;
  const native: NativeAllow = { names: [] };
  if (sessionHeaders !== undefined && sessionHeaders !== null) {
    native.sessionHeaders = strings('request.allow.sessionHeaders', sessionHeaders);
  }
  for (const [key, value] of Object.entries(ranges) as [keyof typeof ranges, unknown][]) {
    const path = `request.allow.${key}`;
    if (value === true) {
      native.names.push(key.replace(/Ms$/, ''));
    } else if (value !== undefined && value !== null && value !== false) {
      const hasRange = key !== 'flow' && key !== 'session' && key !== 'objective';
      if (!Array.isArray(value) || value.length !== 2 || !hasRange) {
        const expected = `a boolean${hasRange ? ' or a range of two numbers' : ''}`;
        throw typeError(`${path} must be ${expected}, got ${describe(value)}`);
      }
      const range = [number(`${path}[0]`, value[0]), number(`${path}[1]`, value[1])];
      native[key as 'priority' | 'ttlMs' | 'deadlineMs'] = range;
    }
  }
  return native;
}

function isHttpRequest(prompt: Prompt | HttpRequest): prompt is HttpRequest {
  return (
    typeof prompt === 'object' && prompt !== null && !ArrayBuffer.isView(prompt) && 'body' in prompt
  );
}

const EMPTY = new Uint8Array(0);
const scratch = new Scratch();

/** A deadline further ahead than this is on another clock: it would never be missed. */
const ONE_DAY_MS = 86_400_000;
