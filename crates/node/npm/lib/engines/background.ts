/**
 * Work in the background, from its start until `close`, in general and for each endpoint.
 *
 * All waits go through `Sleep`, whose timers keep no process alive.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LONGEST_TIMER_MS } from '../clock.js';
import { UnknownEndpointError, rangeError } from '../errors.js';
import type { Endpoints } from '../endpoints.js';
import { Members } from './members.js';

/** Waits for so many milliseconds. Rejects once the signal aborts. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<unknown>;

/** Where helpers report what happens to engines: `console` is such a log. */
export interface Log {
  info(message: string): void;
  warn(message: string): void;
  error(message: string, error: unknown): void;
}

/** Options that all helpers have. */
export interface BackgroundOptions {
  /** Default: `console` without `info`. */
  log?: Log | undefined;
  /** Replaces timers in tests. Default: timers that keep no process alive. */
  sleep?: Sleep | undefined;
}

/** Warnings and errors. */
export const defaultLog: Log = {
  info: () => undefined,
  warn: (message) => console.warn(`slotwise: ${message}`),
  error: (message, error) => console.error(`slotwise: ${message}`, error),
};

/** By timers that keep no process alive. */
export const defaultSleep: Sleep = (ms, signal) =>
  delay(Math.min(Math.max(ms, 0), LONGEST_TIMER_MS), undefined, { signal, ref: false });

/** One piece of work in the background. */
export interface Task {
  /** Ends the work. */
  cancel(): void;
  /** Whether `cancel` was called. */
  readonly cancelled: boolean;
  /** Resolves when the work has ended, in whatever way. */
  readonly ended: Promise<void>;
}

/** Tasks that run until `close`. A task that fails is logged. */
export abstract class Background {
  /** @internal */
  protected readonly log: Log;
  /** @internal */
  protected readonly sleep: Sleep;
  readonly #tasks = new Set<Task>();
  #closed = false;

  /** @internal */
  protected constructor({ log = defaultLog, sleep = defaultSleep }: BackgroundOptions) {
    this.log = log;
    this.sleep = sleep;
  }

  /** Ends the work, and resolves when all of it has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    const tasks = [...this.#tasks];
    tasks.forEach((task) => task.cancel());
    await Promise.all(tasks.map(({ ended }) => ended));
  }

  /** `close`, at the end of a block of `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal Runs until it ends, or until its signal aborts. */
  protected spawn(name: string, work: (signal: AbortSignal) => Promise<void>): Task {
    const abort = new AbortController();
    const { signal } = abort;
    const cancel = () => abort.abort();
    if (this.#closed) {
      cancel();
    }
    const ended = new Promise<void>((resolve) => queueMicrotask(resolve))
      .then(() => work(signal))
      .catch((error: unknown) => {
        if (!signal.aborted) {
          this.log.error(`${name} failed`, error);
        }
      })
      .finally(() => this.#tasks.delete(task));
    const task: Task = {
      cancel,
      get cancelled() {
        return signal.aborted;
      },
      ended,
    };
    this.#tasks.add(task);
    return task;
  }
}

/**
 * One task for each endpoint of a scheduler, from its addition to its removal.
 *
 * Endpoints that other code adds and removes are found within `everyMs`. A look costs **O(1)**
 * while they stay. A task that fails starts again at the next look.
 */
export abstract class Followers extends Background {
  readonly #everyMs: number;
  readonly #members: Members;
  readonly #followers = new Map<number, Task>();
  /** Endpoints whose task has ended, though they may be in the pool. */
  readonly #stopped = new Set<number>();

  /** @internal */
  protected constructor(scheduler: Endpoints, everyMs: number, options: BackgroundOptions) {
    super(options);
    this.#everyMs = everyMs;
    this.#members = new Members(scheduler);
  }

  /** @internal Called at the end of the constructor of each subclass. */
  protected start(): void {
    this.#look();
    this.spawn(this.constructor.name, async (signal) => {
      for (;;) {
        await this.sleep(this.#everyMs, signal);
        try {
          this.#look();
        } catch (error) {
          this.log.error('the endpoints cannot be listed', error);
        }
      }
    });
  }

  /** @internal The work for one endpoint. */
  protected abstract follow(id: number, name: string, signal: AbortSignal): Promise<void>;

  /** Starts a task for each new endpoint, and ends those of removed endpoints. */
  #look(): void {
    const { joined, left } = this.#members.look();
    for (const id of left.keys()) {
      this.#followers.get(id)?.cancel();
      this.#followers.delete(id);
    }
    for (const id of this.#stopped) {
      const name = this.#members.names.get(id);
      if (name !== undefined) {
        joined.set(id, name);
      }
    }
    this.#stopped.clear();
    for (const [id, name] of joined) {
      const work = async (signal: AbortSignal) => {
        try {
          await this.follow(id, name, signal);
        } catch (error) {
          // It may have been removed since the last look.
          if (!(error instanceof UnknownEndpointError)) {
            throw error;
          }
        }
      };
      const task = this.spawn(`${this.constructor.name} of ${name}`, work);
      this.#followers.set(id, task);
      void task.ended.then(() => {
        if (this.#followers.get(id) === task) {
          this.#stopped.add(id);
        }
      });
    }
  }
}

/**
 * What `work` resolves to, or undefined once the limit has passed or the signal has aborted. The
 * signal of the work aborts then; work that ignores it is left alone.
 */
export async function limited<T>(
  work: (signal: AbortSignal) => Promise<T>,
  limitMs: number,
  sleep: Sleep,
  signal: AbortSignal,
): Promise<{ value: T } | undefined> {
  signal.throwIfAborted();
  const abort = new AbortController();
  const cancel = () => abort.abort();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const value = work(abort.signal).then((value) => ({ value }));
    const late = sleep(limitMs, abort.signal).then(() => undefined);
    return await Promise.race([value, late]);
  } finally {
    signal.removeEventListener('abort', cancel);
    cancel();
  }
}

/** Rejects a duration that is not above 0. */
export function checkAboveZero(durations: { readonly [name: string]: number }): void {
  for (const [name, ms] of Object.entries(durations)) {
    if (!(ms > 0)) {
      throw rangeError(`${name} must be above 0, got ${ms}`);
    }
  }
}
