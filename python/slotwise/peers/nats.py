"""Messages by a NATS server: one subject for each pool, without JetStream."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

from .transport import Backoff, Outbox, Receive, log

try:
    import nats as _nats
    from nats.errors import Error as NatsError
except ImportError as _error:
    raise ImportError(
        "slotwise.peers.nats needs nats-py: pip install 'slotwise[nats]'", name=_error.name
    ) from _error

__all__ = ["NatsTransport"]

SILENT = 5.0
"""Seconds without an answer to a ping after which a connection counts as lost."""


class NatsTransport:
    """A subject of NATS servers, which are listed with commas. See
    :class:`slotwise.peers.Transport`."""

    max_message: int = 2**20
    """What a server accepts by default."""

    def __init__(self, url: str, *, channel: str = "default", silent: float = SILENT) -> None:
        self._servers = url.split(",")
        self._subject = subject_of(channel)
        self._silent = silent
        self._client: Any = None
        self._outbox = Outbox()
        self._receive: Receive = lambda message: None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> bool:
        """Whether there is a connection that answers pings."""
        return self._client is not None and bool(self._client.is_connected)

    @property
    def dropped(self) -> int:
        """Messages that were not sent."""
        return self._outbox.dropped

    async def start(self, receive: Receive) -> None:
        """Begins to connect. Returns without waiting for a server."""
        self._receive = receive
        self._tasks = [asyncio.create_task(self._run())]

    def broadcast(self, message: bytes) -> None:
        """Publishes a message, once those before it are."""
        self._outbox.add(message)

    async def close(self) -> None:
        """Publishes what waits, while that succeeds at once, and closes the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(self._silent):
                while self.connected and (message := self._outbox.take()) is not None:
                    await self._client.publish(self._subject, message)
                if self.connected:
                    await self._client.flush()
        await self._disconnect()

    async def _run(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._connect(backoff)
                while self.connected:
                    await self._publish()
                log.warning("the connection to NATS is lost")
            except (NatsError, OSError, TimeoutError) as error:
                log.debug("no connection to NATS: %s", error)
            await self._disconnect()
            await asyncio.sleep(backoff.next())

    async def _publish(self) -> None:
        """Publishes the next message, or returns after a while to look at the connection."""
        try:
            async with asyncio.timeout(1.0):
                message = await self._outbox.next()
        except TimeoutError:
            return
        try:
            async with asyncio.timeout(self._silent):
                await self._client.publish(self._subject, message)
        except (NatsError, OSError, TimeoutError):
            self._outbox.dropped += 1
            raise

    async def _connect(self, backoff: Backoff) -> None:
        async def ignore(error: Exception) -> None:
            log.debug("NATS: %s", error)

        async def take(message: Any) -> None:
            self._receive(message.data)

        async with asyncio.timeout(self._silent):
            self._client = await _nats.connect(
                self._servers,
                allow_reconnect=False,
                no_echo=True,
                connect_timeout=max(1, int(self._silent)),
                ping_interval=max(1, int(self._silent / 2)),
                max_outstanding_pings=1,
                error_cb=ignore,
            )
            await self._client.subscribe(self._subject, cb=take)
        log.info("subscribed to %s", self._subject)
        backoff.reset()

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                async with asyncio.timeout(self._silent):
                    await client.close()


def subject_of(channel: str) -> str:
    """The subject of a channel, in which the bytes of other signs are ``=`` and their number."""
    encoded = re.sub(rb"[^A-Za-z0-9_-]", lambda sign: b"=%02X" % sign[0][0], channel.encode())
    return f"slotwise.peers.{encoded.decode()}"
