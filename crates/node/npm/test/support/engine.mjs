// A model server for tests: it answers in one manner, well or badly, as an OpenAI server does.
import { once } from 'node:events';
import { createServer } from 'node:http';

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

/** What each manner sends, as in `python/tests/engines.py`. `null` waits for the gate. */
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

/** An engine that answers by its manner, which may change while it runs. A number is a status. */
export class Engine {
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
  const started = await Promise.all(manners.map((manner) => new Engine(manner).start()));
  context.after(() => Promise.all(started.map((engine) => engine.stop())));
  return started;
}

/** The text of an answer's stream. */
export async function textOf(stream) {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
  }
  return [...text.matchAll(/^data: (\{.*)$/gm)]
    .map(([, data]) => JSON.parse(data).choices?.[0].delta.content ?? '')
    .join('');
}
