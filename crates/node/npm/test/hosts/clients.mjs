// The same calls by four client libraries: each returns text, and what stopped the answer.
import Anthropic from '@anthropic-ai/sdk';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, jsonSchema, streamText, tool } from 'ai';
import OpenAI from 'openai';

const SCHEMA = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const MESSAGES = [{ role: 'user', content: 'Say hello.' }];
const FUNCTION = { type: 'function', function: { name: 'weather', parameters: SCHEMA } };

/** The text of a stream. */
async function text(stream, part) {
  let whole = '';
  for await (const one of stream) whole += part(one) ?? '';
  return whole;
}

function openai(fetch, maxRetries) {
  const client = new OpenAI({ fetch, maxRetries, apiKey: 'unused' });
  const ask = { model: 'm', messages: MESSAGES };
  return {
    unary: async (signal) => (await client.chat.completions.create(ask, { signal })).choices[0].message.content,
    stream: async (signal) =>
      text(await client.chat.completions.create({ ...ask, stream: true }, { signal }), (one) => one.choices[0]?.delta.content),
    tools: async () => {
      const answer = await client.chat.completions.create({ ...ask, tools: [FUNCTION] });
      return answer.choices[0].message.tool_calls[0].function;
    },
    'streamed tools': async () => {
      const answer = await client.chat.completions.stream({ ...ask, tools: [FUNCTION] }).finalChatCompletion();
      const { name, arguments: given } = answer.choices[0].message.tool_calls[0].function;
      return { name, arguments: given };
    },
    completions: async () => (await client.completions.create({ model: 'm', prompt: 'Hi' })).choices[0].text,
    'streamed completions': async () =>
      text(await client.completions.create({ model: 'm', prompt: 'Hi', stream: true }), (one) => one.choices[0].text),
    responses: async () => (await client.responses.create({ model: 'm', input: 'Hi' })).output_text,
    'streamed responses': async () =>
      text(await client.responses.create({ model: 'm', input: 'Hi', stream: true }), (one) => one.type === 'response.output_text.delta' && one.delta || ''),
    models: async () => (await client.models.list()).data[0].id,
  };
}

function anthropic(fetch, maxRetries) {
  const client = new Anthropic({ fetch, maxRetries, apiKey: 'unused' });
  const ask = { model: 'm', max_tokens: 16, messages: MESSAGES };
  const tools = [{ name: 'weather', input_schema: SCHEMA }];
  const called = ({ content }) => ({ name: content[0].name, arguments: JSON.stringify(content[0].input) });
  return {
    unary: async (signal) => (await client.messages.create(ask, { signal })).content[0].text,
    stream: async (signal) =>
      text(await client.messages.create({ ...ask, stream: true }, { signal }), (one) => one.delta?.text),
    tools: async () => called(await client.messages.create({ ...ask, tools })),
    'streamed tools': async () => called(await client.messages.stream({ ...ask, tools }).finalMessage()),
  };
}

function aiSdk(fetch, maxRetries) {
  const model = createOpenAICompatible({ name: 'pool', baseURL: 'http://pool/v1', fetch })('m');
  const ask = { model, prompt: 'Say hello.', maxRetries };
  const tools = { weather: tool({ inputSchema: jsonSchema(SCHEMA) }) };
  const called = ([{ toolName, input }]) => ({ name: toolName, arguments: JSON.stringify(input) });
  return {
    unary: async (abortSignal) => (await generateText({ ...ask, abortSignal })).text,
    stream: async (abortSignal) => {
      let failure;
      const { fullStream } = streamText({ ...ask, abortSignal, onError: ({ error }) => (failure = error) });
      const whole = await text(fullStream, (one) => {
        if (one.type === 'abort') failure = new DOMException('aborted', 'AbortError');
        return one.type === 'text-delta' ? one.text : '';
      });
      if (failure !== undefined) throw failure;
      return whole;
    },
    tools: async () => called((await generateText({ ...ask, tools })).toolCalls),
    'streamed tools': async () => called(await streamText({ ...ask, tools }).toolCalls),
  };
}

function langchain(fetch, maxRetries) {
  const model = new ChatOpenAI({ model: 'm', apiKey: 'unused', maxRetries, configuration: { baseURL: 'http://pool/v1', fetch } });
  const called = ({ tool_calls: [{ name, args }] }) => ({ name, arguments: JSON.stringify(args) });
  return {
    unary: async (signal) => (await model.invoke('Say hello.', { signal })).content,
    stream: async (signal) => text(await model.stream('Say hello.', { signal }), (one) => one.content),
    tools: async () => called(await model.bindTools([FUNCTION]).invoke('Say hello.')),
  };
}

/** Client libraries by name: functions of a `fetch` and of the retries that they may make. */
export const CLIENTS = { openai, anthropic, 'the AI SDK': aiSdk, langchain };
