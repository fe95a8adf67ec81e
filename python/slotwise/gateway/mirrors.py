"""Copies of requests for the pools of mirrors. A copy never delays a request, and never waits."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from .pools import Pool
from .upstream import Response

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["Mirrors"]

_log = logging.getLogger("slotwise.gateway")

MOST = 256
"""Copies in flight. Further ones are dropped."""


class Mirrors:
    """The copies in flight."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._copies: set[asyncio.Task[None]] = set()
        self.dropped: int = 0
        """Copies that were dropped, since their pool had no room."""

    def __len__(self) -> int:
        return len(self._copies)

    def copy(self, pool: Pool, body: bytes, path: str, headers: list[tuple[str, str]]) -> None:
        """Sends a copy of a request, or drops it."""
        if len(self._copies) >= MOST or not self._has_room(pool):
            self.dropped += 1
            return
        task = asyncio.ensure_future(self._send(pool, body, path, headers))
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)

    async def close(self) -> None:
        """Cancels the copies in flight."""
        for task in (tasks := list(self._copies)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _has_room(self, pool: Pool) -> bool:
        stats = pool.scheduler.stats()
        return stats.queued == 0 and stats.pool.saturation < self._gateway.settings.mirror_limit

    async def _send(
        self, pool: Pool, body: bytes, path: str, headers: list[tuple[str, str]]
    ) -> None:
        upstream = self._gateway.upstream

        async def send(engine: str) -> Response:
            return await upstream.post(engine, path, body, headers)

        try:
            reply = await pool.scheduler.forward(
                send, attempts=1, body=body, path=path, timeout=0, priority=_LOWEST, flow=""
            )
            async for _ in reply:
                pass
        except Exception as error:
            _log.info("a copy for the pool %s failed: %r", pool.name, error)


_LOWEST = -(2**31)
