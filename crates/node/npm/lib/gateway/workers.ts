/**
 * Several processes that serve one port: the command with `--workers`.
 *
 * Each worker of `node:cluster` is a gateway of its own. They share the listening socket, and their
 * pools by sockets in a directory that only this user can read, or by the given `--peers`.
 *
 * | event | effect |
 * |---|---|
 * | a worker dies | it is started again with its name, which ends what its last start claimed |
 * | SIGTERM, SIGINT | all workers drain, and the command ends with them |
 * | SIGHUP | all workers apply the file of the configuration |
 * | the command is killed | its workers end, too |
 */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Backoff } from '../peers/transport.js';
import { defaultName } from '../peers/sharing.js';
import { configurationOf, type Options } from './arguments.js';
import { settingsOf } from './settings.js';

/** What a worker reports once it listens. */
interface Listening {
  readonly url: string;
  readonly adminUrl: string | null;
}

/** Milliseconds of life after which the next restart of a worker is immediate again. */
const STEADY_MS = 10_000;

/** Whether this process is a worker, started by `supervise`. */
export const isWorker = (): boolean => cluster.isWorker;

/** In a worker: reports that it listens. */
export function reportListening(listening: Listening): void {
  process.send?.(listening);
}

/**
 * Runs the workers of a command line until a signal stops them. Resolves to the exit code. Throws
 * for an invalid configuration.
 */
export async function supervise(options: Options, words: readonly string[]): Promise<number> {
  const settings = settingsOf(options.settings);
  const gates = configurationOf(options).gates as { readonly shared?: boolean } | null;
  if (gates !== null && gates.shared !== true) {
    settings.log('warning', 'each worker grants whole quotas: the gates are not `shared: true`');
  }
  const directory = settings.peers === null ? mkdtempSync(join(tmpdir(), 'slotwise-')) : null;
  try {
    return await new Workers(options, words, directory).run();
  } finally {
    if (directory !== null) {
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

/** The processes of a command line. */
class Workers {
  readonly #settings: ReturnType<typeof settingsOf>;
  readonly #count: number;
  readonly #reloads: boolean;
  readonly #words: readonly string[];
  readonly #name: string;
  readonly #stop = new AbortController();
  readonly #running = new Map<number, Worker>();
  readonly #listening = new Set<number>();
  /** Pages of workers, which follow the line of the command. */
  readonly #pages: string[] = [];
  #started = false;
  #code = 0;

  constructor({ settings, workers, config }: Options, words: readonly string[], directory: string | null) {
    this.#settings = settingsOf(settings);
    this.#count = workers;
    this.#reloads = config !== undefined;
    this.#words = directory === null ? words : [...words, '--peers', `unix:${directory}`];
    this.#name = settings.name ?? defaultName();
  }

  /** Runs until all workers have ended. Resolves to the exit code. */
  async run(): Promise<number> {
    process.on('SIGTERM', () => this.#end());
    process.on('SIGINT', () => this.#end());
    if (this.#reloads) {
      process.on('SIGHUP', () => this.#send('SIGHUP'));
    }
    await Promise.all(Array.from({ length: this.#count }, (_, number) => this.#keep(number)));
    return this.#code;
  }

  /** Runs a worker, and starts it again when it dies. */
  async #keep(number: number): Promise<void> {
    const { signal } = this.#stop;
    const backoff = new Backoff();
    while (!signal.aborted) {
      const begin = performance.now();
      const ended = await this.#live(number);
      if (signal.aborted) {
        this.#code ||= ended === 0 ? 0 : 1;
        return;
      }
      if (!this.#started) {
        // What prevents the first start prevents the next one, too.
        this.#code = 1;
        this.#end();
        return;
      }
      this.#settings.log('warning', `worker ${number} has ended with ${ended}: it is started again`);
      if (performance.now() - begin > STEADY_MS) {
        backoff.reset();
      }
      await backoff.wait(signal);
    }
  }

  /** One life of a worker. Resolves to its exit code, or to the signal that has killed it. */
  async #live(number: number): Promise<number | string> {
    const { admin } = this.#settings;
    const own = ['--gateway-name', `${this.#name}-${number}`];
    if (admin !== null) {
      // Each process has an admin page of its own.
      own.push('--admin', `[${admin.host}]:${admin.port === 0 ? 0 : admin.port + number}`);
    }
    cluster.setupPrimary({ args: [...this.#words, ...own] });
    const worker = cluster.fork();
    this.#running.set(number, worker);
    worker.on('message', (listening: Listening) => this.#listens(number, worker, listening));
    worker.on('error', (error) => this.#settings.log('warning', `worker ${number}: ${String(error)}`));
    if (this.#stop.signal.aborted) {
      worker.process.kill('SIGTERM');
    }
    const [code, signal] = (await once(worker.process, 'exit')) as [number | null, string | null];
    this.#running.delete(number);
    return code ?? signal ?? 1;
  }

  #listens(number: number, worker: Worker, { url, adminUrl }: Listening): void {
    this.#settings.log('info', `worker ${number} listens: process ${worker.process.pid}`);
    this.#listening.add(number);
    if (adminUrl !== null) {
      this.#pages.push(`admin page: ${adminUrl}`);
    }
    if (!this.#started && this.#listening.size === this.#count) {
      this.#started = true;
      process.stdout.write(`slotwise-gateway listens on ${url} with ${this.#count} workers\n`);
    }
    if (this.#started) {
      this.#pages.splice(0).forEach((line) => process.stdout.write(`${line}\n`));
    }
  }

  #end(): void {
    this.#stop.abort();
    this.#send('SIGTERM');
  }

  #send(signal: NodeJS.Signals): void {
    this.#running.forEach((worker) => worker.process.kill(signal));
  }
}
