/** What a gateway needs besides its configuration: addresses, limits, functions of the host. */
import type { Connector } from '../forward.js';
import type { AllowName } from '../request.js';
import { type Log, stderrLog } from './log.js';
import type { SafetyFunction } from './safety.js';
import { Telemetry } from '../telemetry.js';
import type { Source } from '../engines/index.js';

/** Where a gateway listens; port 0 is a free one. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a gateway needs besides its configuration. */
export interface GatewaySettings {
  /** Where clients connect; null if a host passes requests on. Default: 127.0.0.1, a free port. */
  readonly address?: Address | null | undefined;
  /** Where the admin page is served; it has no authentication. Default: nowhere. */
  readonly admin?: Address | null | undefined;
  /** The claims that a client may make itself: see `allow` of requests. Default: `session`. */
  readonly allow?: readonly AllowName[] | undefined;
  /** The largest number of endpoints that one request is sent to. Default: 3. */
  readonly attempts?: number | undefined;
  /**
   * The longest time without a token of an answer; null for no limit. Default: 30 s or ten times
   * the predicted time to the first token, whichever is longer, and then 60 s; before a whole
   * answer, 600 s.
   */
  readonly idleTimeoutMs?: number | null | undefined;
  /** How disaggregated requests move their KV cache. Default: there are none. */
  readonly connector?: Connector | undefined;
  /** Judges the texts of prompts and answers. */
  readonly safety?: SafetyFunction | undefined;
  /** The API key that engines require. Keys of clients are never forwarded. */
  readonly engineKey?: string | undefined;
  /** The largest body of a request in bytes. Default: 64 MiB. */
  readonly maxBody?: number | undefined;
  /** Tokens that a quota books for an answer if the body has no maximum. Default: 256. */
  readonly expectedOutput?: number | undefined;
  /** The saturation of a mirror's pool from which on copies are dropped. Default: 0.8. */
  readonly mirrorLimit?: number | undefined;
  /** How long to wait for a connection to an engine. Default: 5,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** Where messages between gateways go: see `connect` of `slotwise/peers`. Default: nowhere. */
  readonly peers?: string | null | undefined;
  /** The key of the gateways. Sockets of one host have one of their own if there is none. */
  readonly peersKey?: Uint8Array | string | undefined;
  /** The name of this gateway among its peers. Default: made of host, process and a random part. */
  readonly name?: string | undefined;
  /** The ports on which engines publish KV events, and replay them. Default: subscribes to none. */
  readonly kvEvents?: readonly [events: number, replays: number] | undefined;
  /** Where the engines of a pool are listed, by the pool's name, besides its endpoints. */
  readonly discover?: Readonly<Record<string, Source>> | undefined;
  /** The time between two looks at these lists. Default: 5,000. */
  readonly discoverEveryMs?: number | undefined;
  /** The time between two metrics pages of an engine. Default: 1,000. */
  readonly scrapeEveryMs?: number | undefined;
  /** The time between a stop and the last new connection, for load balancers. Default: 0. */
  readonly graceMs?: number | undefined;
  /** The longest time that requests in flight get after that. Default: 300,000. */
  readonly drainMs?: number | undefined;
  /** The spans and metrics of requests. Default: those of OpenTelemetry's global providers. */
  readonly telemetry?: Telemetry | undefined;
  /** Takes the lines of the log. Default: those from `warning` on go to the standard error. */
  readonly log?: Log | undefined;
}

/** The settings with the defaults. */
export type Settings = ReturnType<typeof settingsOf>;

/** Adds the defaults. */
export function settingsOf(given: GatewaySettings) {
  return {
    address: given.address === undefined ? { host: '127.0.0.1', port: 0 } : given.address,
    admin: given.admin ?? null,
    allow: given.allow ?? (['session'] as const),
    attempts: given.attempts ?? 3,
    idleTimeoutMs: given.idleTimeoutMs,
    connector: given.connector,
    safety: given.safety,
    engineKey: given.engineKey,
    maxBody: given.maxBody ?? 64 * 2 ** 20,
    expectedOutput: given.expectedOutput ?? 256,
    mirrorLimit: given.mirrorLimit ?? 0.8,
    connectTimeoutMs: given.connectTimeoutMs ?? 5_000,
    peers: given.peers ?? null,
    peersKey: given.peersKey,
    name: given.name,
    kvEvents: given.kvEvents,
    discover: given.discover ?? {},
    discoverEveryMs: given.discoverEveryMs ?? 5_000,
    scrapeEveryMs: given.scrapeEveryMs ?? 1_000,
    graceMs: given.graceMs ?? 0,
    drainMs: given.drainMs ?? 300_000,
    telemetry: given.telemetry ?? new Telemetry(),
    log: given.log ?? stderrLog('warning'),
  };
}
