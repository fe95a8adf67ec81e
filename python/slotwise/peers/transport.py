"""What carries messages between gateways, and what all transports have in common."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

__all__ = ["Backoff", "Outbox", "Receive", "Transport", "connect"]

log: logging.Logger = logging.getLogger("slotwise.peers")

Receive = Callable[[bytes], None]
"""Takes one message of any gateway. It does not raise."""


class Transport(Protocol):
    """Carries messages to all gateways with the same channel.

    A transport may lose, repeat and reorder messages, and may return a gateway's own. It connects
    again by itself, and it never blocks and never raises because a connection is lost.
    """

    max_message: int
    """The largest message in bytes."""

    @property
    def connected(self) -> bool:
        """Whether messages are carried now, as far as is known."""

    @property
    def dropped(self) -> int:
        """Messages that were not sent."""

    async def start(self, receive: Receive) -> None:
        """Begins to connect. Returns without waiting for a server."""

    def broadcast(self, message: bytes) -> None:
        """Sends a message to all gateways, or drops it."""

    async def close(self) -> None:
        """Sends what waits if it can be sent at once, and closes the connections."""


def connect(url: str, *, channel: str = "default") -> Transport:
    """The transport for a URL, not connected yet.

    ``redis://[[user]:password@]host[:port][/database]`` or ``rediss://...``,
    ``nats://[user:password@]host[:port][,...]`` or ``tls://...``, or ``unix:DIRECTORY``. Gateways
    with the same ``channel`` receive each other's messages: use the pool's name.

    Raises ``ValueError`` for another URL, and ``ImportError`` if the package for it is missing.
    """
    if not channel:
        raise ValueError("channel must not be empty")
    scheme, colon, rest = url.partition(":")
    if scheme == "unix" and colon and rest:
        from .unix import UnixTransport

        return UnixTransport(rest, channel=channel)
    host = urlsplit(url.partition(",")[0]).hostname
    if scheme in ("redis", "rediss") and host:
        from .redis import RedisTransport

        return RedisTransport(url, channel=channel)
    if scheme in ("nats", "tls") and host:
        from .nats import NatsTransport

        return NatsTransport(url, channel=channel)
    raise ValueError(
        f"{_without_password(url)!r} must be redis://HOST:PORT, nats://HOST:PORT or unix:DIRECTORY"
    )


class Outbox:
    """Messages that wait to be sent. The oldest ones make room for new ones.

    A newer message of a gateway has the current loads, and receivers ask for what they miss.
    """

    def __init__(self, *, limit: int = 64) -> None:
        self._waiting: deque[bytes] = deque()
        self._limit = limit
        self._added = asyncio.Event()
        self.dropped: int = 0

    def add(self, message: bytes) -> None:
        """Adds a message."""
        self._waiting.append(message)
        if len(self._waiting) > self._limit:
            self._waiting.popleft()
            self.dropped += 1
        self._added.set()

    def take(self) -> bytes | None:
        """The oldest message, if any."""
        return self._waiting.popleft() if self._waiting else None

    async def next(self) -> bytes:
        """Waits for the oldest message."""
        while (message := self.take()) is None:
            self._added.clear()
            await self._added.wait()
        return message


class Backoff:
    """Seconds before another attempt to connect: twice as many after each failure, with jitter."""

    def __init__(self, *, first: float = 0.05, most: float = 2.0) -> None:
        self._first = first
        self._most = most
        self._failures = 0

    def reset(self) -> None:
        """The connection works."""
        self._failures = 0

    def next(self) -> float:
        """The time to wait after a failure."""
        # Gateways that lose one server at once do not come back at once.
        seconds = min(self._most, self._first * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return seconds * random.uniform(0.5, 1.0)


def _without_password(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"
