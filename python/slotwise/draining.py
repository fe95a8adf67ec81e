"""Futures of endpoints that have requests in flight, for :meth:`slotwise.aio.Scheduler.drained`."""

from __future__ import annotations

import asyncio
import threading

from . import _core
from .errors import UnknownEndpointError
from .waiting import resolve


class Drains:
    """The coroutines that wait until an endpoint has nothing in flight."""

    def __init__(self) -> None:
        # Guards the futures. Never held while a coroutine waits.
        self._lock = threading.RLock()
        self._futures: dict[int, list[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return len(self._futures)

    async def wait(self, scheduler: _core.Scheduler, endpoint: int) -> None:
        """Waits until nothing is in flight on the endpoint."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._futures.setdefault(endpoint, []).append(future)
        try:
            scheduler._watch_drained(endpoint)
            await future
        finally:
            with self._lock:
                futures = self._futures.get(endpoint, [])
                if future in futures:
                    futures.remove(future)
                if not futures and self._futures.pop(endpoint, None) is not None:
                    scheduler._unwatch_drained(endpoint)

    def resolve(self, scheduler: _core.Scheduler) -> None:
        """Resolves the futures of the endpoints that the scheduler reports as drained. Called from
        any thread."""
        while (endpoint := scheduler._poll_drained()) is not None:
            error = None
            try:
                scheduler.in_flight_on(endpoint)
            except UnknownEndpointError as removed:
                error = removed
            with self._lock:
                futures = self._futures.pop(endpoint, [])
            for future in futures:
                try:
                    future.get_loop().call_soon_threadsafe(resolve, future, error)
                except RuntimeError:
                    pass  # The loop is closed, and its coroutines are gone.
