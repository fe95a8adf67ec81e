/** A request and its options, checked, and the exchange that serves it. */
import { NativeExchange, addUsage as addUsageTo } from '../native/index.js';
import type { Ask, ExchangeOptions, Reply } from './engine_answer.js';
import { guarded } from './errors.js';
import { Exchange, type AskEngine } from './exchange.js';
import { randomSalt } from './prefill.js';
import { readWire } from './prompt.js';
import type { HttpRequest } from './request.js';
import type { Scheduler } from './scheduler.js';
import { idleLimit } from './stream.js';
import { checkSignal, number, numbers, optionalBoolean, optionalString } from './validate.js';

/** Serves a request. See `Scheduler.forward`. */
export function serve(
  scheduler: Scheduler,
  ask: Ask,
  request: HttpRequest,
  options: ExchangeOptions,
): Promise<Reply> {
  const {
    attempts = 3, answersAs, addUsage, connector, bootstrapPort, primaryPort, idleTimeoutMs, expires, ...others
  } = options;
  const limit = idleLimit({ idleTimeoutMs });
  const exclusions = others.exclude === undefined ? undefined : numbers('exclude', others.exclude);
  checkSignal(options.signal);
  checkSignal(expires);
  const stages =
    connector === undefined ? null : { connector, bootstrapPort, primaryPort, roomSalt: randomSalt() };
  const path = String(request.path ?? '');
  const model = optionalString('answersAs', answersAs);
  const addsUsage = optionalBoolean('addUsage', addUsage) ?? false;
  const asking = addsUsage
    ? guarded(() => addUsageTo(readWire('body', request.body), undefined, path))
    : null;
  const asked = asking === null ? request : { ...request, body: asking };
  const native = guarded(() =>
    new NativeExchange(
      scheduler.native, path, number('attempts', attempts), exclusions, stages, model, asking !== null, limit));
  const changes = stages !== null || addsUsage;
  const askEngine: AskEngine = (url, headers, attempt) => {
    const body = changes ? native.callBody(path, readWire('body', asked.body)) : undefined;
    return ask(url, attempt, { headers: headers as [string, string][], body });
  };
  return new Exchange(scheduler, native, options.signal, expires).run(askEngine, asked, others);
}
