"""Follows the KV events of one engine over ZMQ, with replay. Needs pyzmq.

An engine that publishes events (vLLM: ``--kv-events-config``) is known exactly: what it stores and evicts
is what the scheduler predicts. Without events the scheduler assumes what answers leave in caches.
"""

import asyncio
import logging
from collections.abc import Iterable

from slotwise import WireError, aio, wire

log = logging.getLogger(__name__)

REPLAY_LIMIT_MS = 5_000
"""After so long without another message, a replay is given up."""


def start(scheduler: aio.Scheduler, endpoint: int, publishers: Iterable[str], url: str) -> "asyncio.Task[None]":
    """Follows the engine at ``url`` until cancelled, if ``publishers`` has its sockets: ``URL=EVENTS[,REPLAY]``."""
    sockets = dict(publisher.split("=", 1) for publisher in publishers).get(url, "").split(",")
    return asyncio.create_task(follow(scheduler, endpoint, *sockets))


async def follow(scheduler: aio.Scheduler, endpoint: int, events: str, replay: str | None = None) -> None:
    """Applies what the socket ``events`` publishes, and asks at ``replay`` for what is missing."""
    if not events:
        return
    import zmq
    import zmq.asyncio

    context = zmq.asyncio.Context.instance()
    replaying: asyncio.Task[None] | None = None
    with context.socket(zmq.SUB) as subscriber:
        # No limit: a message that ZMQ drops would cost a replay.
        subscriber.setsockopt(zmq.RCVHWM, 0)
        subscriber.subscribe(b"")
        subscriber.connect(events)
        try:
            while True:
                try:
                    report = scheduler.handle_kv_frames(endpoint, await subscriber.recv_multipart())
                except WireError as malformed:  # the frames hold no batch; a batch that cannot be read is only counted
                    log.warning("%s: %s", events, malformed)
                    continue
                # A subscriber that comes late has missed the beginning, and asks for it.
                if report.ask is not None:
                    if replaying is not None:
                        replaying.cancel()
                    replaying = asyncio.create_task(_replay(context, scheduler, endpoint, replay, report.ask))
        finally:
            if replaying is not None:
                replaying.cancel()


async def _replay(
    context: "zmq.asyncio.Context", scheduler: aio.Scheduler, endpoint: int, replay: str | None, ask: int | None
) -> None:
    """Asks for the batches from ``ask`` on. The live ones go on meanwhile: the scheduler puts them in order."""
    import zmq

    if replay is None:
        scheduler.abandon_replay(endpoint)
        return
    while ask is not None:
        # A socket of its own for each question: an answer to an earlier one must not be taken for this one's.
        with context.socket(zmq.DEALER) as dealer:
            dealer.setsockopt(zmq.LINGER, 0)
            dealer.connect(replay)
            await dealer.send_multipart([b"", wire.replay_request(ask)])
            ask = None
            while ask is None and scheduler.replay_from(endpoint) is not None:
                if await dealer.poll(REPLAY_LIMIT_MS):
                    frames = await dealer.recv_multipart()
                    ask = scheduler.handle_kv_frames(endpoint, frames, replay=True).ask
                else:
                    ask = scheduler.abandon_replay(endpoint).ask
