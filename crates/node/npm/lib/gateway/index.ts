/**
 * A gateway for model servers, compatible with the OpenAI and Anthropic APIs, on `node:http`.
 *
 * ```ts
 * const gateway = new Gateway(new Configuration('endpoints: [http://10.0.0.1:8000]'));
 * await gateway.start();
 * console.log(gateway.url);
 * // serve
 * await gateway.stop();
 * ```
 *
 * The command `slotwise-gateway` runs it. `slotwise/fastify`, `slotwise/node-http` and
 * `slotwise/web` put it behind other servers.
 *
 * | file | what it does |
 * |---|---|
 * | `listener` | sockets, and answers over `node:http` |
 * | `pages` | paths |
 * | `serving` | one request: identify, admit, ask, send, settle |
 * | `safety` | checks of prompts and answers by a function of the host |
 * | `upstream` | HTTP to engines |
 * | `mirrors` | copies of requests for other pools |
 * | `pools` | one scheduler for each pool of the configuration |
 * | `following` | metrics pages, health checks, KV events, lists of engines, other gateways |
 * | `peering` | what pools share with other gateways |
 * | `reloading` | another configuration while requests are in flight |
 * | `history`, `admin` | the last decisions, and the page that shows them |
 *
 * @packageDocumentation
 */
export { Gateway } from './gateway.js';
export type { Level, Log } from './log.js';
export type { SafetyContext, SafetyFunction, SafetyStage, Verdict } from './safety.js';
export { Block } from './safety.js';
export type { Address, GatewaySettings } from './settings.js';
export { Reloading } from './reloading.js';
export type { DemoEngines, Speed } from './demo.js';
export { demoEngines } from './demo.js';
