/**
 * A gateway as a plugin of Fastify.
 *
 * ```ts
 * const gateway = new Gateway(configuration, { address: null });
 * fastify.register(slotwise, { gateway });
 * await fastify.listen({ port: 8080 });
 * ```
 *
 * @packageDocumentation
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Gateway } from './gateway/gateway.js';
import { nodeHandler } from './node_http.js';

/** Options of the plugin. */
export interface SlotwiseOptions {
  /** The gateway. The plugin starts it, and stops it before the server closes. */
  readonly gateway: Gateway;
}

/** What the plugin needs of a Fastify instance, of version 4 or 5. */
export interface FastifyHost {
  readonly prefix: string;
  removeAllContentTypeParsers(): unknown;
  addContentTypeParser(
    type: string,
    parser: (request: unknown, payload: unknown, done: (error: Error | null) => void) => void,
  ): unknown;
  addHook(name: 'onReady', hook: () => Promise<void>): unknown;
  addHook(name: 'preClose', hook: () => Promise<void>): unknown;
  all(path: string, handler: (request: FastifyRequestLike, reply: FastifyReplyLike) => void): unknown;
}

/** A request of Fastify. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage;
}

/** A reply of Fastify. */
export interface FastifyReplyLike {
  readonly raw: ServerResponse;
  hijack(): unknown;
}

/**
 * Answers all paths below the plugin's prefix. Hooks of the host run before it, so they may refuse
 * requests. The answer bypasses Fastify's: hooks such as `onSend` see nothing of it.
 */
export async function slotwise(fastify: FastifyHost, { gateway }: SlotwiseOptions): Promise<void> {
  const handle = nodeHandler(gateway);
  const prefix = fastify.prefix.replace(/\/+$/, '');
  // The gateway reads the body itself, once it knows the client. The parsers of the host's other
  // routes stay: a plugin has its own.
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', (_request, _payload, done) => done(null));
  fastify.addHook('onReady', () => gateway.start());
  fastify.addHook('preClose', () => gateway.stop());
  fastify.all('/*', (request, reply) => {
    reply.hijack();
    const { raw } = request;
    raw.url = raw.url?.slice(prefix.length);
    handle(raw, reply.raw);
  });
}

export default slotwise;
