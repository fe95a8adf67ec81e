/**
 * Answers of the demonstration's engines in the formats of four APIs, as bodies and as streams.
 *
 * The answer repeats the last text of the prompt. If a tool must be used, it calls the first tool
 * with that text as its argument.
 */

/** An object of JSON. */
export type Json = { readonly [name: string]: unknown };

/** Tokens of a prompt, and those of them that were cached. */
export interface Tokens {
  readonly prompt: number;
  readonly cached: number;
}

interface Usage extends Tokens {
  readonly output: number;
}

/** The answer to a request without a stream. */
export function answerOf(path: string, body: Json, tokens: Tokens): Json {
  const words = wordsOf(body);
  const usage = { ...tokens, output: words.length };
  const [tool, said] = [toolOf(body), words.join('')];
  if (path.endsWith('/messages')) {
    return message(body['model'], contentOf(tool, said), usage, tool === null ? 'end_turn' : 'tool_use');
  }
  if (path.endsWith('/responses')) {
    return response(body['model'], [outputOf(tool, said)], 'completed', usage);
  }
  if (path.endsWith('/chat/completions')) {
    const content = tool === null ? { content: said } : { content: null, tool_calls: [callOf(tool, said)] };
    const choice = { index: 0, message: { role: 'assistant', ...content }, finish_reason: finishOf(tool) };
    return { ...head('chat.completion', body), choices: [choice], usage: usageOf(usage) };
  }
  const choice = { index: 0, text: said, finish_reason: 'stop', logprobs: null };
  return { ...head('text_completion', body), choices: [choice], usage: usageOf(usage) };
}

/** The events of a stream, one word each. */
export function eventsOf(path: string, body: Json, tokens: Tokens): Iterator<Uint8Array, undefined> {
  const words = wordsOf(body);
  const usage = { ...tokens, output: words.length };
  if (path.endsWith('/messages')) {
    return messageEvents(body, words, usage);
  }
  if (path.endsWith('/responses')) {
    return responseEvents(body, words, usage);
  }
  return completionEvents(path.endsWith('/chat/completions'), body, words, usage);
}

function* completionEvents(
  isChat: boolean,
  body: Json,
  words: readonly string[],
  usage: Usage,
): Generator<Uint8Array, undefined> {
  const start = head(isChat ? 'chat.completion.chunk' : 'text_completion', body);
  const tool = isChat ? toolOf(body) : null;
  const chunk = (part: Json, finish: string | null) =>
    data({ ...start, choices: [{ index: 0, ...part, finish_reason: finish }] });
  if (tool !== null) {
    const call = { index: 0, ...callOf(tool, words.join('')) };
    yield chunk({ delta: { role: 'assistant', tool_calls: [call] } }, null);
  } else {
    for (const word of words) {
      yield chunk(isChat ? { delta: { role: 'assistant', content: word } } : { text: word }, null);
    }
  }
  yield chunk(isChat ? { delta: {} } : { text: '' }, finishOf(tool));
  if (isObject(body['stream_options']) && body['stream_options']['include_usage'] === true) {
    yield data({ ...start, choices: [], usage: usageOf(usage) });
  }
  yield Buffer.from('data: [DONE]\n\n');
}

function* messageEvents(body: Json, words: readonly string[], usage: Usage): Generator<Uint8Array, undefined> {
  const tool = toolOf(body);
  yield event('message_start', { message: message(body['model'], [], { ...usage, output: 1 }, null) });
  const block = tool === null ? { type: 'text', text: '' } : { ...contentOf(tool, '')[0], input: {} };
  const args = JSON.stringify({ text: words.join('') });
  const deltas =
    tool === null
      ? words.map((word) => ({ type: 'text_delta', text: word }))
      : [{ type: 'input_json_delta', partial_json: args }];
  yield event('content_block_start', { index: 0, content_block: block });
  for (const delta of deltas) {
    yield event('content_block_delta', { index: 0, delta });
  }
  yield event('content_block_stop', { index: 0 });
  const ended = { stop_reason: tool === null ? 'end_turn' : 'tool_use', stop_sequence: null };
  yield event('message_delta', { delta: ended, usage: { output_tokens: usage.output } });
  yield event('message_stop', {});
}

function* responseEvents(body: Json, words: readonly string[], usage: Usage): Generator<Uint8Array, undefined> {
  const [model, tool, said] = [body['model'], toolOf(body), words.join('')];
  const done = outputOf(tool, said);
  const place = { item_id: done['id'], output_index: 0 };
  const empty = tool === null ? { content: [] } : { arguments: '' };
  const began = { ...done, ...empty, status: 'in_progress' };
  const steps: [string, Json][] = [
    ['response.created', { response: response(model, [], 'in_progress', null) }],
    ['response.output_item.added', { output_index: 0, item: began }],
    ...(tool === null ? textSteps(place, words, said) : toolSteps(place, done['arguments'])),
    ['response.output_item.done', { output_index: 0, item: done }],
    ['response.completed', { response: response(model, [done], 'completed', usage) }],
  ];
  for (const [number, [name, values]] of steps.entries()) {
    yield event(name, { ...values, sequence_number: number });
  }
}

function textSteps(at: Json, words: readonly string[], said: string): [string, Json][] {
  const place = { ...at, content_index: 0 };
  const part = textPart(said);
  return [
    ['response.content_part.added', { ...place, part: textPart('') }],
    ...words.map((delta): [string, Json] => ['response.output_text.delta', { ...place, delta, logprobs: [] }]),
    ['response.output_text.done', { ...place, text: said, logprobs: [] }],
    ['response.content_part.done', { ...place, part }],
  ];
}

function toolSteps(place: Json, args: unknown): [string, Json][] {
  return [
    ['response.function_call_arguments.delta', { ...place, delta: args }],
    ['response.function_call_arguments.done', { ...place, arguments: args }],
  ];
}

/** The words of the answer. */
function wordsOf(body: Json): string[] {
  let said: unknown = body['messages'] || body['input'] || body['prompt'] || 'Hello';
  if (Array.isArray(said)) {
    said = said.at(-1);
  }
  if (isObject(said)) {
    said = said['content'] ?? '';
  }
  if (Array.isArray(said)) {
    said = said.map((part: unknown) => (isObject(part) ? (part['text'] ?? 'an image') : '')).join(' ');
  }
  const most = Number(body['max_tokens'] || body['max_completion_tokens'] || 64);
  const words = `You said: ${String(said)}`.split(/\s+/).filter(Boolean).slice(0, most);
  return words.map((word, number) => (number === 0 ? word : ` ${word}`));
}

/** The name of the tool that must be called. */
function toolOf(body: Json): string | null {
  const [choice, tools] = [body['tool_choice'], body['tools']];
  const forced = choice === 'required' || (isObject(choice) && choice['type'] !== 'auto');
  const tool: unknown = Array.isArray(tools) ? tools[0] : undefined;
  if (!forced || !isObject(tool)) {
    return null;
  }
  return String((isObject(tool['function']) ? tool['function'] : tool)['name']);
}

const finishOf = (tool: string | null) => (tool === null ? 'stop' : 'tool_calls');

function callOf(name: string, said: string): Json {
  return { id: 'call_1', type: 'function', function: { name, arguments: JSON.stringify({ text: said }) } };
}

function contentOf(tool: string | null, said: string): Json[] {
  return tool === null
    ? [{ type: 'text', text: said }]
    : [{ type: 'tool_use', id: 'toolu_1', name: tool, input: { text: said } }];
}

function outputOf(tool: string | null, said: string): Json {
  if (tool !== null) {
    const call = { type: 'function_call', id: 'fc_1', call_id: 'call_1', name: tool };
    return { ...call, arguments: JSON.stringify({ text: said }), status: 'completed' };
  }
  return { type: 'message', id: 'msg_1', role: 'assistant', content: [textPart(said)], status: 'completed' };
}

function textPart(said: string): Json {
  return { type: 'output_text', text: said, annotations: [], logprobs: [] };
}

function head(kind: string, body: Json): Json {
  return { id: 'demo-1', object: kind, created: 0, model: body['model'] ?? '' };
}

function message(model: unknown, content: readonly Json[], usage: Usage, stop: string | null): Json {
  const counts = {
    input_tokens: usage.prompt - usage.cached,
    cache_read_input_tokens: usage.cached,
    output_tokens: usage.output,
  };
  const start = { id: 'msg_1', type: 'message', role: 'assistant', model: model ?? '' };
  return { ...start, content, stop_reason: stop, stop_sequence: null, usage: counts };
}

function response(model: unknown, output: readonly Json[], status: string, usage: Usage | null): Json {
  const counts = usage && {
    input_tokens: usage.prompt,
    input_tokens_details: { cached_tokens: usage.cached },
    output_tokens: usage.output,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: usage.prompt + usage.output,
  };
  return {
    id: 'resp_1', object: 'response', created_at: 0, status, model: model ?? '', output,
    parallel_tool_calls: true, tool_choice: 'auto', tools: [], usage: counts, error: null,
    incomplete_details: null, instructions: null, metadata: {}, temperature: 1, top_p: 1,
  };
}

function usageOf({ prompt, cached, output }: Usage): Json {
  return {
    prompt_tokens: prompt,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens: output,
    total_tokens: prompt + output,
  };
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function data(value: Json): Uint8Array {
  return Buffer.from(`data: ${JSON.stringify(value)}\n\n`);
}

function event(name: string, value: Json): Uint8Array {
  return Buffer.from(`event: ${name}\ndata: ${JSON.stringify({ type: name, ...value })}\n\n`);
}
