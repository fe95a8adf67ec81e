/** Another configuration while requests are in flight: when the file changes, and on SIGHUP. */
import { readFileSync } from 'node:fs';
import { Configuration } from '../configuration.js';
import type { Gateway } from './gateway.js';
import { reasonOf } from './listener.js';

/** Milliseconds between two looks at the file. */
const WATCH_EVERY = 1_000;

/**
 * The file of a gateway's configuration.
 *
 * A change is another text than the one that was read last, at first by the gateway itself. So a
 * change while the gateway starts is one, and so is a link that was moved, as in Kubernetes.
 */
export class Reloading {
  readonly #gateway: Gateway;
  readonly #path: string;
  #seen: string | null;
  #watching: NodeJS.Timeout | undefined;

  constructor(gateway: Gateway, path: string) {
    this.#gateway = gateway;
    this.#path = path;
    this.#seen = gateway.configuration.source;
  }

  /**
   * Reads the file and applies it. Returns whether it was applied. A file that cannot be read, is
   * invalid or cannot be applied changes nothing. The reason is logged, and is in
   * `Gateway.reloadError`.
   */
  reload(): boolean {
    return this.#apply(this.#read());
  }

  /** Reloads the file if it has changed. Returns whether another file was applied. */
  poll(): boolean {
    const seen = this.#seen;
    const read = this.#read();
    return this.#seen !== seen && this.#apply(read);
  }

  /** Polls the file until `stop`. */
  watch(): void {
    this.#watching = setInterval(() => this.poll(), WATCH_EVERY);
  }

  /** Polls it no more. */
  stop(): void {
    clearInterval(this.#watching);
  }

  /** The text of the file, from which further changes count, or why it cannot be read. */
  #read(): string | Error {
    try {
      this.#seen = readConfiguration(this.#path);
      return this.#seen;
    } catch (error) {
      this.#seen = null;
      return error as Error;
    }
  }

  #apply(read: string | Error): boolean {
    const { log } = this.#gateway.settings;
    try {
      if (read instanceof Error) {
        throw read;
      }
      const configuration = new Configuration(read, { name: this.#path });
      const changes = this.#gateway.configuration.diff(configuration);
      this.#gateway.apply(configuration);
      const listed = changes.map(({ path, before, after }) => `${path}: ${before ?? 'default'} -> ${after ?? 'default'}`);
      log('info', `${this.#path} is applied: ${listed.join('; ') || 'no change'}`);
    } catch (error) {
      const { message } = error as Error;
      this.#gateway.reloadError = message;
      log('error', `${this.#path} is not applied: ${message}`);
      return false;
    }
    this.#gateway.reloadError = null;
    return true;
  }
}

/** The text of a file. What is wrong with it is a `TypeError`. */
export function readConfiguration(path: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new TypeError(`${path} cannot be read: ${reasonOf(error)}`);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new TypeError(`${path} cannot be read: it is not UTF-8`);
  }
}
