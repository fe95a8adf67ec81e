"""Follows the engines of all pools by :mod:`slotwise.engines`.

Metrics pages of all pools, the health checks that a pool configures, KV events if the settings have
their ports, the sources that list a pool's engines, and messages to other gateways.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeAlias

from .. import engines
from .pools import Pool

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["Following"]

_log = logging.getLogger("slotwise.gateway")

Follower: TypeAlias = AbstractAsyncContextManager[object]
"""Work that goes on while it is entered."""

Work: TypeAlias = tuple[Pool | None, str]
"""Work for one pool, or for all. Its name differs from that of work with other settings."""

USAGE: Work = (None, "usage of limits")

TIDY_EVERY = 1.0
"""Seconds between two looks for pools and endpoints that have left."""


class Following:
    """The work beside the requests: a task for each pool and kind of work."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._tasks: dict[Work, asyncio.Task[None]] = {}
        self._tidying: asyncio.Task[None] | None = None

    def sync(self) -> None:
        """Does the work of the pools that exist now, as they are configured now, and no other.

        Work that stays goes on: a pool whose health check changes loses no KV event.
        """
        wanted: dict[Work, Callable[[], Follower]] = {
            (pool, name): start
            for pool in self._gateway.pools
            for name, start in self._works(pool).items()
        }
        if (peering := self._gateway.peering) is not None and self._shares_usage():
            wanted[USAGE] = lambda: peering.share_usage(self._gateway.ingress)
        for work in self._tasks.keys() - wanted.keys():
            self._tasks.pop(work).cancel()
        for work in wanted.keys() - self._tasks.keys():
            self._tasks[work] = asyncio.create_task(self._run(work, wanted[work]()))
        if self._tidying is None:
            self._tidying = asyncio.create_task(self._tidy())

    def works(self) -> list[str]:
        """What runs now, by pool."""
        return sorted(f"{_name(pool)}: {name}" for pool, name in self._tasks)

    async def close(self) -> None:
        """Follows no engine any more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        if self._tidying is not None:
            tasks.append(self._tidying)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, work: Work, follower: Follower) -> None:
        pool, name = work
        try:
            async with follower:
                await asyncio.Event().wait()
        except Exception:
            _log.exception("%s has no %s", _name(pool), name)

    def _shares_usage(self) -> bool:
        # Once begun, it goes on: a new link would get the gateway's own usage from its peers.
        gates = self._gateway.configuration.gates or {}
        return bool(gates.get("shared")) or USAGE in self._tasks

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY)
            self._gateway.pools.remove_idle()
            self.sync()

    def _works(self, pool: Pool) -> dict[str, Callable[[], Follower]]:
        """What starts the work for a pool, by its name."""
        settings, scheduler, check = self._gateway.settings, pool.scheduler, pool.health_check
        get = engines.aiohttp_get(self._gateway.upstream.control)
        works: dict[str, Callable[[], Follower]] = {
            "metrics pages": lambda: engines.scrape(scheduler, get, interval=settings.scrape_every)
        }
        if check is not None:
            works[f"health checks {json.dumps(check)}"] = lambda: engines.probe(
                scheduler, get, check
            )
        if (ports := settings.kv_events) is not None:
            publishers = engines.publishers_on(*ports)
            works["KV events"] = lambda: engines.subscribe(scheduler, publishers)
        if (source := settings.discover.get(pool.name)) is not None:
            works["discovery"] = lambda: engines.discover(
                scheduler, source, interval=settings.discover_every
            )
        if (peering := self._gateway.peering) is not None:
            works["peers"] = lambda: peering.share(pool)
        return works


def _name(pool: Pool | None) -> str:
    return "the gateway" if pool is None else pool.name
