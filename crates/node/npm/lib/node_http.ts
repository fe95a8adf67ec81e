/**
 * A gateway behind servers of `node:http`, such as that of Express.
 *
 * ```ts
 * const gateway = new Gateway(configuration, { address: null });
 * await gateway.start();
 * createServer(nodeHandler(gateway)).listen(8080);
 * ```
 *
 * @packageDocumentation
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Gateway } from './gateway/gateway.js';
import { overHttp } from './gateway/listener.js';

/**
 * A function for `createServer`. It answers every request, those for unknown paths with 404. No
 * parser may have read the body before.
 */
export function nodeHandler(gateway: Gateway): (request: IncomingMessage, response: ServerResponse) => void {
  const handle = overHttp((incoming) => gateway.answer(incoming));
  return (request, response) => void handle(request, response);
}
