/** Paths: what a gateway answers to a request of any kind. */
import { errorResponse, failureResponse, shapeOf } from '../error_responses.js';
import { RefusedError } from '../gates.js';
import { apiOfPath, refusal } from '../wire.js';
import { json, type Answer, type Incoming } from './answer.js';
import type { Gateway } from './gateway.js';
import { described } from './log.js';
import { metricsPage } from './metrics.js';
import { serve } from './serving.js';

/** The answer to a request. Never rejects: what fails is answered with 500. */
export async function answerTo(gateway: Gateway, incoming: Incoming): Promise<Answer> {
  const { method, path } = incoming;
  if (method !== 'POST') {
    return guarded(gateway, path, () => page(gateway, incoming));
  }
  // The metrics count these requests only: a page that shows them is none.
  gateway.opened();
  let isOpen = true;
  const done = (status: number) => {
    if (isOpen) {
      isOpen = false;
      gateway.closed(status);
    }
  };
  const answer = await guarded(gateway, path, async () => {
    if (!isKnown(path)) {
      return failureResponse(404, 'unknown_path', `no API has the path ${path}`, { path });
    }
    if (gateway.stopping) {
      return refusal('shutting_down', { shape: shapeOf(path) });
    }
    return serve(gateway, incoming, done);
  });
  if (answer.body instanceof Uint8Array) {
    done(answer.status);
  }
  return answer;
}

/** The answer, or that of a gateway that failed. */
async function guarded(gateway: Gateway, path: string, answer: () => Promise<Answer>): Promise<Answer> {
  try {
    return await answer();
  } catch (error) {
    const trace = error instanceof Error ? (error.stack ?? '') : '';
    gateway.settings.log('error', `a request to ${path} failed: ${described(error)}\n${trace}`);
    return failureResponse(500, 'internal_error', 'the gateway failed; its log has the reason', { path });
  }
}

async function page(gateway: Gateway, incoming: Incoming): Promise<Answer> {
  const { method, path } = incoming;
  const refused = (code: string, message: string, status: number, allow: string) =>
    failureResponse(status, code, message, { path, headers: allow === '' ? [] : [['allow', allow]] });
  if (method !== 'GET' && method !== 'HEAD') {
    return refused('unknown_method', 'the method must be GET or POST', 405, 'GET, HEAD, POST');
  }
  const found = PAGES.get(path);
  if (found !== undefined) {
    return found(gateway, incoming);
  }
  if (path.startsWith(ONE_MODEL)) {
    return model(gateway, incoming, decoded(path.slice(ONE_MODEL.length)));
  }
  if (apiOfPath(path) !== null) {
    return refused('unknown_method', 'the method must be POST', 405, 'POST');
  }
  return refused('unknown_path', `no page has the path ${path}`, 404, '');
}

/** The process serves requests: a failed check restarts it. */
async function health({ peering, pools }: Gateway): Promise<Answer> {
  if (peering === null) {
    return json(200, { status: 'ok' });
  }
  const peers = Object.fromEntries(Array.from(pools, ({ name }) => [name, peering.alive(name).length]));
  return json(200, { status: 'ok', peers });
}

/** The gateway should get requests: a failed check takes it out of a load balancer. */
async function ready({ stopping, pools }: Gateway): Promise<Answer> {
  if (stopping) {
    return json(503, { status: 'stopping' });
  }
  return pools.ready ? json(200, { status: 'ready' }) : json(503, { status: 'no endpoint accepts requests' });
}

async function models(gateway: Gateway, incoming: Incoming): Promise<Answer> {
  return withNames(gateway, incoming, (names) => {
    const ends = { first_id: names[0] ?? null, last_id: names.at(-1) ?? null };
    return json(200, { object: 'list', data: names.map(describedModel), has_more: false, ...ends });
  });
}

async function model(gateway: Gateway, incoming: Incoming, name: string): Promise<Answer> {
  const { path } = incoming;
  return withNames(gateway, incoming, (names) =>
    names.includes(name)
      ? json(200, describedModel(name))
      : failureResponse(404, 'model_not_found', `the model '${name}' does not exist`, { path }));
}

/** The models that a client may request, and those of engines whose pool lists none. */
async function withNames(
  gateway: Gateway,
  { headers, client, path }: Incoming,
  answer: (names: readonly string[]) => Answer,
): Promise<Answer> {
  try {
    const caller = gateway.ingress.identify(headers, { client });
    const names = new Set(gateway.ingress.models(caller));
    for (const pool of gateway.pools.withoutModels()) {
      (await gateway.servedBy(pool)).forEach((name) => names.add(name));
    }
    return answer([...names]);
  } catch (error) {
    if (error instanceof RefusedError) {
      return errorResponse(error, { path });
    }
    throw error;
  }
}

/** A model with the fields that the clients of OpenAI and of Anthropic read. */
function describedModel(name: string) {
  return {
    id: name,
    object: 'model',
    created: 0,
    owned_by: 'slotwise',
    type: 'model',
    display_name: name,
    created_at: '1970-01-01T00:00:00Z',
  };
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** Whether an API has this path. Paths that have one are remembered, as far as there are few. */
function isKnown(path: string): boolean {
  if (known.has(path)) {
    return true;
  }
  if (apiOfPath(path) === null) {
    return false;
  }
  if (known.size < MOST_KNOWN) {
    known.add(path);
  }
  return true;
}

const known = new Set<string>();
const MOST_KNOWN = 64;

const ONE_MODEL = '/v1/models/';
type Page = (gateway: Gateway, incoming: Incoming) => Answer | Promise<Answer>;
const PAGES: ReadonlyMap<string, Page> = new Map<string, Page>([
  ['/metrics', metricsPage],
  ['/health', health],
  ['/ready', ready],
  ['/v1/models', models],
  ['/models', models],
]);
