/** Four engines of a demonstration, on the loopback. They need no model and no GPU. */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { abortSignal, type Signal } from '../abort.js';
import { json, text, type Answer, type Incoming } from './answer.js';
import { answerOf, eventsOf, type Json, type Tokens } from './demo_answers.js';
import { Listener } from './listener.js';

/** The only model. */
const MODEL = 'demo';
/** Characters of a block of the prefix cache: 16 tokens. */
const BLOCK = 64;
/** Blocks that the cache holds. */
const BLOCKS = 4_096;
const MOST_BYTES = 2 ** 26;

/** How fast an engine is. */
export interface Speed {
  /** Milliseconds for each token. Default: 10. */
  readonly tokenMs?: number | undefined;
  /** Milliseconds for each block of a prompt. Default: 2. */
  readonly blockMs?: number | undefined;
}

/**
 * An engine that answers with the last message, one word at a time. It has a prefix cache: the part
 * of a prompt that is cached takes no time.
 */
export class DemoEngine {
  readonly #tokenMs: number;
  readonly #blockMs: number;
  readonly #cached = new Set<string>();
  #running = 0;

  constructor({ tokenMs = 10, blockMs = 2 }: Speed = {}) {
    this.#tokenMs = tokenMs;
    this.#blockMs = blockMs;
  }

  /** Answers a request. */
  readonly handle = async (incoming: Incoming): Promise<Answer> => {
    if (incoming.path === '/metrics') {
      return text(200, this.#page());
    }
    if (incoming.path === '/v1/models') {
      return json(200, { object: 'list', data: [{ id: MODEL, object: 'model' }] });
    }
    const body: Json = JSON.parse(Buffer.from(await incoming.read(MOST_BYTES)).toString());
    return this.#answer(incoming, body);
  };

  async #answer({ path, signal }: Incoming, body: Json): Promise<Answer> {
    this.#running += 1;
    const [blocks, cached] = this.#lookUp(body);
    await pause((blocks - cached) * this.#blockMs, signal);
    const prompt: Tokens = { prompt: blocks * 16, cached: cached * 16 };
    if (body['stream'] !== true) {
      this.#running -= 1;
      return json(200, answerOf(path, body, prompt));
    }
    const events = eventsOf(path, body, prompt);
    let first = true;
    let isRunning = true;
    const next = async () => {
      if (!first) {
        await pause(this.#tokenMs, signal);
      }
      first = false;
      const event = events.next();
      return event.done === true ? undefined : event.value;
    };
    const end = () => {
      this.#running -= Number(isRunning);
      isRunning = false;
    };
    return { status: 200, headers: [['content-type', 'text/event-stream']], body: { next, end } };
  }

  /** Blocks of the prompt, and those of them that were cached. Caches all. */
  #lookUp(body: Json): [blocks: number, cached: number] {
    const parts = ['system', 'instructions', 'messages', 'input', 'prompt'].map((name) => body[name]);
    const prompt = JSON.stringify(parts.filter((part) => part !== undefined && part !== null));
    const blocks: string[] = [];
    let chain = '';
    for (let end = BLOCK; end <= prompt.length; end += BLOCK) {
      chain = createHash('sha1').update(chain).update(prompt.slice(end - BLOCK, end)).digest('base64');
      blocks.push(chain);
    }
    const cached = blocks.filter((block) => this.#cached.has(block)).length;
    for (const block of blocks) {
      this.#cached.delete(block);
      this.#cached.add(block);
    }
    for (const oldest of this.#cached) {
      if (this.#cached.size <= BLOCKS) {
        break;
      }
      this.#cached.delete(oldest);
    }
    return [Math.max(1, blocks.length), cached];
  }

  /** A metrics page as vLLM's. */
  #page(): string {
    return (
      `vllm:num_requests_running{engine="0"} ${this.#running}\n`
      + 'vllm:num_requests_waiting{engine="0"} 0\n'
      + `vllm:kv_cache_usage_perc{engine="0"} ${this.#cached.size / BLOCKS}\n`
      + `vllm:cache_config_info{engine="0",block_size="16",num_gpu_blocks="${BLOCKS}"} 1.0\n`
    );
  }
}

/** Engines that run. */
export interface DemoEngines {
  readonly urls: string[];
  close(): Promise<void>;
}

/** Runs engines. */
export async function demoEngines(count = 4, speed: Speed = {}): Promise<DemoEngines> {
  const address = { host: '127.0.0.1', port: 0 };
  const listeners = Array.from({ length: count }, () => new Listener(address, new DemoEngine(speed).handle));
  const urls = await Promise.all(listeners.map((listener) => listener.start()));
  return {
    urls,
    async close() {
      await Promise.all(listeners.map((listener) => listener.close()));
    },
  };
}

/** The command that sends a first request. */
export function firstRequest(url: string): string {
  const body = JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: 'Hello' }] });
  return `try: curl ${url}/v1/chat/completions -d '${body}'`;
}

/** A pause that ends early if the client leaves. */
async function pause(ms: number, signal: Signal): Promise<void> {
  if (ms > 0) {
    await delay(ms, undefined, { signal: abortSignal(signal) }).catch(() => undefined);
  }
}
