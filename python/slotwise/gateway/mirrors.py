"""Copies of requests for the pools of mirrors. A copy never delays a request, and never waits."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..lease import Lease
from ..routing import Target
from .pools import Pool

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["Copy", "Mirrors"]

_log = logging.getLogger("slotwise.gateway")

MOST = 256
"""Copies in flight. Further ones are dropped."""


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy of a request."""

    pool: Pool
    """The mirror's pool."""
    target: Target
    """The model and the adapter in that pool."""
    body: bytes
    """The body with the target's model."""
    path: str
    """The path of the API."""
    url: str
    """The path and the query."""
    headers: list[tuple[str, str]]
    """The headers for the engine."""
    session: str | None
    """The session of the request, if it has one."""


class Mirrors:
    """The copies in flight."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._copies: set[asyncio.Task[None]] = set()
        self.dropped: int = 0
        """Copies that were dropped, since their pool had no room."""

    def __len__(self) -> int:
        return len(self._copies)

    def send(self, copy: Copy) -> None:
        """Sends a copy in the background, or drops it."""
        if len(self._copies) >= MOST:
            self.dropped += 1
            return
        task = asyncio.ensure_future(self._send(copy))
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)

    async def close(self) -> None:
        """Cancels the copies in flight."""
        for task in (tasks := list(self._copies)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, copy: Copy) -> None:
        try:
            lease = self._pick(copy)
            if lease is None:
                self.dropped += 1
                return
            async with lease:
                await self._serve(copy, lease)
        except Exception as error:
            _log.info("a copy for the pool %s failed: %r", copy.pool.name, error)

    def _pick(self, copy: Copy) -> Lease | None:
        """The lease of a copy, if its pool has room for copies."""
        scheduler, target = copy.pool.scheduler, copy.target
        asked: dict[str, Any] = {"body": copy.body, "path": copy.path, "session": copy.session}
        if target.adapter is not None:
            asked["model"], asked["adapter"] = target.base, target.adapter
        dispatch = scheduler.pick_mirror(limit=self._gateway.settings.mirror_limit, **asked)
        return None if dispatch is None else Lease(scheduler, dispatch)

    async def _serve(self, copy: Copy, lease: Lease) -> None:
        """Sends the copy, and drops its answer as it arrives."""
        post = self._gateway.upstream.post
        try:
            async with asyncio.timeout(lease.dispatch.idle_limit()):
                response = await post(lease.endpoint_name, copy.url, copy.body, copy.headers)
        except Exception as error:
            lease.fail("timeout" if isinstance(error, TimeoutError) else "unreachable")
            raise
        try:
            lease.begin(response.status_code, response.headers.get("content-type", ""))
            async for _ in lease.stream(response.aiter_bytes()):
                pass
        finally:
            await response.aclose()
