// A gateway in front of engines of given manners, and a client, all in one event loop.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request as httpRequest, Agent } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { Configuration } from 'slotwise/configuration';
import { Gateway } from 'slotwise/gateway';

export const EVENT = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n';
export const DONE = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';
export const ERROR_EVENT = 'data: {"error":{"message":"the engine died","code":500}}\n\n';
/** The last event of a stream that breaks off, as gateways add it. */
export const CUT_EVENT =
  'data: {"error":{"message":"the engine failed before the end of the answer",'
  + '"type":"server_error","param":null,"code":"engine_failed"}}\n\n';
export const REFUSED_EVENT = 'data: {"error":{"message":"bad request","code":400}}\n\n';
export const PREFILLED = {
  choices: [{ message: { content: 'x' }, finish_reason: 'length' }],
  kv_transfer_params: { remote_port: 7 },
};
export const WHOLE = EVENT + EVENT + DONE;
export const CHAT = '/v1/chat/completions';
export const ASKED = { model: 'm', messages: [{ role: 'user', content: 'Say x.' }], stream: true };

/** The manners of `python/tests/engines.py`. `null` waits for the gate. */
const MANNERS = {
  good: [EVENT, EVENT, DONE],
  empty: [],
  breaks: [EVENT],
  within: [EVENT, EVENT.slice(0, 9)],
  dies: [],
  error: [EVENT, ERROR_EVENT],
  fails: [ERROR_EVENT],
  refuses: [REFUSED_EVENT],
  silent: [null],
  slow: [EVENT, null, EVENT, DONE],
  late: [null, EVENT, EVENT, DONE],
};
const PAGE =
  'vllm:num_requests_running{engine="0"} 0\nvllm:num_requests_waiting{engine="0"} 0\n'
  + 'vllm:kv_cache_usage_perc{engine="0"} 0.0\n'
  + 'vllm:cache_config_info{engine="0",block_size="16",num_gpu_blocks="32768"} 1.0\n';

/** An engine that answers by its manner, which may change while it runs. */
export class GatedEngine {
  bodies = [];
  headers = [];
  targets = [];
  scrapes = 0;
  probes = 0;
  probeStatus = 200;
  held = 0;
  #opened = false;
  #waiting = [];
  #server = createServer((request, response) => this.#answer(request, response));

  constructor(manner = 'good') {
    this.manner = manner;
  }

  get asked() {
    return this.bodies.length;
  }

  async start() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  /** Refuses new connections, and breaks open ones. */
  async stop() {
    if (this.#server.listening) {
      this.#server.close();
      this.#server.closeAllConnections();
      await once(this.#server, 'close');
    }
  }

  /** Lets what waits and what comes pass the gate. */
  open() {
    this.#opened = true;
    this.#waiting.splice(0).forEach((go) => go());
  }

  async #answer(request, response) {
    if (request.method === 'GET') {
      const isPage = request.url === '/metrics';
      this.scrapes += Number(isPage);
      this.probes += Number(request.url === '/checked');
      response.writeHead(isPage ? 200 : request.url === '/checked' ? this.probeStatus : 404).end(isPage ? PAGE : '');
      return;
    }
    const body = Buffer.concat(await request.toArray().catch(() => []));
    this.headers.push(request.headers);
    this.targets.push(request.url);
    this.bodies.push(body.toString());
    const { manner } = this;
    if (typeof manner === 'number') {
      const error = JSON.stringify({ error: { message: `status ${manner}`, code: manner } });
      response.writeHead(manner, { 'content-type': 'application/json' }).end(error);
      return;
    }
    if (manner === 'prefill') {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(PREFILLED));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    for (const part of MANNERS[manner]) {
      if (part === null) await this.#gate(response);
      else await new Promise((written) => response.write(part, written));
    }
    if (['breaks', 'within', 'dies'].includes(manner)) response.destroy();
    else response.end();
  }

  async #gate(response) {
    this.held += 1;
    const left = once(response, 'close').catch(() => {});
    if (!this.#opened) await Promise.race([new Promise((go) => this.#waiting.push(go)), left]);
    this.held -= 1;
  }
}

/** Runs engines of these manners until the test ends. */
export async function engines(context, ...manners) {
  const started = await Promise.all(manners.map((manner) => new GatedEngine(manner).start()));
  context.after(() => Promise.all(started.map((engine) => engine.stop())));
  return started;
}

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
