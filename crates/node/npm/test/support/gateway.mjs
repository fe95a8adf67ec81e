// A gateway in front of engines of given manners, and a client, all in one event loop.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { request as httpRequest, Agent } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { Configuration } from 'slotwise/configuration';
import { Gateway } from 'slotwise/gateway';

export * from './engine.mjs';

export const CHAT = '/v1/chat/completions';
export const ASKED = { model: 'm', messages: [{ role: 'user', content: 'Say x.' }], stream: true };

/** The configuration of a gateway for one pool. */
export function onePool(pool, more = {}) {
  return { endpoints: pool.map(({ url }) => url), scheduler: { seed: 1 }, ...more };
}

/** The entry of a key, which is `sk-NAME`. */
export function key(name, access = {}) {
  return { name, sha256: createHash('sha256').update(`sk-${name}`).digest('hex'), ...access };
}

export const read = (configuration) => new Configuration(JSON.stringify(configuration), { name: 'test' });

/** Runs a gateway with this configuration. At the end of the test, nothing is in flight. */
export async function serving(context, configuration, settings = {}) {
  const log = [];
  // Scrapes would add requests that no test counts on.
  const gateway = new Gateway(read(configuration), {
    scrapeEveryMs: 3_600_000,
    connectTimeoutMs: 600_000,
    drainMs: 60_000,
    log: (level, message) => log.push(`${level} ${message}`),
    ...settings,
  });
  await gateway.start();
  const host = new Host(gateway, log);
  context.after(async () => {
    host.agent.destroy();
    await gateway.stop();
    assert.equal(gateway.openRequests, 0);
    for (const { scheduler } of gateway.pools) {
      assert.equal(scheduler.stats().inFlight + scheduler.queued, 0);
    }
  });
  return host;
}

/** The gateway and its client. */
export class Host {
  agent = new Agent({ keepAlive: true });

  constructor(gateway, log) {
    this.gateway = gateway;
    this.log = log;
  }

  /** Sends a request. Resolves with the response when its head has come. */
  post(asked = ASKED, { path = CHAT, key: name, headers = {}, base = this.gateway.url, method = 'POST', sent } = {}) {
    const body = typeof asked === 'string' || asked instanceof Uint8Array ? asked : JSON.stringify(asked);
    const all = { ...headers, ...(name ? { authorization: `Bearer sk-${name}` } : {}) };
    const request = httpRequest(base + path, { method, headers: all, agent: this.agent });
    sent?.(request);
    request.end(method === 'POST' ? body : undefined);
    return new Promise((resolve, reject) => {
      request.on('response', resolve);
      request.on('error', reject);
    });
  }

  /** The whole answer. */
  async whole(asked = ASKED, options = {}) {
    const response = await this.post(asked, options);
    const body = Buffer.concat(await response.toArray()).toString();
    return {
      status: response.statusCode,
      headers: response.headers,
      body,
      get json() {
        return JSON.parse(body);
      },
    };
  }

  get(path, options = {}) {
    return this.whole('', { path, method: 'GET', ...options });
  }

  stats(pool = 'default') {
    return this.scheduler(pool).stats();
  }

  scheduler(pool = 'default') {
    return this.gateway.pools.get(pool).scheduler;
  }
}

/** Passes control to the event loop until the condition holds. Has no time limit of its own. */
export async function until(condition) {
  while (!condition()) await setImmediate();
}
