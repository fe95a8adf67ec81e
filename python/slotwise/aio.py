"""Leases for asyncio.

.. code-block:: python

    scheduler = slotwise.aio.Scheduler()
    ...
    lease = await scheduler.acquire(body=body, path=path, headers=request.headers.raw)
    upstream = await client.send(request_to(lease.endpoint_name), stream=True)
    lease.begin(upstream.status_code, upstream.headers.get("content-type", ""))
    return StreamingResponse(lease.stream(upstream.aiter_bytes()))

A handler ends before its stream does. So a lease that is given to :meth:`Lease.stream` ends with
the stream, also when the client goes away; one that is not ends with its ``async with`` block or by
hand.
"""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import EllipsisType
from typing import Any, Self

from . import _core
from ._core import Answer as Answer
from ._core import Dispatch, Evicted, Rejected
from .config import Config
from .disconnect import ClientDisconnectedError as ClientDisconnectedError
from .disconnect import watch_disconnect as watch_disconnect
from .draining import Drains
from .errors import EvictedError, RejectedError
from .forward import Body as Body
from .forward import Reply as Reply
from .forward import Response as Response
from .forward import Send
from .forward import forward as _forward
from .lease import Lease as Lease
from .stream import Stream as Stream
from .values import Candidates
from .waiting import Delivery


class Scheduler(_core.Scheduler):
    """A scheduler whose decisions can be awaited. Everything else is as in
    :class:`slotwise.Scheduler`.

    Any number of event loops await, each in its thread; other threads may call everything that is not a coroutine. :meth:`acquire` submits requests and polls
    for the decisions, so leave ``submit`` and ``poll_decision`` to it. How much may wait, and in which order it goes, says
    :class:`slotwise.FlowConfig`.
    """

    def __new__(
        cls,
        config: Config | Mapping[str, Any] | None = None,
        *,
        cost: Callable[[Candidates], Iterable[float]] | None = None,
        clock: Callable[[], float] | None = None,
        max_queued: int = 65_536,
    ) -> Self:
        """A scheduler with no endpoints. More than ``max_queued`` requests do not wait: they go at
        once, or are refused.

        ``clock`` returns seconds: ``time.monotonic`` unless given. A clock of another speed than the event loop's makes
        :meth:`acquire` look for decisions too early or too late.

        A ``cost`` function is called by ``pick``, also in ``acquire`` where a request does not
        wait. Those that may wait go where the built-in cost says.
        """
        return super().__new__(cls, config, cost=cost, clock=clock)

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        cost: Callable[[Candidates], Iterable[float]] | None = None,
        clock: Callable[[], float] | None = None,
        max_queued: int = 65_536,
    ) -> None:
        self._clock = time.monotonic if clock is None else clock
        self._max_queued = max_queued
        self._start()
        self._on_wakeup(_wakeup_of(weakref.ref(self)))
        _schedulers.add(self)

    def _start(self) -> None:
        """Forgets all that waits: at first, and in a child process after a fork."""
        self._delivery = Delivery(self._clock)
        self._drains = Drains()

    @property
    def queued(self) -> int:
        """Requests that wait in :meth:`acquire`."""
        return len(self._delivery)

    async def acquire(
        self,
        prompt: Any = None,
        *,
        timeout: float | None | EllipsisType = ...,
        wait_for_endpoints: bool = False,
        **options: Any,
    ) -> Lease:
        """Waits until it is the request's turn and its best endpoint has room: see ``submit``. It
        has a prompt, or else a ``body``.

        ``timeout`` is in seconds: ``FlowConfig.ttl`` unless given. ``None`` waits until there is
        room, and 0 does not wait: it picks. While no endpoint takes requests, it does not wait
        either, unless ``wait_for_endpoints`` is true. The other keywords are those of ``submit``.
        Cancelling the task withdraws the request.

        Raises :class:`slotwise.RejectedError`; after a wait, that is a
        :class:`slotwise.EvictedError`.
        """
        decision: Dispatch | Evicted | Rejected
        # An empty pool is most often a mistake, and a silent wait would hide it.
        nowhere = not wait_for_endpoints and self.accepting_endpoints == 0
        if timeout == 0 or nowhere or self.queued >= self._max_queued:
            for of_submit in ("ttl", "weight"):
                options.pop(of_submit, None)
            decision = self.pick(prompt, **options)
        else:
            if timeout is not ...:
                options["ttl"] = math.inf if timeout is None else timeout
            decision = await self._delivery.submit(self, prompt, options)
        if isinstance(decision, Dispatch):
            return Lease(self, decision)
        raise EvictedError(decision) if isinstance(decision, Evicted) else RejectedError(decision)

    async def forward(self, send: Send, *, attempts: int = 3, **options: Any) -> Reply:
        """Serves a request: chooses an endpoint, asks it, and asks another one while nothing has
        gone to the client.

        ``send`` is given the name of an endpoint, its URL, and returns the engine's answer as soon
        as its headers are there, or raises if the endpoint cannot be reached. The keywords are
        those of :meth:`acquire`: at least a ``body`` with its ``path``, or a prompt. At most
        ``attempts`` endpoints are asked.

        The reply is an answer that has begun, or a refusal; in each case the handler passes it on.
        It ends with its stream: the request is settled as its answer ended, and cancelled if the
        client goes away.

        .. code-block:: python

            async def send(url: str) -> httpx.Response:
                request = client.build_request("POST", url + path, content=body, headers=JSON)
                return await client.send(request, stream=True)

            reply = await scheduler.forward(send, body=body, path=path)
            return StreamingResponse(reply, reply.status, dict(reply.headers))
        """
        return await _forward(self, send, attempts=attempts, options=options)

    async def drained(self, endpoint: int) -> None:
        """Waits until nothing is in flight on the endpoint. It goes on getting requests unless it
        was told to drain:

        .. code-block:: python

            scheduler.drain_endpoint(endpoint)
            await scheduler.drained(endpoint)
            scheduler.remove_endpoint(endpoint)

        Raises :class:`slotwise.UnknownEndpointError`, also when the endpoint is removed meanwhile.
        """
        await self._drains.wait(self, endpoint)


def _wakeup_of(reference: weakref.ref[Scheduler]) -> Callable[[bool], None]:
    """The one wake-up signal: what the native part calls after each input that may have decided
    something."""

    def wakeup(drained: bool) -> None:
        scheduler = reference()
        if scheduler is not None:
            scheduler._delivery.wake(scheduler)
            if drained:
                scheduler._drains.resolve(scheduler)

    return wakeup


_schedulers: weakref.WeakSet[Scheduler] = weakref.WeakSet()


def _forget_parent() -> None:
    """In a child process: another thread may have held a scheduler's lock when it was forked, and
    would never let it go."""
    for scheduler in tuple(_schedulers):
        scheduler._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
