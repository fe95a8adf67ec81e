"""Leases for asyncio.

.. code-block:: python

    scheduler = slotwise.aio.Scheduler()
    ...
    lease = await scheduler.acquire(body=body, path=path, headers=request.headers.raw)
    upstream = await client.send(request_to(lease.endpoint_name), stream=True)
    lease.begin(upstream.status_code, upstream.headers.get("content-type", ""))
    return StreamingResponse(lease.stream(upstream.aiter_bytes()))

A handler ends before its stream does. So a lease that is given to :meth:`Lease.stream` ends with the stream, also when the client
goes away; one that is not ends with its ``async with`` block or by hand.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import EllipsisType
from typing import Any, Self

from . import _core
from ._core import Dispatch, Evicted, Outcome, Progress, Rejected, ResponseReader
from .config import Config
from .disconnect import ClientDisconnectedError as ClientDisconnectedError
from .disconnect import watch_disconnect as watch_disconnect
from .errors import EvictedError, RejectedError, UnknownEndpointError
from .forward import Body as Body
from .forward import Reply as Reply
from .forward import Response as Response
from .forward import Send
from .forward import forward as _forward
from .lease import Answer as Answer
from .lease import Lease as Lease
from .reports import CloseReason
from .stream import Stream as Stream
from .values import Candidates, Failure, RemovedEndpoint


class Scheduler(_core.Scheduler):
    """A scheduler whose decisions can be awaited. Everything else is as in :class:`slotwise.Scheduler`.

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
        """A scheduler with no endpoints. More than ``max_queued`` requests do not wait: they go at once, or are refused.

        ``clock`` returns seconds: ``time.monotonic`` unless given. A clock of another speed than the event loop's makes
        :meth:`acquire` look for decisions too early or too late.

        A ``cost`` function is called by ``pick``, also in ``acquire`` where a request does not wait. Those that may wait go where the
        built-in cost says.
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
        _schedulers.add(self)

    def _start(self) -> None:
        """Nothing waits yet; also in a child process, where what waited in its parent is no concern."""
        # Guards the three below. Never held while a coroutine waits.
        self._lock = threading.RLock()
        self._waiting: dict[int, tuple[_Loop, _Future]] = {}
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}
        self._draining: dict[int, list[asyncio.Future[None]]] = {}

    @property
    def queued(self) -> int:
        """Requests that wait in :meth:`acquire`."""
        return len(self._waiting)

    async def acquire(
        self,
        prompt: Any = None,
        *,
        timeout: float | None | EllipsisType = ...,
        wait_for_endpoints: bool = False,
        **options: Any,
    ) -> Lease:
        """Waits until it is the request's turn and its best endpoint has room: see ``submit``. It has a prompt, or else a ``body``.

        ``timeout`` is in seconds: ``FlowConfig.ttl`` unless given. ``None`` waits until there is room, and 0 does not wait: it picks.
        While no endpoint takes requests, it does not wait either, unless ``wait_for_endpoints`` is true.
        The other keywords are those of ``submit``. Cancelling the task withdraws the request.

        Raises :class:`slotwise.RejectedError`; after a wait, that is a :class:`slotwise.EvictedError`.
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
            decision = await self._submit_and_wait(prompt, options)
        if isinstance(decision, Dispatch):
            return Lease(self, decision)
        raise EvictedError(decision) if isinstance(decision, Evicted) else RejectedError(decision)

    async def forward(self, send: Send, *, attempts: int = 3, **options: Any) -> Reply:
        """Serves a request: chooses an endpoint, asks it, and asks another one while nothing has gone to the client.

        ``send`` is given the name of an endpoint, its URL, and returns the engine's answer as soon as its headers are there, or
        raises if the endpoint cannot be reached. The keywords are those of :meth:`acquire`: at least a ``body`` with its ``path``,
        or a prompt. At most ``attempts`` endpoints are asked.

        The reply is an answer that has begun, or a refusal; in each case the handler passes it on. It ends with its stream: the
        request is settled as its answer ended, and cancelled if the client goes away.

        .. code-block:: python

            async def send(url: str) -> httpx.Response:
                request = client.build_request("POST", url + path, content=body, headers=JSON)
                return await client.send(request, stream=True)

            reply = await scheduler.forward(send, body=body, path=path)
            return StreamingResponse(reply, reply.status, dict(reply.headers))
        """
        return await _forward(self, send, attempts=attempts, options=options)

    async def drained(self, endpoint: int) -> None:
        """Waits until nothing is in flight on the endpoint. It goes on getting requests unless it was told to drain:

        .. code-block:: python

            scheduler.drain_endpoint(endpoint)
            await scheduler.drained(endpoint)
            scheduler.remove_endpoint(endpoint)

        Raises :class:`slotwise.UnknownEndpointError`, also when the endpoint is removed meanwhile.
        """
        self.in_flight_on(endpoint)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._draining.setdefault(endpoint, []).append(future)
        try:
            self._look_for_drained()
            await future
        finally:
            with self._lock:
                futures = self._draining.get(endpoint, [])
                if future in futures:
                    futures.remove(future)
                if not futures:
                    self._draining.pop(endpoint, None)

    def _look_for_drained(self) -> None:
        """Resolves the futures of endpoints without requests, after a call that may have ended one."""
        if not self._draining:
            return
        with self._lock:
            waiting = [(endpoint, tuple(futures)) for endpoint, futures in self._draining.items()]
        for endpoint, futures in waiting:
            gone: UnknownEndpointError | None = None
            try:
                if self.in_flight_on(endpoint) > 0:
                    continue
            except UnknownEndpointError as error:
                gone = error
            for future in futures:
                try:
                    future.get_loop().call_soon_threadsafe(_resolve, future, gone)
                except RuntimeError:
                    pass  # its loop is closed, and so is what waited there

    async def _submit_and_wait(self, prompt: Any, options: dict[str, Any]) -> Dispatch | Evicted | Rejected:
        running = asyncio.get_running_loop()
        with self._lock:
            loop = self._attend(running)
            request = self.submit(prompt, **options)
            if isinstance(request, Rejected):
                return request
            future: _Future = running.create_future()
            self._waiting[request] = loop, future
            loop.waiting.add(request)
        try:
            self._decide(loop)
            return future.result() if future.done() else await future
        except BaseException:
            # It may have been granted in the very tick in which the task was cancelled: this ends it in any case.
            with self._lock:
                self._waiting.pop(request, None)
                loop.waiting.discard(request)
            self.cancel(request)
            raise

    def _attend(self, running: asyncio.AbstractEventLoop) -> _Loop:
        """The waiting room of this loop. What waited on loops that are closed is withdrawn."""
        for gone in [loop for loop in self._loops.values() if loop.loop.is_closed()]:
            self._withdraw_all(gone)
        return self._loops.setdefault(running, _Loop(running))

    def _withdraw_all(self, loop: _Loop) -> None:
        with self._lock:
            self._loops.pop(loop.loop, None)
            left, loop.waiting = loop.waiting, set()
            for request in left:
                self._waiting.pop(request, None)
        for request in left:
            super().cancel(request)

    def _wake(self) -> None:
        """Something has happened. Requests that may go now do so when their loops come to it."""
        if not self._waiting:
            return
        for loop in tuple(self._loops.values()):
            if loop.waiting and not loop.woken:
                loop.woken = True
                if not loop.call_soon(self._decide, loop):
                    self._withdraw_all(loop)

    def _decide(self, loop: _Loop) -> None:
        """Hands out all decisions that there are, also to other loops."""
        loop.woken = False
        with self._lock:
            while (decision := self.poll_decision()) is not None:
                request = decision.request_id
                there, future = self._waiting.pop(request, (None, None))
                if there is None or future is None:
                    given = False
                elif there is loop:
                    given = _resolve(future, None, decision)
                    there.waiting.discard(request)
                else:
                    # It stays among those of its loop until that has taken it, or is closed.
                    given = there.call_soon(self._hand_over, there, request, future, decision)
                if not given and isinstance(decision, Dispatch):
                    super().cancel(request)  # nothing is there to have it
        self._call_again(loop)

    def _hand_over(self, loop: _Loop, request: int, future: _Future, decision: Dispatch | Evicted) -> None:
        with self._lock:
            loop.waiting.discard(request)
        if not _resolve(future, None, decision) and isinstance(decision, Dispatch):
            self.cancel(request)

    def _call_again(self, loop: _Loop) -> None:
        """One timer for all of a loop. One that is too early is left alone: it looks for the next time when it comes."""
        due = self.next_timeout() if loop.waiting else None
        if due is None:
            return
        after = loop.loop.time() + max(due - self._clock(), MIN_SLEEP)
        if loop.timer is not None:
            if loop.timer.when() <= after:
                return
            loop.timer.cancel()
        loop.timer = loop.loop.call_at(after, self._on_timer, loop)

    def _on_timer(self, loop: _Loop) -> None:
        loop.timer = None
        self._decide(loop)

    # Whatever may let a request go, or end the last one of an endpoint.

    def handle_first_token(self, request: int, **when: Any) -> None:
        super().handle_first_token(request, **when)
        self._wake()

    def handle_tokens(self, request: int, tokens: int, **when: Any) -> None:
        super().handle_tokens(request, tokens, **when)
        self._wake()

    def handle_load(self, endpoint: int, **load: Any) -> None:
        super().handle_load(endpoint, **load)
        self._wake()

    def handle_probe(self, endpoint: int, passed: bool, **when: Any) -> None:
        super().handle_probe(endpoint, passed, **when)
        self._wake()

    def handle_metrics_page(self, endpoint: int, page: Any, **how: Any) -> None:
        super().handle_metrics_page(endpoint, page, **how)
        self._wake()

    def handle_orca(self, endpoint: int, header: Any, **when: Any) -> None:
        super().handle_orca(endpoint, header, **when)
        self._wake()

    def _feed(self, request: int, reader: ResponseReader, chunk: Any, **when: Any) -> Progress:
        progress = super()._feed(request, reader, chunk, **when)
        if progress.tokens or progress.first_token:
            self._wake()
        return progress

    def _finish(self, request: int, reader: ResponseReader, close: CloseReason = "clean", **when: Any) -> Outcome:
        outcome = super()._finish(request, reader, close, **when)
        self._wake()
        self._look_for_drained()
        return outcome

    def complete(self, request: int, **usage: Any) -> None:
        super().complete(request, **usage)
        self._wake()
        self._look_for_drained()

    def fail(self, request: int, failure: Failure = "engine", **when: Any) -> None:
        super().fail(request, failure, **when)
        self._wake()
        self._look_for_drained()

    def cancel(self, request: int, **when: Any) -> bool:
        cancelled = super().cancel(request, **when)
        self._wake()
        self._look_for_drained()
        return cancelled

    def redirect(self, request: int, endpoint: int, failure: Failure = "unreachable", **when: Any) -> None:
        super().redirect(request, endpoint, failure, **when)
        self._wake()
        self._look_for_drained()

    def add_endpoint(self, endpoint: Any, **when: Any) -> int:
        added = super().add_endpoint(endpoint, **when)
        self._wake()
        return added

    def update_endpoint(self, endpoint: int, description: Any, **when: Any) -> None:
        super().update_endpoint(endpoint, description, **when)
        self._wake()

    def resume_endpoint(self, endpoint: int, **when: Any) -> None:
        super().resume_endpoint(endpoint, **when)
        self._wake()

    def drain_endpoint(self, endpoint: int, **when: Any) -> None:
        super().drain_endpoint(endpoint, **when)
        self._wake()

    def remove_endpoint(self, endpoint: int, **when: Any) -> RemovedEndpoint:
        removed = super().remove_endpoint(endpoint, **when)
        self._wake()
        self._look_for_drained()
        return removed


_Future = asyncio.Future["Dispatch | Evicted"]


class _Loop:
    """An event loop on which requests wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: set[int] = set()
        """Requests that wait there, and those whose decisions it has not taken yet."""
        self.woken = False
        self.timer: asyncio.TimerHandle | None = None

    def call_soon(self, call: Callable[..., Any], *arguments: Any) -> bool:
        """Calls it on the loop, from any thread. False if the loop is closed."""
        try:
            self.loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            return False
        return True


def _resolve(future: asyncio.Future[Any], error: Exception | None, result: Any = None) -> bool:
    """Settles what is awaited; false if nothing awaits it any more."""
    if future.done():
        return False
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
    return True


_schedulers: weakref.WeakSet[Scheduler] = weakref.WeakSet()


def _forget_parent() -> None:
    """In a child process: another thread may have held a scheduler's lock when it was forked, and would never let it go."""
    for scheduler in tuple(_schedulers):
        scheduler._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)

MIN_SLEEP = 0.001
"""Seconds. Loops count time in coarser units than the core."""
