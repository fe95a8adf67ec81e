/**
 * Messages by sockets in a directory: the processes of one host need no server.
 *
 * Each process listens on a stream socket in the directory, and connects to those of all others. A
 * message is its length in 4 bytes, the most significant first, and its bytes. The Python package
 * does the same, so both share a directory.
 */
import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { rangeError } from '../errors.js';
import { pause, type Receive, type Transport } from './transport.js';

/** The options of a transport by sockets. */
export interface UnixTransportOptions {
  /** Processes with the same channel receive each other's messages. Default: `default`. */
  channel?: string | undefined;
  /** Milliseconds between two looks for new processes. Default: 1,000. */
  lookEveryMs?: number | undefined;
}

/** A directory with the sockets of a channel. */
export class UnixTransport implements Transport {
  /** The largest message in bytes. */
  readonly maxMessage = 2 ** 22;
  /** Messages that were not sent to one of the processes. */
  dropped = 0;
  readonly #folder: string;
  readonly #name = `${process.pid}-${randomBytes(4).toString('hex')}.sock`;
  readonly #lookEveryMs: number;
  readonly #stop = new AbortController();
  readonly #others = new Map<string, Socket>();
  readonly #accepted = new Set<Socket>();
  #wanted = new AbortController();
  #server: Server | undefined;

  /** Listens at `start`. Throws a `RangeError` if the directory's path is too long for a socket. */
  constructor(directory: string, { channel = 'default', lookEveryMs = 1_000 }: UnixTransportOptions = {}) {
    this.#folder = join(directory, `channel-${encodeURIComponent(channel)}`);
    this.#lookEveryMs = lookEveryMs;
    const path = join(this.#folder, this.#name);
    if (Buffer.byteLength(path) > LONGEST_PATH) {
      throw rangeError(`the path ${path} of a socket must have at most ${LONGEST_PATH} bytes: use a shorter directory`);
    }
  }

  /** Whether this process can be reached by others. */
  get connected(): boolean {
    return this.#server?.listening ?? false;
  }

  /** Listens, and connects to all processes that listen now. */
  async start(receive: Receive): Promise<void> {
    await mkdir(this.#folder, { mode: 0o700, recursive: true });
    const server = createServer((socket) => this.#accept(socket, receive));
    this.#server = server;
    // The socket gets its name once it listens: another process would remove it before.
    const hidden = join(this.#folder, this.#name.replace('.sock', '.new'));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(hidden, resolve);
    });
    server.unref();
    server.on('error', () => {});
    await rename(hidden, join(this.#folder, this.#name));
    await this.#find();
    void this.#watch();
  }

  /** Sends a message to each process, unless too many bytes wait for it. */
  broadcast(message: Uint8Array): void {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(message.length);
    for (const socket of this.#others.values()) {
      if (socket.writableLength > MOST_WAITING) {
        this.dropped += 1;
      } else {
        socket.write(Buffer.concat([length, message]));
      }
    }
  }

  /** Closes the connections, after what waits was sent, and removes the socket. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wanted.abort();
    await rm(join(this.#folder, this.#name), { force: true });
    this.#server?.close();
    const ended = [...this.#others.values()].map((socket) =>
      new Promise<void>((resolve) => {
        socket.once('close', () => resolve());
        socket.end(() => socket.destroy());
      }));
    this.#accepted.forEach((socket) => socket.destroy());
    await Promise.race([Promise.all(ended), pause(CLOSE_MS)]);
    this.#others.forEach((socket) => socket.destroy());
  }

  async #watch(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await pause(this.#lookEveryMs, this.#wanted.signal);
      this.#wanted = new AbortController();
      try {
        await this.#find();
      } catch {
        // A directory that cannot be listed now may be listed later.
      }
    }
  }

  /** Connects to processes that are new, and removes sockets without a listener. */
  async #find(): Promise<void> {
    const names = await readdir(this.#folder);
    const others = names.filter((name) => name.endsWith('.sock') && name !== this.#name && !this.#others.has(name));
    await Promise.all(others.map((name) => this.#reach(name)));
  }

  #reach(name: string): Promise<void> {
    const path = join(this.#folder, name);
    const socket = connect(path);
    return new Promise((resolve) => {
      socket.once('connect', () => {
        if (this.#stop.signal.aborted || this.#others.has(name)) {
          socket.destroy();
          return resolve();
        }
        socket.unref();
        this.#others.set(name, socket);
        resolve();
      });
      socket.on('error', (error) => {
        // Its process was killed. Names are never used twice.
        if ('code' in error && error.code === 'ECONNREFUSED') {
          rmSync(path, { force: true });
        }
        resolve();
      });
      socket.on('close', () => {
        if (this.#others.get(name) === socket) {
          this.#others.delete(name);
        }
        resolve();
      });
      // Nothing comes this way, but only what is read shows the end.
      socket.resume();
    });
  }

  #accept(socket: Socket, receive: Receive): void {
    // A process that connects is new here.
    this.#wanted.abort();
    socket.unref();
    this.#accepted.add(socket);
    const frames = new Frames(this.maxMessage, receive);
    socket.on('data', (chunk) => frames.feed(chunk) || socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => this.#accepted.delete(socket));
  }
}

/** Cuts a stream into messages. */
class Frames {
  readonly #most: number;
  readonly #receive: Receive;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(most: number, receive: Receive) {
    this.#most = most;
    this.#receive = receive;
  }

  /** Takes bytes. Returns whether they are messages of a valid length. */
  feed(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= 4) {
      const first = this.#chunks[0] as Buffer;
      const whole = first.length >= 4 ? first : this.#joined();
      const wanted = 4 + whole.readUInt32BE();
      if (wanted > 4 + this.#most) {
        return false;
      }
      if (this.#length < wanted) {
        break;
      }
      const bytes = this.#joined();
      this.#chunks = bytes.length > wanted ? [bytes.subarray(wanted)] : [];
      this.#length -= wanted;
      this.#receive(bytes.subarray(4, wanted));
    }
    return true;
  }

  #joined(): Buffer {
    const bytes = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#chunks = [bytes];
    return bytes;
  }
}

/**
 * The key that the processes of a directory share. The first one to ask makes it. Only this user
 * can read the file, as only this user can reach the sockets.
 */
export function keyOf(directory: string): Uint8Array {
  mkdirSync(directory, { mode: 0o700, recursive: true });
  const path = join(directory, 'key');
  const hidden = join(directory, `key.${process.pid}-${randomBytes(4).toString('hex')}`);
  writeFileSync(hidden, randomBytes(32).toString('hex'), { mode: 0o600, flag: 'wx' });
  try {
    // A link is made whole or not at all: all processes read one key.
    linkSync(hidden, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw error;
    }
  } finally {
    rmSync(hidden);
  }
  return Buffer.from(readFileSync(path, 'utf8').trim());
}

/** Bytes of a socket's path that every system accepts. */
const LONGEST_PATH = 100;
/** Bytes that wait for one process. It gets no further message until they are fewer. */
const MOST_WAITING = 2 ** 23;
/** Milliseconds for what waits at the end. */
const CLOSE_MS = 1_000;
