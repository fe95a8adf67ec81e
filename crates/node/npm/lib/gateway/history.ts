/** The last decisions, for the admin page. */
import type { HttpRequest, PickOptions } from '../request.js';
import type { Scheduler } from '../scheduler.js';
import type { Dispatch } from '../values.js';

/** Decisions that are kept. */
const KEPT = 64;
/** Milliseconds after a look at the page during which decisions are explained. */
const WATCHED = 15_000;
/** Characters of a client's text that are kept. */
const LONGEST = 200;

/** One request whose answer has begun, or that was refused. */
export interface Recorded {
  /** The pool that was asked last. */
  readonly pool: string;
  /** The model as the client names it. */
  readonly model: string;
  /** The name of the client's key. */
  readonly caller: string;
  /** The status of the reply. */
  readonly status: number;
  /** The decision, if an endpoint answers. */
  readonly dispatch: Dispatch | undefined;
  /** The cost of every endpoint at the decision, as a table. */
  readonly explanation: string | null;
}

/** A decision as the page reads it. */
export interface Decision {
  /** Counts from 1. */
  readonly number: number;
  readonly pool: string;
  readonly model: string;
  readonly caller: string;
  readonly status: number;
  /** The endpoint that answers, if any. */
  readonly endpoint: string | null;
  /** Tokens of the prompt: counted, or estimated from text. */
  readonly prompt_tokens: number | null;
  /** Prompt tokens that were expected in the endpoint's cache. */
  readonly cached_tokens: number | null;
  /** Seconds in the queue. */
  readonly queue_time: number | null;
  /** Seconds to the first token, as predicted. */
  readonly predicted_ttft: number | null;
  readonly explanation: string | null;
}

/** The last decisions. Explains them only while an admin page is open: that costs a decision. */
export class History {
  readonly #enabled: boolean;
  readonly #decisions: Decision[] = [];
  #watchedUntil = 0;
  #count = 0;

  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  /** A page is open: explains the next decisions. */
  watch(): void {
    this.#watchedUntil = performance.now() + WATCHED;
  }

  /** The decision that the scheduler is about to make, if a page is open. */
  explain(scheduler: Scheduler, request: HttpRequest, options: PickOptions): string | null {
    if (!this.#enabled || performance.now() > this.#watchedUntil) {
      return null;
    }
    const { priority, flow, model, adapter } = options;
    return scheduler.explain(request, { priority, flow, model, adapter }).table;
  }

  /** Keeps a decision, in the place of the oldest one. */
  record({ pool, model, caller, status, dispatch, explanation }: Recorded): void {
    if (!this.#enabled) {
      return;
    }
    this.#count += 1;
    this.#decisions.unshift({
      number: this.#count,
      pool,
      model: model.slice(0, LONGEST),
      caller,
      status,
      endpoint: dispatch?.endpointName ?? null,
      prompt_tokens: dispatch?.promptTokens ?? null,
      cached_tokens: dispatch?.cachedTokens ?? null,
      queue_time: dispatch === undefined ? null : dispatch.queueTimeMs / 1_000,
      predicted_ttft: dispatch?.predictedTtft ?? null,
      explanation,
    });
    this.#decisions.length = Math.min(this.#decisions.length, KEPT);
  }

  /** The decisions, newest first. */
  report(): readonly Decision[] {
    return this.#decisions;
  }
}
