"""Follows the engines of all pools by :mod:`slotwise.engines`.

Metrics pages of all pools, the health checks that a pool configures, KV events if the settings have
their ports, and the sources that list a pool's engines.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from .. import engines
from .pools import Pool

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["Following"]

_log = logging.getLogger("slotwise.gateway")

TIDY_EVERY = 1.0
"""Seconds between two looks for pools and endpoints that have left."""


class Following:
    """The work beside the requests: one task for each pool."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._tasks: dict[Pool, asyncio.Task[None]] = {}
        self._tidying: asyncio.Task[None] | None = None

    def sync(self) -> None:
        """Follows the engines of the pools that exist now, and of no others."""
        present = set(self._gateway.pools)
        for pool in self._tasks.keys() - present:
            self._tasks.pop(pool).cancel()
        for pool in present - self._tasks.keys():
            self._tasks[pool] = asyncio.create_task(self._follow(pool))
        if self._tidying is None:
            self._tidying = asyncio.create_task(self._tidy())

    async def close(self) -> None:
        """Follows no engine any more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        if self._tidying is not None:
            tasks.append(self._tidying)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, pool: Pool) -> None:
        try:
            async with AsyncExitStack() as group:
                for follower in self._followers(pool):
                    await group.enter_async_context(follower)
                await asyncio.Event().wait()
        except Exception:
            _log.exception("the engines of the pool %s are not followed", pool.name)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY)
            self._gateway.pools.remove_idle()
            self.sync()

    def _followers(self, pool: Pool) -> list[engines.Background]:
        settings, scheduler = self._gateway.settings, pool.scheduler
        get = engines.aiohttp_get(self._gateway.upstream.control)
        followers: list[engines.Background] = [
            engines.scrape(scheduler, get, interval=settings.scrape_every)
        ]
        if pool.health_check is not None:
            followers.append(engines.probe(scheduler, get, pool.health_check))
        if settings.kv_events is not None:
            publishers = engines.publishers_on(*settings.kv_events)
            followers.append(engines.subscribe(scheduler, publishers))
        if (source := settings.discover.get(pool.name)) is not None:
            followers.append(engines.discover(scheduler, source))
        return followers
