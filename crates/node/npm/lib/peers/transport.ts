/** What carries messages between gateways, and what all transports have in common. */
import { setTimeout as delay } from 'node:timers/promises';

/** Takes one message of any gateway. It does not throw. */
export type Receive = (message: Uint8Array) => void;

/**
 * Carries messages to all gateways with the same channel.
 *
 * A transport may lose, repeat and reorder messages, and may return a gateway's own. It connects
 * again by itself, and it never throws because a connection is lost.
 */
export interface Transport {
  /** The largest message in bytes. */
  readonly maxMessage: number;
  /** Whether messages are carried now, as far as is known. */
  readonly connected: boolean;
  /** Messages that were not sent. */
  readonly dropped: number;
  /** Begins to connect. Resolves without waiting for a server. */
  start(receive: Receive): Promise<void>;
  /** Sends a message to all gateways, or drops it. */
  broadcast(message: Uint8Array): void;
  /** Sends what waits if it can be sent at once, and closes the connections. */
  close(): Promise<void>;
}

/**
 * Messages that wait to be sent. The oldest ones make room for new ones: a newer message of a
 * gateway has the current loads, and receivers ask for what they miss.
 */
export class Outbox {
  /** Messages that were not sent. */
  dropped = 0;
  readonly #waiting: Uint8Array[] = [];
  readonly #limit: number;
  #wake: (() => void) | null = null;

  constructor(limit = 64) {
    this.#limit = limit;
  }

  /** Adds a message. */
  add(message: Uint8Array): void {
    this.#waiting.push(message);
    if (this.#waiting.length > this.#limit) {
      this.#waiting.shift();
      this.dropped += 1;
    }
    this.#wake?.();
  }

  /** The oldest message, if any. */
  take(): Uint8Array | undefined {
    return this.#waiting.shift();
  }

  /** Waits for the oldest message; undefined once the signal is aborted. */
  async next(signal: AbortSignal): Promise<Uint8Array | undefined> {
    while (!signal.aborted) {
      const message = this.take();
      if (message !== undefined) {
        return message;
      }
      await new Promise<void>((resolve) => {
        // The signal lives as long as the connection, so no listener may stay on it.
        const done = (): void => {
          this.#wake = null;
          signal.removeEventListener('abort', done);
          resolve();
        };
        this.#wake = done;
        signal.addEventListener('abort', done);
      });
    }
    return undefined;
  }
}

/** Waits before another attempt to connect: twice as long after each failure, with jitter. */
export class Backoff {
  readonly #firstMs: number;
  readonly #mostMs: number;
  #failures = 0;

  constructor(firstMs = 50, mostMs = 2_000) {
    this.#firstMs = firstMs;
    this.#mostMs = mostMs;
  }

  /** The connection works. */
  reset(): void {
    this.#failures = 0;
  }

  /** Waits after a failure, or until the signal is aborted. */
  async wait(signal: AbortSignal): Promise<void> {
    const ms = Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    // Gateways that lose one server at once do not come back at once.
    await pause(ms * (0.5 + Math.random() / 2), signal);
  }
}

/** Waits, or until the signal is aborted. The process may end meanwhile. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
}

/** The value, or an error if it takes longer. */
export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms} ms`)), ms).unref();
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Loads an optional package. */
export async function optional<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new Error(`the package ${name} is needed: npm install ${name}`, { cause });
  }
}
