/**
 * What a gateway does beside its requests: scrapes, KV events, health checks, discovery.
 *
 * ```ts
 * const scheduler = new Scheduler();
 * const found = await discover(scheduler, ofDns('vllm.default.svc', 8000));
 * const scraper = scrape(scheduler, httpGet());
 * const subscriber = await subscribe(scheduler, publishersOn(5557, 5558));
 * // serve
 * await Promise.all([found, scraper, subscriber].map((helper) => helper.close()));
 * ```
 *
 * Each helper works in the background until its `close`. Errors of engines go to the scheduler and
 * to the `log`; they never end a helper. Timers and requests of helpers keep no process alive; the
 * sockets of `subscribe` do.
 *
 * @packageDocumentation
 */
export type { BackgroundOptions, Log, Sleep } from './background.js';
export { Background } from './background.js';
export type { DiscoverOptions } from './discovery.js';
export { Discovery, discover } from './discovery.js';
export type { DrainOptions } from './draining.js';
export { drain } from './draining.js';
export type { FetchGetOptions, Get, HttpGetOptions, Page } from './http.js';
export { fetchGet, httpGet } from './http.js';
export type { ProbeChecks, ProbeOptions } from './probing.js';
export { Prober, probe } from './probing.js';
export type { Publisher, Publishers, PublishersOnOptions } from './publishers.js';
export { publishersOn } from './publishers.js';
export type { ScrapeOptions } from './scraping.js';
export { Scraper, scrape } from './scraping.js';
export type { DnsOptions, Lookup, SchemeOptions, Source, SrvResolver } from './sources.js';
export { ofDns, ofFile, ofList, ofSrv } from './sources.js';
export type { SubscribeOptions } from './subscribing.js';
export { Subscriber, subscribe } from './subscribing.js';
export type { DealerSocket, ReceivingSocket, SocketOptions, SubscriberSocket, ZeroMq } from './zeromq.js';
