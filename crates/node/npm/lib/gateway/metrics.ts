/** The metrics page: the metrics of every pool under its name, and those of the gateway. */
import { METRICS_CONTENT_TYPE } from '../wire.js';
import { text, type Answer } from './answer.js';
import type { Gateway } from './gateway.js';
import type { Peering } from './peering.js';
import type { Pool } from './pools.js';

/** The type of the page. */
export const CONTENT_TYPE: string = METRICS_CONTENT_TYPE;

/** The page of a gateway as an answer. */
export function metricsPage({ pools, statuses, openRequests, peering }: Gateway): Answer {
  return text(200, render(pools, statuses, openRequests, peering), { 'content-type': CONTENT_TYPE });
}

/** The page as OpenMetrics text. Each metric of a scheduler gets the label `pool`. */
export function render(
  pools: Iterable<Pool>,
  statuses: ReadonlyMap<number, number>,
  openRequests: number,
  peering: Peering | null,
): string {
  const families = new Map<string, string[]>();
  const names = new Set<string>();
  for (const pool of pools) {
    names.add(pool.name);
    add(families, pool.scheduler.metricsText(), escaped(pool.name));
  }
  for (const [channel, page] of peering?.pages(names) ?? []) {
    add(families, page, escaped(channel));
  }
  const counts = [...statuses].sort(([one], [other]) => one - other);
  const lines = [
    ...[...families.values()].flat(),
    '# TYPE slotwise_gateway_requests counter',
    '# HELP slotwise_gateway_requests Requests to APIs that were answered, by status.',
    ...counts.map(([status, count]) => `slotwise_gateway_requests_total{status="${status}"} ${count}`),
    '# TYPE slotwise_gateway_open_requests gauge',
    '# HELP slotwise_gateway_open_requests Requests to APIs whose answer has not ended.',
    `slotwise_gateway_open_requests ${openRequests}`,
    '# EOF',
  ];
  return `${lines.join('\n')}\n`;
}

/** Adds the samples of a pool to their families. Descriptions are added once. */
function add(families: Map<string, string[]>, text: string, pool: string): void {
  let family: string[] = [];
  let name = '';
  let known = false;
  for (const line of text.trimEnd().split('\n')) {
    if (line === '# EOF') {
      return;
    }
    if (!line.startsWith('# ')) {
      family.push(labelled(line, pool));
      continue;
    }
    const named = line.split(' ', 3)[2] ?? '';
    if (named !== name) {
      name = named;
      known = families.has(name);
      family = families.get(name) ?? [];
      families.set(name, family);
    }
    if (!known) {
      family.push(line);
    }
  }
}

/** A sample with the label `pool`. */
function labelled(sample: string, pool: string): string {
  const brace = sample.indexOf('{');
  if (brace >= 0) {
    return `${sample.slice(0, brace)}{pool="${pool}",${sample.slice(brace + 1)}`;
  }
  const space = sample.indexOf(' ');
  return `${sample.slice(0, space)}{pool="${pool}"}${sample.slice(space)}`;
}

function escaped(text: string): string {
  return text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}
