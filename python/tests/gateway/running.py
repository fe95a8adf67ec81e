"""A gateway in front of engines of given manners, and a client, all in one event loop."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from engines import Engine
from slotwise.configuration import Configuration
from slotwise.gateway import Gateway, Settings

CHAT = "/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "Say x."}], "stream": True}

MOST_PASSES = 500_000
"""More passes of the loop than any condition needs."""


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test in a new event loop."""
    asyncio.run(test())  # type: ignore[arg-type]


def one_pool(engines: list[Engine], **more: Any) -> dict[str, Any]:
    """The configuration of a gateway for one pool."""
    return {"endpoints": [engine.url for engine in engines], "scheduler": {"seed": 1}, **more}


def key(name: str, **access: Any) -> dict[str, Any]:
    """The entry of a key, which is ``sk-NAME``."""
    digest = hashlib.sha256(f"sk-{name}".encode()).hexdigest()
    return {"name": name, "sha256": digest, **access}


def read(configuration: dict[str, Any]) -> Configuration:
    return Configuration(json.dumps(configuration), name="test")


@asynccontextmanager
async def serving(configuration: dict[str, Any], **settings: Any) -> AsyncIterator[Host]:
    """Runs a gateway with this configuration. At its end, nothing is in flight."""
    # Scrapes would add requests that no test counts on.
    settings = {"scrape_every": 3_600.0, "connect_timeout": 600.0, "drain": 2.0, **settings}
    async with Gateway(read(configuration), Settings(**settings)) as gateway:
        async with aiohttp.ClientSession(gateway.url) as client:
            yield Host(gateway, client)
    assert gateway.open_requests == 0
    for pool in gateway.pools:
        assert pool.scheduler.stats().in_flight == 0, pool.name
        assert pool.scheduler.queued == 0, pool.name


class Host:
    """The gateway and its client."""

    def __init__(self, gateway: Gateway, client: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.client = client

    def post(self, asked: Any = ASKED, path: str = CHAT, key: str = "", **more: Any) -> Any:
        """Sends a request. Await it, or enter it."""
        headers = {"authorization": f"Bearer sk-{key}"} if key else {}
        return self.client.post(path, json=asked, headers=headers, **more)

    async def whole(self, asked: Any = ASKED, path: str = CHAT, key: str = "") -> Whole:
        """The whole answer."""
        async with self.post(asked, path, key) as response:
            return Whole(response.status, response.headers, await response.read())

    def client_of(self) -> aiohttp.ClientSession:
        """Another client."""
        return aiohttp.ClientSession(self.gateway.url)

    def stats(self, pool: str = "default") -> Any:
        return self.gateway.pools[pool].scheduler.stats()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Passes control to the other tasks until the condition holds."""
        for _ in range(MOST_PASSES):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("the condition never holds")


class Whole:
    """An answer that was read to its end."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)
