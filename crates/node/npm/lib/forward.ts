/**
 * One request, from its body to the response that its client gets.
 *
 * ```text
 * acquire ──► send ──► look ahead to the first token ──► response: the rest is streamed
 *    ▲         │ unreachable, refused, failed, broken off or timed out
 *    └─────────┘ another endpoint, while nothing has been sent to the client
 * ```
 */
import { idleLimit } from '../native/index.js';
import { guarded, RejectedError } from './errors.js';
import type { Lease } from './lease.js';
import type { AcquireOptions, HttpRequest } from './request.js';
import type { Outcome } from './response.js';
import type { Scheduler } from './scheduler.js';
import { refusal } from './wire.js';

/**
 * Sends the request to one endpoint, given its name, a URL. Resolves with the engine's response
 * once its headers arrive; rejects if the endpoint is unreachable. `fetch` with `redirect:
 * 'manual'` is such a function. The signal aborts when the client disconnects, or when no token
 * arrives in time.
 */
export type Send = (url: string, signal: AbortSignal) => Promise<Response>;

/** How a request is served. */
export interface ForwardOptions extends AcquireOptions {
  /** Maximum number of endpoints to try. Default: 3. */
  attempts?: number | undefined;
}

/** The result of one attempt at an endpoint. */
interface Attempt {
  /** What the client gets, if it is to get something of it. */
  readonly response: Response | null;
  /** Whether no other endpoint is asked. */
  readonly final: boolean;
}

/** The beginning of an answer. */
interface Beginning {
  readonly held: Uint8Array[];
  /** How it ended, if it has not begun before its end. */
  readonly outcome: Outcome | null;
}

/** See `Scheduler.forward`. */
export async function forward(
  scheduler: Scheduler,
  send: Send,
  request: HttpRequest,
  options: ForwardOptions,
): Promise<Response> {
  const { attempts = 3, exclude = [], ...others } = options;
  const tried = [...exclude];
  const shape = request.path?.endsWith('/messages') ? 'anthropic' : 'openai';
  let refused: Response | null = null;
  for (let attempt = 0; attempt < Math.max(attempts, 1); attempt += 1) {
    let lease: Lease;
    try {
      lease = await scheduler.acquire(request, { ...others, exclude: tried });
    } catch (error) {
      if (!(error instanceof RejectedError)) {
        throw error;
      }
      return refused ?? fromRefusal(refusal(error, { shape }));
    }
    const { response, final } = await ask(lease, send, options.signal);
    if (final && response !== null) {
      return response;
    }
    refused = response ?? refused;
    tried.push(lease.endpointId);
  }
  return refused ?? fromRefusal(refusal('no_endpoints', { shape, retryAfterMs: 1_000 }));
}

async function ask(lease: Lease, send: Send, signal: AbortSignal | undefined): Promise<Attempt> {
  const idle = new AbortController();
  const timer = setTimeout(() => idle.abort(), Math.min(idleLimitMs(lease.dispatch.firstTokenIn), LONGEST_TIMER));
  const ended = signal === undefined ? idle.signal : AbortSignal.any([signal, idle.signal]);
  let answer: Response | undefined;
  let beginning: Beginning;
  try {
    answer = await send(lease.endpointName, ended);
    lease.begin(answer.status, answer.headers.get('content-type'));
    beginning = await lookAhead(lease, answer.body, ended);
  } catch (error) {
    // Of an answer that a failed attempt leaves behind, nothing is read any more.
    void answer?.body?.cancel().catch(() => undefined);
    if (signal?.aborted) {
      lease.cancel();
      throw error;
    }
    lease.fail(idle.signal.aborted ? 'timeout' : 'unreachable');
    return { response: null, final: false };
  } finally {
    clearTimeout(timer);
  }
  const { held, outcome } = beginning;
  if (outcome === null) {
    const rest = lease.track(answer.body as ReadableStream<Uint8Array>);
    return { response: passedOn(answer, resumed(held, rest)), final: true };
  }
  const final = outcome.retry !== 'if_nothing_sent';
  // What began as an answer and is none must not reach the client as one.
  const whole = final || (!answer.ok && outcome.end !== 'cut');
  return { response: whole ? passedOn(answer, resumed(held, null)) : null, final };
}

/** Holds chunks back until the answer has begun, or is at its end, which settles the lease. */
async function lookAhead(
  lease: Lease,
  body: ReadableStream<Uint8Array> | null,
  signal: AbortSignal,
): Promise<Beginning> {
  const held: Uint8Array[] = [];
  const reader = body?.getReader();
  for (let size = 0; size < LOOK_AHEAD && !lease.reader?.begun; ) {
    let step: { done: boolean; value?: Uint8Array | undefined };
    try {
      step = (await reader?.read()) ?? { done: true };
    } catch (error) {
      if (signal.aborted) {
        throw error;
      }
      return { held, outcome: lease.finish('broken') };
    }
    if (step.done || step.value === undefined) {
      return { held, outcome: lease.finish('clean') };
    }
    lease.feed(step.value);
    held.push(step.value);
    size += step.value.byteLength;
  }
  reader?.releaseLock();
  return { held, outcome: null };
}

/** What was held back, then the rest as it is asked for. */
function resumed(held: readonly Uint8Array[], rest: ReadableStream<Uint8Array> | null): ReadableStream<Uint8Array> {
  const source = rest?.getReader();
  let next = 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const chunk = held[next++] ?? (await source?.read())?.value;
        if (chunk === undefined) {
          controller.close();
        } else {
          controller.enqueue(chunk);
        }
      },
      cancel: (reason) => source?.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/**
 * The engine's answer for the client, without the headers of the connection between gateway and
 * engine.
 */
function passedOn(answer: Response, body: ReadableStream<Uint8Array>): Response {
  const headers = new Headers();
  for (const name of PASSED_ON) {
    const value = answer.headers.get(name);
    if (value !== null) {
      headers.set(name, value);
    }
  }
  const { status } = answer;
  return new Response(BODILESS.includes(status) ? null : body, { status, headers });
}

function fromRefusal({ status, headers, body }: ReturnType<typeof refusal>): Response {
  return new Response(body, { status, headers });
}

/** How long an endpoint may be silent before its first token. */
const idleLimitMs = (firstTokenIn: number): number => guarded(() => idleLimit(firstTokenIn, false));

/** Maximum bytes of an answer that are held back while another endpoint may still be tried. */
const LOOK_AHEAD = 65_536;
/** Milliseconds that a timer can count. */
const LONGEST_TIMER = 2 ** 31 - 1;
const PASSED_ON = ['content-type', 'retry-after', 'retry-after-ms'];
/** Statuses whose responses have no body. */
const BODILESS = [204, 205, 304];
