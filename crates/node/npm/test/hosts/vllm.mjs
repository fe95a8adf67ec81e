// Client libraries through a `fetch` that routes, in front of real engines: prints what became of
// their requests. `PUBLISHERS` has the sockets of each engine, by its URL. `make test-vllm` runs
// it.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOpenAI } from '@langchain/openai';
import { streamText } from 'ai';
import OpenAI from 'openai';
import { setTimeout as delay } from 'node:timers/promises';
import * as zeromq from 'zeromq';
import { subscribe } from 'slotwise/engines';
import { routedFetch } from 'slotwise/fetch';

const publishers = new Map(Object.entries(JSON.parse(process.env.PUBLISHERS)).map(([url, one]) => [url, [one]]));
const fetch = await routedFetch({ engines: publishers.keys() });
const { scheduler } = fetch;
const subscriber = await subscribe(scheduler, publishers, { zeromq });

const model = 'tiny';
const messages = [{ role: 'user', content: 'hello '.repeat(200) }];
const common = { fetch, apiKey: 'unused', maxRetries: 0 };
const openai = new OpenAI(common);
const anthropic = new Anthropic(common);
const pool = createOpenAICompatible({ name: 'pool', baseURL: 'http://pool/v1', fetch });
const langchain = new ChatOpenAI({ model, maxTokens: 8, apiKey: 'unused', maxRetries: 0, configuration: { baseURL: 'http://pool/v1', fetch } });

let pieces = 0;
let completed = 0;

/** Reads a stream to its end. */
async function read(stream) {
  for await (const piece of stream) pieces += piece === '' ? 0 : 1;
}

for (let round = 0; round < 3; round += 1) {
  const ask = { model, messages, max_tokens: 8 };
  await openai.chat.completions.create(ask);
  await read(await openai.chat.completions.create({ ...ask, stream: true }));
  await openai.completions.create({ model, prompt: 'hello', max_tokens: 8 });
  await anthropic.messages.create(ask);
  await read(await anthropic.messages.create({ ...ask, stream: true }));
  await read(streamText({ model: pool(model), messages, maxOutputTokens: 8, maxRetries: 0 }).fullStream);
  await langchain.invoke('hello');
  completed += 7;
}

// An answer that is dropped after its first piece.
const long = { model, messages, max_tokens: 7_000, ignore_eos: true, stream: true };
for await (const _ of await openai.chat.completions.create(long)) break;

// Events follow their answers.
const sum = (field) => scheduler.stats().endpoints.reduce((total, endpoint) => total + endpoint[field], 0);
while (scheduler.stats().inFlight > 0 || sum('kvStoredEvents') === 0) await delay(50);

const { failed, cancelled, inFlight, queued, completed: counted } = scheduler.stats();
console.log(JSON.stringify({
  asked: completed, completed: counted, failed, cancelled, open: inFlight + queued, pieces,
  stored: sum('kvStoredEvents'),
  models: (await openai.models.list()).data.map(({ id }) => id),
}));
await subscriber.close();
await fetch.close();
