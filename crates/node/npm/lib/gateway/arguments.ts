/** The command line of `slotwise-gateway`: its options, their values, and its mistakes. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Configuration } from '../configuration.js';
import { ofDns, ofFile, type Source } from '../engines/index.js';
import type { Connector } from '../forward.js';
import type { AllowName } from '../request.js';
import { described, LEVELS, stderrLog, type Level } from './log.js';
import { reasonOf } from './listener.js';
import { UNIX } from './peering.js';
import { readConfiguration } from './reloading.js';
import type { SafetyFunction } from './safety.js';
import type { Address, GatewaySettings } from './settings.js';

/** The command line is wrong. */
export class UsageError extends Error {}

/** What a command line asks for. */
export interface Options {
  readonly help: boolean;
  readonly demo: boolean;
  readonly reload: boolean;
  readonly config: string | undefined;
  readonly engines: string | undefined;
  /** Processes that serve the port. */
  readonly workers: number;
  readonly settings: GatewaySettings;
}

/** One option: its value's name for people, its text, and how its value is read. */
interface Option {
  readonly value?: string;
  readonly help: string;
}

const CLAIMS: readonly AllowName[] = ['priority', 'flow', 'session', 'ttl', 'deadline', 'objective'];
const CONNECTORS: readonly Connector[] = ['nixl', 'bootstrap', 'sidecar'];

/** The options, in the order of the help. */
export const OPTIONS = {
  '--config': { value: 'FILE', help: 'the configuration, in YAML or JSON' },
  '--engines': { value: 'URL[,URL]', help: 'the engines of a single pool' },
  '--demo': { help: 'starts four engines of its own' },
  '--discover': { value: '[POOL=]SOURCE', help: 'lists engines: dns://HOST:PORT or file:PATH' },
  '--discover-every': { value: 'SECONDS', help: 'time between two looks at these lists; default: 5' },
  '--host': { value: 'HOST', help: 'default: 127.0.0.1' },
  '--port': { value: 'PORT', help: 'default: 8080' },
  '--reload': { help: 'follows changes of the file' },
  '--admin': { value: '[HOST:]PORT', help: 'serves the admin page, unprotected' },
  '--allow': { value: 'CLAIM[,CLAIM]', help: 'claims that clients may make; default: session' },
  '--attempts': { value: 'COUNT', help: 'endpoints a request is sent to; default: 3' },
  '--idle-timeout': { value: 'SECONDS', help: 'the longest time without a token; none: no limit' },
  '--connector': { value: 'NAME', help: CONNECTORS.join(', ') },
  '--safety': { value: 'MODULE:FUNCTION', help: 'judges prompts and answers' },
  '--engine-key-file': { value: 'FILE', help: 'the key that engines require' },
  '--max-body': { value: 'BYTES', help: 'the largest body; default: 64 MiB' },
  '--peers': { value: 'URL', help: 'shares loads: redis://HOST:PORT, nats://HOST:PORT, unix:DIRECTORY' },
  '--peers-key-file': { value: 'FILE', help: 'the key that gateways share' },
  '--gateway-name': { value: 'NAME', help: 'default: host, process, random' },
  '--workers': { value: 'COUNT', help: 'processes that serve the port and share their pools; default: 1' },
  '--kv-events': { value: 'PORT,PORT', help: "ports of the engines' KV events and of their replays" },
  '--scrape-every': { value: 'SECONDS', help: 'time between two metrics pages; default: 1' },
  '--grace': { value: 'SECONDS', help: 'time between SIGTERM and the last new connection' },
  '--drain': { value: 'SECONDS', help: 'the longest time that requests in flight get; default: 300' },
  '--log-level': { value: 'LEVEL', help: LEVELS.join(', ') },
} as const satisfies Readonly<Record<string, Option>>;

type Name = keyof typeof OPTIONS;

/** The text of `--help`. */
export function usage(): string {
  const lines = Object.entries(OPTIONS).map(([name, option]: [string, Option]) => {
    const head = `  ${name} ${option.value ?? ''}`.trimEnd();
    return `${head.padEnd(30)}  ${option.help}`;
  });
  const title = 'A gateway for model servers, compatible with the OpenAI and Anthropic APIs.';
  return `usage: slotwise-gateway [options]\n\n${title}\n\noptions:\n${lines.join('\n')}\n`;
}

/** Reads a command line. Rejects with a `UsageError`. */
export async function parse(words: readonly string[]): Promise<Options> {
  const given = read(words);
  const text = (name: Name) => given.get(name)?.at(-1);
  const value = <T>(name: Name, reader: (text: string) => T): T | undefined => {
    const last = text(name);
    return last === undefined ? undefined : named(name, () => reader(last));
  };
  const has = (name: Name) => given.has(name);
  const help = words.includes('--help') || words.includes('-h');
  const sources = SOURCES.filter(has);
  if (sources.length > 1) {
    throw new UsageError(`argument ${sources[1]}: not allowed with argument ${sources[0]}`);
  }
  if (!help && sources.length === 0 && !has('--discover')) {
    throw new UsageError('one of --config, --engines, --discover and --demo is required');
  }
  if (has('--reload') && !has('--config')) {
    throw new UsageError('--reload needs --config');
  }
  const workers = value('--workers', count) ?? 1;
  if (workers > 1 && has('--demo')) {
    throw new UsageError('--workers needs engines: --demo runs in one process');
  }
  if (text('--peers')?.startsWith(UNIX) === false && !has('--peers-key-file')) {
    throw new UsageError('--peers by a server needs --peers-key-file');
  }
  const safety = text('--safety');
  const settings: GatewaySettings = {
    address: { host: text('--host') ?? '127.0.0.1', port: value('--port', port) ?? 8_080 },
    admin: value('--admin', address),
    allow: value('--allow', claims),
    attempts: value('--attempts', count),
    idleTimeoutMs: value('--idle-timeout', (text) => (text === 'none' ? null : aboveZero(text))),
    connector: value('--connector', (name) => choice(name, CONNECTORS)),
    safety: safety === undefined ? undefined : await imported(safety),
    engineKey: value('--engine-key-file', secret),
    maxBody: value('--max-body', count),
    peers: text('--peers'),
    peersKey: value('--peers-key-file', peersKey),
    name: text('--gateway-name'),
    kvEvents: value('--kv-events', ports),
    discover: Object.fromEntries((given.get('--discover') ?? []).map((one) => named('--discover', () => source(one)))),
    discoverEveryMs: value('--discover-every', aboveZero),
    scrapeEveryMs: value('--scrape-every', aboveZero),
    graceMs: value('--grace', duration),
    drainMs: value('--drain', duration),
    log: stderrLog(value('--log-level', (name) => choice(name.toLowerCase() as Level, LEVELS)) ?? 'warning'),
  };
  const [config, engines] = [text('--config'), text('--engines')];
  return { help, demo: has('--demo'), reload: has('--reload'), config, engines, workers, settings };
}

/** The configuration of a command line. Throws a `TypeError` if it is invalid. */
export function configurationOf({ config, engines }: Pick<Options, 'config' | 'engines'>): Configuration {
  if (config !== undefined) {
    return new Configuration(readConfiguration(config), { name: config });
  }
  if (engines === undefined) {
    return new Configuration('pools: [{name: default}]', { name: '--discover' });
  }
  const endpoints = engines.split(',').map((url) => url.trim().replace(/\/+$/, ''));
  return new Configuration(JSON.stringify({ endpoints }), { name: '--engines' });
}

const SOURCES: readonly Name[] = ['--config', '--engines', '--demo'];

/** The values of each option, as text. */
function read(words: readonly string[]): Map<Name, string[]> {
  const given = new Map<Name, string[]>();
  const unknown: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] as string;
    const [, name = word, joined] = /^(--[^=]+)=([^]*)$/.exec(word) ?? [];
    if (name === '--help' || name === '-h') {
      continue;
    }
    if (!Object.hasOwn(OPTIONS, name)) {
      unknown.push(word);
      continue;
    }
    const option: Option = OPTIONS[name as Name];
    let value = joined;
    if (option.value === undefined) {
      if (joined !== undefined) {
        throw new UsageError(`argument ${name}: takes no value`);
      }
      value = '';
    } else if (value === undefined) {
      at += 1;
      value = words[at];
      if (value === undefined || value.startsWith('--')) {
        throw new UsageError(`argument ${name}: expected one argument`);
      }
    }
    given.set(name as Name, [...(given.get(name as Name) ?? []), value ?? '']);
  }
  if (unknown.length > 0) {
    throw new UsageError(`unrecognized arguments: ${unknown.join(' ')}`);
  }
  return given;
}

/** What a reader returns; its complaint names the option. */
function named<T>(name: Name, reader: () => T): T {
  try {
    return reader();
  } catch (error) {
    throw new UsageError(`argument ${name}: ${(error as Error).message}`);
  }
}

function port(text: string): number {
  if (/^\d+$/.test(text) && Number(text) < 65_536) {
    return Number(text);
  }
  throw new Error(`'${text}' must be a port: a number up to 65535`);
}

function count(text: string): number {
  if (/^\d+$/.test(text) && Number(text) > 0) {
    return Number(text);
  }
  throw new Error(`'${text}' must be a whole number above 0`);
}

/** Seconds above 0, in milliseconds. */
function aboveZero(text: string): number {
  const seconds = text.trim() === '' ? NaN : Number(text);
  if (seconds > 0 && seconds < Infinity) {
    return seconds * 1_000;
  }
  throw new Error(`'${text}' must be seconds above 0`);
}

/** Seconds, in milliseconds. */
function duration(text: string): number {
  const seconds = text.trim() === '' ? NaN : Number(text);
  if (seconds >= 0 && seconds < Infinity) {
    return seconds * 1_000;
  }
  throw new Error(`'${text}' must be seconds, 0 or more`);
}

function choice<T extends string>(text: T | string, choices: readonly T[]): T {
  const found = choices.find((one) => one === text);
  if (found === undefined) {
    throw new Error(`invalid choice: '${text}' (choose from ${choices.join(', ')})`);
  }
  return found;
}

function address(text: string): Address {
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, Math.max(colon, 0)).replace(/^\[|\]$/g, '');
  return { host: host || '127.0.0.1', port: port(text.slice(colon + 1)) };
}

/** A pool's name, and where its engines are listed. */
function source(text: string): [pool: string, source: Source] {
  const [, pool = 'default', where = text] = /^([^=]*)=([^]*)$/.exec(text) ?? [];
  if (where.startsWith('file:')) {
    return [pool, ofFile(where.slice('file:'.length))];
  }
  const [, host, number] = /^dns:\/\/(\[[^\]]+\]|[^:/?#]+):(\d+)\/?$/.exec(where) ?? [];
  if (host === undefined || number === undefined) {
    throw new Error(`'${text}' must be dns://HOST:PORT or file:PATH`);
  }
  return [pool, ofDns(host.replace(/^\[|\]$/g, ''), port(number))];
}

function ports(text: string): [events: number, replays: number] {
  const [events, replays, more] = text.split(',');
  if (events === undefined || replays === undefined || more !== undefined) {
    throw new Error(`'${text}' must be two ports, such as 5557,5558`);
  }
  return [port(events), port(replays)];
}

function claims(text: string): AllowName[] {
  return text.split(',').filter(Boolean).map((name) => {
    const claim = CLAIMS.find((one) => one === name);
    if (claim === undefined) {
      throw new Error(`'${name}' must be one of ${CLAIMS.join(', ')}`);
    }
    return claim;
  });
}

function secret(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new Error(`${path} cannot be read: ${reasonOf(error)}`);
  }
  if (!/^[\x20-\x7e]+$/.test(text)) {
    throw new Error(`${path} must hold one line of ASCII text: the key`);
  }
  return text;
}

/** The key of gateways: all bytes of a file, without whitespace at both ends. */
function peersKey(path: string): Uint8Array {
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch (error) {
    throw new Error(`${path} cannot be read: ${reasonOf(error)}`);
  }
  // `trim` would take bytes of a binary key that Python keeps.
  const key = Buffer.from(text.replace(/^[\t-\r ]+|[\t-\r ]+$/g, ''), 'latin1');
  if (key.length < 16) {
    throw new Error(`${path} must hold a key of at least 16 bytes`);
  }
  return key;
}

/** The function of a module: a file, or a package, and the name of its export. */
async function imported(path: string): Promise<SafetyFunction> {
  const colon = path.lastIndexOf(':');
  const [module, name] = colon < 0 ? [path, ''] : [path.slice(0, colon), path.slice(colon + 1)];
  let found: unknown;
  try {
    const isFile = /^[./]|^[A-Za-z]:[\\/]/.test(module);
    const exports: Record<string, unknown> = await import(isFile ? pathToFileURL(resolve(module)).href : module);
    found = exports[name];
  } catch (error) {
    throw new UsageError(`argument --safety: '${path}' cannot be imported: ${described(error)}`);
  }
  if (typeof found !== 'function') {
    throw new UsageError(`argument --safety: '${path}' must be a function: MODULE:FUNCTION`);
  }
  return found as SafetyFunction;
}
