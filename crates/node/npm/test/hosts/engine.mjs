// A fake model server with the APIs of OpenAI and of Anthropic, in streams and in whole bodies.
import { createServer } from 'node:http';
import { once } from 'node:events';

const CHAT = { id: 'chatcmpl-1', created: 1, model: 'm' };
const USAGE = { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12, prompt_tokens_details: { cached_tokens: 4 } };
const CALL = { name: 'weather', arguments: '{"city":"Oslo"}' };
const WORDS = ['Hello', ',', ' world'];
const TEXT = WORDS.join('');

const sse = (data) => `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
const named = (data) => `event: ${data.type}\n${sse(data)}`;

function chat({ stream, tools }) {
  const object = stream ? 'chat.completion.chunk' : 'chat.completion';
  const tool_calls = [{ index: 0, id: 'call_1', type: 'function', function: CALL }];
  const finish_reason = tools ? 'tool_calls' : 'stop';
  if (!stream) {
    const message = tools ? { role: 'assistant', content: null, tool_calls } : { role: 'assistant', content: TEXT };
    return [{ ...CHAT, object, choices: [{ index: 0, message, finish_reason }], usage: USAGE }];
  }
  const chunk = (delta, rest = {}) => sse({ ...CHAT, object, choices: [{ index: 0, delta, finish_reason: null, ...rest }] });
  const middle = tools ? [chunk({ tool_calls })] : WORDS.map((content) => chunk({ content }));
  const usage = sse({ ...CHAT, object, choices: [], usage: USAGE });
  return [chunk({ role: 'assistant', content: '' }), ...middle, chunk({}, { finish_reason }), usage, sse('[DONE]')];
}

function completions({ stream }) {
  const whole = (text, finish_reason) => ({ id: 'cmpl-1', object: 'text_completion', created: 1, model: 'm', choices: [{ index: 0, text, finish_reason, logprobs: null }] });
  if (!stream) return [{ ...whole(TEXT, 'stop'), usage: USAGE }];
  return [...WORDS.map((word) => sse(whole(word, null))), sse(whole('', 'stop')), sse('[DONE]')];
}

function responses({ stream }) {
  const item = { id: 'msg_1', type: 'message', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: TEXT, annotations: [] }] };
  const usage = { input_tokens: 9, output_tokens: 3, total_tokens: 12, input_tokens_details: { cached_tokens: 4 }, output_tokens_details: { reasoning_tokens: 0 } };
  const response = (status, output) => ({ id: 'resp_1', object: 'response', created_at: 1, status, model: 'm', output, usage, error: null, tools: [], parallel_tool_calls: true });
  if (!stream) return [response('completed', [item])];
  const events = [
    { type: 'response.created', response: response('in_progress', []) },
    { type: 'response.output_item.added', output_index: 0, item: { ...item, content: [] } },
    { type: 'response.content_part.added', item_id: 'msg_1', output_index: 0, content_index: 0, part: { type: 'output_text', text: '', annotations: [] } },
    ...WORDS.map((delta) => ({ type: 'response.output_text.delta', item_id: 'msg_1', output_index: 0, content_index: 0, delta })),
    { type: 'response.output_text.done', item_id: 'msg_1', output_index: 0, content_index: 0, text: TEXT },
    { type: 'response.output_item.done', output_index: 0, item },
    { type: 'response.completed', response: response('completed', [item]) },
  ];
  return events.map((event, sequence_number) => named({ ...event, sequence_number }));
}

function messages({ stream, tools }) {
  const usage = { input_tokens: 9, output_tokens: 3 };
  const block = tools
    ? { type: 'tool_use', id: 'toolu_1', name: CALL.name, input: JSON.parse(CALL.arguments) }
    : { type: 'text', text: TEXT };
  const stop_reason = tools ? 'tool_use' : 'end_turn';
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'm', content: [block], stop_reason, stop_sequence: null, usage };
  if (!stream) return [message];
  const begun = tools ? { ...block, input: {} } : { type: 'text', text: '' };
  const deltas = tools
    ? [{ type: 'input_json_delta', partial_json: CALL.arguments }]
    : WORDS.map((text) => ({ type: 'text_delta', text }));
  return [
    { type: 'message_start', message: { ...message, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } } },
    { type: 'content_block_start', index: 0, content_block: begun },
    ...deltas.map((delta) => ({ type: 'content_block_delta', index: 0, delta })),
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: 3 } },
    { type: 'message_stop' },
  ].map(named);
}

const APIS = {
  '/v1/chat/completions': chat,
  '/v1/completions': completions,
  '/v1/responses': responses,
  '/v1/messages': messages,
};

/**
 * An engine. `manner` is `good`, a status with an error, `holds` (its streams stay open after their
 * first events), `silent` (it answers nothing) or `dies` (its connections break).
 */
export class Engine {
  asked = [];
  /** Responses that are open. */
  open = new Set();
  /** Called for each request before it is answered. */
  onAsked = () => {};
  #server;

  constructor(manner = 'good') {
    this.manner = manner;
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  async start() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #serve(request, response) {
    this.open.add(response);
    response.on('close', () => this.open.delete(response));
    const text = Buffer.concat(await request.toArray()).toString();
    const [path] = request.url.split('?');
    if (path === '/metrics') return response.writeHead(404).end();
    const body = text === '' ? {} : JSON.parse(text);
    this.asked.push({ path, headers: request.headers, body });
    this.onAsked();
    const { manner } = this;
    if (path === '/v1/models') {
      return json(response, 200, { object: 'list', data: [{ id: 'm', object: 'model', created: 1, owned_by: 'me' }] });
    }
    if (manner === 'silent') return undefined;
    if (manner === 'dies') return response.destroy();
    if (typeof manner === 'number') return failed(response, manner, path);
    const sent = APIS[path](body);
    if (!body.stream) return json(response, 200, sent[0]);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (manner !== 'holds') return response.end(sent.join(''));
    // Up to the first token.
    return response.write(sent.slice(0, 3).join(''));
  }
}

function json(response, status, value, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}

function failed(response, status, path) {
  const message = `status ${status}`;
  const error = path === '/v1/messages'
    ? { type: 'error', error: { type: status === 429 ? 'rate_limit_error' : 'invalid_request_error', message } }
    : { error: { message, type: 'invalid_request_error', param: null, code: String(status) } };
  json(response, status, error, status === 429 ? { 'retry-after': '0.01' } : {});
}
