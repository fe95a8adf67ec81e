// Follows the KV events of one engine over ZeroMQ, with replay. Needs the package `zeromq`.
//
// With events (vLLM: `--kv-events-config`), the scheduler's record of a cache is exact: it holds
// what the engine stored and has not evicted. Without events, the record is estimated from answers.
import { replayRequest } from 'slotwise/wire';

/** A replay is abandoned after this time without another message, in milliseconds. */
const REPLAY_LIMIT = 5_000;

/** Applies what `events` publishes until `signal` aborts. Requests what is missing at `replay`. */
export async function follow(scheduler, endpoint, [events, replay], signal) {
  const { Dealer, Subscriber } = await import('zeromq');
  // No limit on queued messages: a message that ZeroMQ drops costs a replay.
  const subscriber = new Subscriber({ receiveHighWaterMark: 0 });
  let dealer = null;
  signal.addEventListener('abort', () => {
    subscriber.close();
    dealer?.close();
  });
  subscriber.subscribe();
  subscriber.connect(events);
  for await (const frames of subscriber) {
    if (signal.aborted) return;
    try {
      // A subscriber that connects late has missed the first batches, and requests them.
      const { ask } = scheduler.handleKvFrames(endpoint, frames);
      if (ask !== null) replayFrom(ask).catch((fault) => console.error(`${replay}: ${fault}`));
    } catch (fault) {
      console.error(`${events}: ${fault}`); // the frames hold no batch
    }
  }

  /** Requests the batches from `ask` on. The scheduler puts them in order with live ones. */
  async function replayFrom(ask) {
    if (replay === undefined) return scheduler.abandonReplay(endpoint);
    // A new socket for each request: it must not receive the answer to an earlier one.
    dealer?.close();
    const own = (dealer = new Dealer({ linger: 0, receiveTimeout: REPLAY_LIMIT }));
    own.connect(replay);
    await own.send([new Uint8Array(), replayRequest(ask)]);
    while (scheduler.replayFrom(endpoint) !== null) {
      const frames = await own.receive().catch(() => null);
      if (own.closed) return;
      const { ask: again } = frames === null
        ? scheduler.abandonReplay(endpoint)
        : scheduler.handleKvFrames(endpoint, frames, { replay: true });
      if (again !== null) return replayFrom(again);
    }
    own.close();
  }
}
