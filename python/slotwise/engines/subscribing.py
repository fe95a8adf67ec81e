"""Follows the KV events of all endpoints over ZeroMQ. See :func:`subscribe`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .. import _core, wire
from ..errors import UnknownEndpointError, WireError
from .background import Followers, Sleep, log

if TYPE_CHECKING:
    import zmq.asyncio


@dataclass(frozen=True)
class Publisher:
    """The sockets of one engine, or of one of its data-parallel ranks."""

    events: str
    """The address of its events: ``tcp://10.0.0.1:5557``."""
    replay: str | None = None
    """The address of its replays. Without one, missed batches are lost."""
    rank: int = 0
    """Its data-parallel rank."""


Publishers = Callable[[str], Sequence[Publisher]] | Mapping[str, Sequence[Publisher]]
"""The publishers of an endpoint, by its name. An endpoint without any has no events."""


def publishers_on(
    port: int = 5557, replay_port: int | None = 5558, *, ranks: int = 1
) -> Callable[[str], Sequence[Publisher]]:
    """Publishers on the host of each endpoint, whose name is its URL.

    Rank ``n`` publishes on ``port + n`` and replays on ``replay_port + n``, as vLLM's ranks do.

    >>> from slotwise import engines
    >>> engines.publishers_on(ranks=2)("http://10.0.0.1:8000")[1].events
    'tcp://10.0.0.1:5558'
    """

    def publishers(name: str) -> Sequence[Publisher]:
        host = urlsplit(name).hostname
        if host is None:
            return ()
        at = f"tcp://[{host}]" if ":" in host else f"tcp://{host}"
        return [
            Publisher(
                f"{at}:{port + rank}",
                None if replay_port is None else f"{at}:{replay_port + rank}",
                rank,
            )
            for rank in range(ranks)
        ]

    return publishers


def subscribe(
    scheduler: _core.Scheduler,
    publishers: Publishers,
    *,
    replay_timeout: float = 5.0,
    queue_limit: int = 100_000,
    every: float = 1.0,
    context: zmq.asyncio.Context | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Subscriber:
    """Applies the KV events of every endpoint that has ``publishers``. Needs ``pyzmq``.

    With events (vLLM: ``--kv-events-config``), the scheduler's record of a cache is exact. Without
    events, it is estimated from answers.

    A subscriber that connects late or misses batches requests them again. A replay is abandoned
    after ``replay_timeout`` seconds without a message. At most ``queue_limit`` messages of a
    publisher wait; further ones are dropped and requested again. ZeroMQ reconnects by itself.
    Endpoints that are added or removed are found within ``every`` seconds.

    Raises ``ImportError`` without ``pyzmq``.
    """
    try:
        import zmq.asyncio  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "KV events need pyzmq: pip install 'slotwise[kv-events]'", name=error.name
        ) from error
    return Subscriber(
        scheduler,
        publishers,
        replay_timeout=replay_timeout,
        queue_limit=queue_limit,
        every=every,
        context=context,
        sleep=sleep,
    )


class Subscriber(Followers):
    """The subscriptions, in the background of an ``async with`` block."""

    def __init__(
        self,
        scheduler: _core.Scheduler,
        publishers: Publishers,
        *,
        replay_timeout: float,
        queue_limit: int,
        every: float,
        context: zmq.asyncio.Context | None,
        sleep: Sleep,
    ) -> None:
        super().__init__(scheduler, every=every, sleep=sleep)
        self._publishers = publishers
        self._replay_timeout = replay_timeout
        self._queue_limit = queue_limit
        self._own_context = context is None
        self._context = context

    async def _start(self) -> None:
        if self._context is None:
            import zmq.asyncio

            self._context = zmq.asyncio.Context()
        await super()._start()

    async def aclose(self) -> None:
        await super().aclose()
        if self._own_context and self._context is not None:
            context, self._context = self._context, None
            context.destroy(linger=0)

    async def _follow(self, endpoint_id: int, name: str) -> None:
        if callable(self._publishers):
            publishers = self._publishers(name)
        else:
            publishers = self._publishers.get(name, ())
        if not publishers:
            await asyncio.get_running_loop().create_future()  # until the endpoint is removed
        try:
            async with asyncio.TaskGroup() as ranks:
                for publisher in publishers:
                    ranks.create_task(self._follow_rank(endpoint_id, publisher))
        except* UnknownEndpointError:
            pass  # It was removed since the last look.

    async def _follow_rank(self, endpoint_id: int, publisher: Publisher) -> None:
        """Applies what one rank publishes."""
        import zmq

        replaying: asyncio.Task[None] | None = None
        subscriber = self._socket(zmq.SUB)
        try:
            subscriber.setsockopt(zmq.RCVHWM, self._queue_limit)
            subscriber.subscribe(b"")
            subscriber.connect(publisher.events)
            while True:
                frames = await subscriber.recv_multipart()
                first = self._handle(endpoint_id, publisher, frames, replay=False)
                if first is not None:
                    if replaying is not None:
                        replaying.cancel()
                    work = self._replay(endpoint_id, publisher, first)
                    replaying = self._spawn(work, f"replay of {publisher.events}")
        finally:
            if replaying is not None:
                replaying.cancel()
            subscriber.close(linger=0)

    async def _replay(self, endpoint_id: int, publisher: Publisher, ask: int | None) -> None:
        """Requests the batches from ``ask`` on. The scheduler puts them in order with live ones."""
        import zmq

        rank = publisher.rank
        while ask is not None:
            if publisher.replay is None:
                ask = self._scheduler.abandon_replay(endpoint_id, rank=rank).ask
                continue
            # A new socket for each request: it must not receive the answer to an earlier one.
            dealer = self._socket(zmq.DEALER)
            try:
                dealer.connect(publisher.replay)
                await dealer.send_multipart([b"", wire.replay_request(ask)])
                ask = None
                while ask is None and self._scheduler.replay_from(endpoint_id, rank=rank) is not None:
                    if await dealer.poll(round(self._replay_timeout * 1_000)):
                        frames = await dealer.recv_multipart()
                        ask = self._handle(endpoint_id, publisher, frames, replay=True)
                    else:
                        log.warning("%s: the replay is abandoned", publisher.replay)
                        ask = self._scheduler.abandon_replay(endpoint_id, rank=rank).ask
            finally:
                dealer.close(linger=0)

    def _handle(
        self, endpoint_id: int, publisher: Publisher, frames: Sequence[bytes], *, replay: bool
    ) -> int | None:
        """Applies a message. Returns the first batch of a replay to request, if there is one."""
        try:
            report = self._scheduler.handle_kv_frames(
                endpoint_id, frames, replay=replay, rank=publisher.rank
            )
        except WireError as malformed:  # The frames hold no batch.
            log.warning("%s: %s", publisher.events, malformed)
            return None
        return report.ask

    def _socket(self, kind: int) -> Any:
        import zmq

        assert self._context is not None, "the block has begun"
        socket = self._context.socket(kind)
        # Finds out about a host that is gone, after which ZeroMQ connects again.
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)
        return socket
