"""Messages by a Redis server: one pub/sub channel for each pool.

Pub/sub keeps nothing: a message is worth nothing once the next one has come. Servers with
the same protocol, such as Valkey, serve as well.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from .transport import Backoff, Outbox, Receive, log

try:
    import redis.asyncio as _redis
    from redis.backoff import NoBackoff
    from redis.asyncio.retry import Retry
    from redis.exceptions import RedisError
except ImportError as _error:
    raise ImportError(
        "slotwise.peers.redis needs redis: pip install 'slotwise[redis]'", name=_error.name
    ) from _error

__all__ = ["RedisTransport"]

SILENT = 5.0
"""Seconds without any message after which a connection counts as lost. A gateway receives its own
messages too, at least one a second, so a healthy connection is never silent for so long."""


class RedisTransport:
    """A channel of a Redis server. See :class:`slotwise.peers.Transport`.

    It has two connections: one publishes, the other is subscribed.
    """

    max_message: int = 2**24

    def __init__(self, url: str, *, channel: str = "default", silent: float = SILENT) -> None:
        self._channel = f"slotwise:peers:{channel}"
        self._silent = silent
        self._client: Any = _redis.Redis.from_url(
            url,
            socket_connect_timeout=silent,
            socket_timeout=silent,
            # Attempts have a backoff of their own here.
            retry=Retry(NoBackoff(), 0),
        )
        self._outbox = Outbox()
        self._receive: Receive = lambda message: None
        self._subscribed = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> bool:
        """Whether the channel is subscribed, and messages have come lately."""
        return self._subscribed

    @property
    def dropped(self) -> int:
        """Messages that were not sent."""
        return self._outbox.dropped

    async def start(self, receive: Receive) -> None:
        """Begins to connect. Returns without waiting for the server."""
        self._receive = receive
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._listen())]

    def broadcast(self, message: bytes) -> None:
        """Publishes a message, once those before it are."""
        self._outbox.add(message)

    async def close(self) -> None:
        """Publishes what waits, while that succeeds at once, and closes the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(self._silent):
                while self._subscribed and (message := self._outbox.take()) is not None:
                    await self._client.publish(self._channel, message)
        self._subscribed = False
        with contextlib.suppress(RedisError, OSError):
            await self._client.aclose()

    async def _publish(self) -> None:
        backoff = Backoff()
        while True:
            message = await self._outbox.next()
            try:
                async with asyncio.timeout(self._silent):
                    await self._client.publish(self._channel, message)
                backoff.reset()
            except (RedisError, OSError, TimeoutError):
                # The listener logs why.
                self._outbox.dropped += 1
                await asyncio.sleep(backoff.next())

    async def _listen(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._listen_once(backoff)
            except (RedisError, OSError, TimeoutError) as error:
                if self._subscribed:
                    log.warning("the connection to Redis is lost: %s", str(error) or "no message")
                self._subscribed = False
            await asyncio.sleep(backoff.next())

    async def _listen_once(self, backoff: Backoff) -> None:
        async with self._client.pubsub() as pubsub:
            async with asyncio.timeout(self._silent):
                await pubsub.subscribe(self._channel)
            while True:
                async with asyncio.timeout(self._silent):
                    item = await pubsub.get_message(timeout=None)
                if item is None:
                    continue
                if not self._subscribed:
                    log.info("subscribed to %s", self._channel)
                self._subscribed = True
                backoff.reset()
                if item["type"] == "message":
                    self._receive(item["data"])
