/** Copies of requests for the pools of mirrors. A copy never delays a request, and never waits. */
import { Lease } from '../lease.js';
import type { Target } from '../routing.js';
import { headerOf } from './answer.js';
import { described, type Log } from './log.js';
import type { Pool } from './pools.js';
import type { Upstream } from './upstream.js';

/** Copies in flight. Further ones are dropped. */
const MOST = 256;

/** A copy of a request. */
export interface Copy {
  /** The mirror's pool. */
  readonly pool: Pool;
  /** The model and the adapter in that pool. */
  readonly target: Target;
  /** The body with the target's model. */
  readonly body: Uint8Array;
  /** The path of the API. */
  readonly path: string;
  /** The path and the query. */
  readonly url: string;
  /** The headers for the engine: names and values in turn. */
  readonly headers: readonly string[];
  /** The session of the request, if it has one. */
  readonly session: string | undefined;
}

/** What copies need of their gateway. */
interface Host {
  readonly upstream: Upstream;
  readonly settings: { readonly mirrorLimit: number; readonly log: Log };
}

/** The copies in flight. */
export class Mirrors {
  readonly #host: Host;
  readonly #copies = new Map<Promise<void>, AbortController>();
  /** Copies that were dropped, since their pool had no room. */
  dropped = 0;

  constructor(host: Host) {
    this.#host = host;
  }

  /** Copies in flight. */
  get size(): number {
    return this.#copies.size;
  }

  /** Sends a copy in the background, or drops it. */
  send(copy: Copy): void {
    if (this.#copies.size >= MOST) {
      this.dropped += 1;
      return;
    }
    const abort = new AbortController();
    const sent = this.#send(copy, abort).catch((error: unknown) => {
      this.#host.settings.log('info', `a copy for the pool ${copy.pool.name} failed: ${described(error)}`);
    });
    this.#copies.set(sent, abort);
    void sent.then(() => this.#copies.delete(sent));
  }

  /** Aborts the copies in flight. */
  async close(): Promise<void> {
    const copies = [...this.#copies];
    copies.forEach(([, abort]) => abort.abort());
    await Promise.all(copies.map(([sent]) => sent));
  }

  async #send(copy: Copy, abort: AbortController): Promise<void> {
    const lease = this.#pick(copy);
    if (lease === undefined) {
      this.dropped += 1;
      return;
    }
    try {
      // Its idle limit counts from here on, for the head of the answer, too.
      for await (const _ of lease.track(this.#chunks(copy, lease, abort.signal))) {
        // The answer is dropped as it comes.
      }
    } finally {
      abort.abort();
    }
  }

  /** The lease of a copy, if its pool has room for copies. */
  #pick({ pool, target, body, path, session }: Copy): Lease | undefined {
    const { scheduler } = pool;
    const adapted = target.adapter === null ? {} : { model: target.base, adapter: target.adapter };
    const limit = this.#host.settings.mirrorLimit;
    const dispatch = scheduler.pickMirror({ body, path }, { session, ...adapted }, { limit });
    return dispatch === undefined ? undefined : Lease.of(scheduler, dispatch);
  }

  async *#chunks(copy: Copy, lease: Lease, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { url, body, headers } = copy;
    const answer = await this.#host.upstream.post(lease.endpointName, url, body, headers, signal);
    try {
      lease.begin(answer.status, headerOf(answer, 'content-type'));
      for (let chunk = await answer.read(); chunk !== undefined; chunk = await answer.read()) {
        yield chunk;
      }
    } finally {
      answer.cancel();
    }
  }
}
