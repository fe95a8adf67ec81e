"""Follows the KV events of one engine over ZeroMQ, with replay. Needs pyzmq.

With events (vLLM: ``--kv-events-config``), the scheduler's record of a cache is exact: it holds
what the engine stored and has not evicted. Without events, the record is estimated from answers.
"""

import asyncio
import logging
from collections.abc import Iterable

from slotwise import WireError, aio, wire

log = logging.getLogger(__name__)

REPLAY_LIMIT_MS = 5_000
"""A replay is abandoned after this time without another message."""


def start(
    scheduler: aio.Scheduler, endpoint: int, publishers: Iterable[str], url: str
) -> "asyncio.Task[None]":
    """Follows the engine at ``url`` until cancelled, if it is one of ``publishers``.

    A publisher is ``URL=EVENTS[,REPLAY]``: an engine and the addresses of its sockets.
    """
    sockets = dict(publisher.split("=", 1) for publisher in publishers).get(url, "").split(",")
    return asyncio.create_task(follow(scheduler, endpoint, *sockets))


async def follow(
    scheduler: aio.Scheduler, endpoint: int, events: str, replay: str | None = None
) -> None:
    """Applies what the socket ``events`` publishes, and requests what is missing at ``replay``."""
    if not events:
        return
    import zmq
    import zmq.asyncio

    replaying: asyncio.Task[None] | None = None
    with zmq.asyncio.Context.instance().socket(zmq.SUB) as subscriber:
        # No limit on queued messages: a message that ZeroMQ drops costs a replay.
        subscriber.setsockopt(zmq.RCVHWM, 0)
        subscriber.subscribe(b"")
        subscriber.connect(events)
        try:
            while True:
                try:
                    frames = await subscriber.recv_multipart()
                    first = scheduler.handle_kv_frames(endpoint, frames).ask
                except WireError as malformed:  # the frames hold no batch
                    log.warning("%s: %s", events, malformed)
                    continue
                # A subscriber that connects late has missed the first batches, and requests them.
                if first is not None:
                    if replaying is not None:
                        replaying.cancel()
                    replaying = asyncio.create_task(_replay(scheduler, endpoint, replay, first))
        finally:
            if replaying is not None:
                replaying.cancel()


async def _replay(
    scheduler: aio.Scheduler, endpoint: int, replay: str | None, ask: int | None
) -> None:
    """Requests the batches from ``ask`` on. The scheduler puts them in order with live ones."""
    import zmq
    import zmq.asyncio

    if replay is None:
        scheduler.abandon_replay(endpoint)
        return
    while ask is not None:
        # A new socket for each request: it must not receive the answer to an earlier one.
        with zmq.asyncio.Context.instance().socket(zmq.DEALER) as dealer:
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
