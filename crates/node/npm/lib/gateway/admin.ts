/**
 * The admin page: one static file, and the data and the actions behind it.
 *
 * The page has a listener of its own, on the loopback by default, since it has no authentication.
 * It shows endpoints, queues and the last decisions, and drains endpoints. Its text comes from
 * clients and configurations, so the page sets text only and its policy allows no script but its
 * own. The metrics are here as well: of several workers on one port, each has a listener.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Scheduler } from '../scheduler.js';
import type { Stats } from '../values.js';
import { headerOf, json, text, type Answer, type Incoming } from './answer.js';
import type { Gateway } from './gateway.js';
import { metricsPage } from './metrics.js';
import type { Pool } from './pools.js';

/** Bytes of an action. */
const LONGEST_ACTION = 65_536;

/** What the page shows. */
export function stateOf(gateway: Gateway) {
  return {
    stopping: gateway.stopping,
    open_requests: gateway.openRequests,
    reload_error: gateway.reloadError,
    pools: Array.from(gateway.pools, (pool) => poolState(gateway, pool)),
    decisions: gateway.history.report(),
  };
}

/** The handler of the page's listener. */
export function adminHandlerOf(gateway: Gateway): (incoming: Incoming) => Promise<Answer> {
  const page = readFileSync(join(__dirname, '../../admin.html'));
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': policyOf(page.toString()),
    ...HEADERS,
  };
  return async (incoming) => {
    if (!isTrusted(headerOf(incoming, 'host'))) {
      return text(421, 'open this page by its address, not by a name');
    }
    switch (`${incoming.method} ${incoming.path}`) {
      case 'GET /':
        return text(200, page, headers);
      case 'GET /state.json':
        gateway.history.watch();
        return json(200, stateOf(gateway), HEADERS);
      case 'GET /metrics':
        return metricsPage(gateway);
      case 'POST /endpoint':
        return act(gateway, incoming);
      default:
        return text(404, 'not found');
    }
  };
}

/** Drains or resumes an endpoint. */
async function act(gateway: Gateway, incoming: Incoming): Promise<Answer> {
  // Pages of other origins cannot send this content type without asking first.
  const [type = ''] = headerOf(incoming, 'content-type').split(';');
  if (type.trim().toLowerCase() !== 'application/json') {
    return text(415, 'the content type must be application/json');
  }
  const asked = readAction(await incoming.read(LONGEST_ACTION));
  if (asked === null) {
    return text(400, 'needed: pool, endpoint and action');
  }
  const scheduler = [...gateway.pools].find(({ name }) => name === asked.pool)?.scheduler;
  const endpoint = scheduler?.endpointNamed(asked.endpoint) ?? null;
  if (scheduler === undefined || endpoint === null) {
    return text(404, 'no such endpoint');
  }
  return carryOut(scheduler, endpoint, asked.action);
}

function carryOut(scheduler: Scheduler, endpoint: number, action: unknown): Answer {
  switch (action) {
    case 'drain':
      scheduler.drainEndpoint(endpoint);
      break;
    case 'resume':
      scheduler.resumeEndpoint(endpoint);
      break;
    default:
      return text(400, 'the action must be drain or resume');
  }
  return json(200, { in_flight: scheduler.inFlightOn(endpoint) });
}

function readAction(body: Uint8Array): { pool: unknown; endpoint: string; action: unknown } | null {
  try {
    const { pool, endpoint, action } = JSON.parse(Buffer.from(body).toString());
    const isWhole = [pool, endpoint, action].every((value) => value !== undefined);
    return isWhole ? { pool, endpoint: String(endpoint), action } : null;
  } catch {
    return null;
  }
}

function poolState({ peering }: Gateway, { name, scheduler }: Pool) {
  const stats = scheduler.stats();
  return {
    name,
    peers: peering === null ? null : peering.state(name),
    queued: stats.queued,
    in_flight: stats.inFlight,
    completed: stats.completed,
    failed: stats.failed,
    saturation: Math.round(stats.pool.saturation * 1_000) / 1_000,
    bands: stats.bands.map(({ priority, queued }) => ({ priority, queued })),
    endpoints: stats.endpoints.map(endpointState),
  };
}

function endpointState(endpoint: Stats['endpoints'][number]) {
  return {
    name: endpoint.name,
    state: endpoint.draining ? 'draining' : endpoint.health,
    backoff: endpoint.backoff,
    draining: endpoint.draining,
    prefilling: endpoint.prefilling,
    running: endpoint.running,
    external: Math.round(endpoint.externalWaiting + endpoint.externalRunning),
    kv_tokens: endpoint.kvTokens,
    kv_cache_tokens: endpoint.kvCacheTokens,
    wait: endpoint.wait,
    completed: endpoint.completed,
    failed: endpoint.failed,
  };
}

/** Whether a page of another site cannot have led here by a name that it controls. */
function isTrusted(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  return name === 'localhost' || isIP(name) !== 0;
}

/** The page's content security policy: its own script and style, and no other. */
function policyOf(page: string): string {
  const [script, style] = ['script', 'style'].map((tag) => {
    const [, own = ''] = new RegExp(`<${tag}>([^]*?)</${tag}>`).exec(page) ?? [];
    return createHash('sha256').update(own).digest('base64');
  });
  return (
    `default-src 'none'; script-src 'sha256-${script}'; style-src 'sha256-${style}'; `
    + "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
  );
}

const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};
