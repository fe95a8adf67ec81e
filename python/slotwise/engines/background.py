"""Work in the background of an ``async with`` block, in general and for each endpoint."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self

from .. import _core
from ..errors import UnknownEndpointError
from .members import Members

log: logging.Logger = logging.getLogger("slotwise.engines")

Sleep = Callable[[float], Awaitable[Any]]
"""Waits for so many seconds, as ``asyncio.sleep`` does."""


class Background:
    """Tasks that run from the start of an ``async with`` block to its end.

    The end of the block cancels the tasks and waits for them. A task that fails is logged.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancels the tasks, and waits until they have ended."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self) -> None:
        """Starts the first tasks."""

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)


class Followers(Background):
    """One task for each endpoint of a scheduler, from its addition to its removal.

    Endpoints that other code adds and removes are found within ``every`` seconds. A look costs
    **O(1)** while they stay. A task that fails starts again at the next look.
    """

    def __init__(self, scheduler: _core.Scheduler, *, every: float, sleep: Sleep) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._every = every
        self._sleep = sleep
        self._members = Members(scheduler)
        self._followers: dict[int, asyncio.Task[None]] = {}
        # Endpoints whose task has ended, though they may be in the pool.
        self._stopped: set[int] = set()

    async def _start(self) -> None:
        self._look()
        self._spawn(self._watch(), type(self).__name__)

    async def _watch(self) -> None:
        while True:
            await self._sleep(self._every)
            try:
                self._look()
            except Exception:
                log.exception("the endpoints cannot be listed")

    def _look(self) -> None:
        """Starts a task for each new endpoint, and ends those of removed endpoints."""
        joined, left = self._members.look()
        for endpoint_id in left:
            self._followers.pop(endpoint_id).cancel()
        names = self._members.names
        joined |= {id: names[id] for id in self._stopped if id in names}
        self._stopped.clear()
        for endpoint_id, name in joined.items():
            work = self._until_removed(endpoint_id, name)
            task = self._spawn(work, f"{type(self).__name__} of {name}")
            self._followers[endpoint_id] = task
            task.add_done_callback(functools.partial(self._follower_ended, endpoint_id))

    def _follower_ended(self, endpoint_id: int, task: asyncio.Task[None]) -> None:
        if self._followers.get(endpoint_id) is task:
            self._stopped.add(endpoint_id)

    async def _until_removed(self, endpoint_id: int, name: str) -> None:
        try:
            await self._follow(endpoint_id, name)
        except UnknownEndpointError:
            pass  # It was removed since the last look.

    async def _follow(self, endpoint_id: int, name: str) -> None:
        """The work for one endpoint."""
        raise NotImplementedError
