"""Leases for asyncio.

.. code-block:: python

    scheduler = slotwise.aio.Scheduler()
    ...
    lease = await scheduler.acquire(body=body, path=path, headers=request.headers.raw)
    upstream = await client.send(request_to(lease.name), stream=True)
    lease.begin(upstream.status_code, upstream.headers.get("content-type", ""))
    return StreamingResponse(lease.stream(upstream.aiter_bytes()))

A handler ends before its stream does. So a lease that is given to :meth:`Lease.stream` ends with the stream, also when the client
goes away; one that is not ends with its ``async with`` block or by hand.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from types import EllipsisType
from typing import Any, Self

from . import _core
from ._core import Dispatch, Evicted, Outcome, Progress, Rejected, ResponseReader
from .config import Config
from .errors import EvictedError, RejectedError
from .lease import Answer as Answer
from .lease import Lease as Lease
from .lease import Stream as Stream
from .reports import Close
from .values import Candidates, Failure, RemovedEndpoint


class Scheduler(_core.Scheduler):
    """A scheduler whose decisions can be awaited. Everything else is as in :class:`slotwise.Scheduler`.

    One event loop awaits; other threads may call everything that is not a coroutine. :meth:`acquire` submits requests and polls
    for the decisions, so leave ``submit`` and ``poll_decision`` to it. How much may wait, and in which order it goes, says
    :class:`slotwise.FlowConfig`.
    """

    def __new__(
        cls,
        config: Config | Mapping[str, Any] | None = None,
        *,
        scorer: Callable[[Candidates], Iterable[float]] | None = None,
        clock: Callable[[], float] | None = None,
        max_waiting: int = 65_536,
    ) -> Self:
        """A scheduler with no endpoints. More than ``max_waiting`` requests do not wait: they go at once, or are refused.

        ``clock`` returns seconds: ``time.monotonic`` unless given. A clock of another speed than the event loop's makes
        :meth:`acquire` look for decisions too early or too late.

        A ``scorer`` is asked by ``pick``, also in ``acquire`` where a request does not wait. Those that may wait go where the
        built-in cost says.
        """
        return super().__new__(cls, config, scorer=scorer, clock=clock)

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        scorer: Callable[[Candidates], Iterable[float]] | None = None,
        clock: Callable[[], float] | None = None,
        max_waiting: int = 65_536,
    ) -> None:
        self._clock = time.monotonic if clock is None else clock
        self._max_waiting = max_waiting
        self._waiting: dict[int, asyncio.Future[Dispatch | Evicted]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait in :meth:`acquire`."""
        return len(self._waiting)

    async def acquire(self, prompt: Any = None, *, timeout: float | None | EllipsisType = ..., **wishes: Any) -> Lease:
        """Waits until it is the request's turn and its best endpoint has room: see ``submit``. It has a prompt, or else a ``body``.

        ``timeout`` is in seconds: ``FlowConfig.ttl`` unless given. ``None`` waits until there is room, and 0 does not wait: it picks.
        The other keywords are those of ``submit``. Cancelling the task withdraws the request.

        Raises :class:`slotwise.RejectedError`; after a wait, that is a :class:`slotwise.EvictedError`.
        """
        decision: Dispatch | Evicted | Rejected
        if timeout == 0 or self.waiting >= self._max_waiting:
            for of_submit in ("ttl", "weight"):
                wishes.pop(of_submit, None)
            decision = self.pick(prompt, **wishes)
        else:
            if timeout is not ...:
                wishes["ttl"] = math.inf if timeout is None else timeout
            decision = await self._submit_and_wait(prompt, wishes)
        if isinstance(decision, Dispatch):
            return Lease(self, decision)
        raise EvictedError(decision) if isinstance(decision, Evicted) else RejectedError(decision)

    async def _submit_and_wait(self, prompt: Any, wishes: dict[str, Any]) -> Dispatch | Evicted | Rejected:
        loop = asyncio.get_running_loop()
        self._attend(loop)
        request = self.submit(prompt, **wishes)
        if isinstance(request, Rejected):
            return request
        future: asyncio.Future[Dispatch | Evicted] = loop.create_future()
        self._waiting[request] = future
        try:
            self._decide()
            return future.result() if future.done() else await future
        except BaseException:
            # It may have been granted in the very tick in which the task was cancelled: this ends it in any case.
            self._waiting.pop(request, None)
            self.cancel(request)
            raise

    def _attend(self, loop: asyncio.AbstractEventLoop) -> None:
        """One loop at a time: nobody waits any more on one that is gone, and what was scheduled there never happens."""
        if self._loop is not loop:
            self._loop, self._woken, self._timer = loop, False, None
            self._withdraw_all()

    def _withdraw_all(self) -> None:
        left, self._waiting = self._waiting, {}
        for request in left:
            super().cancel(request)

    def _wake(self) -> None:
        """Something has happened. Whoever can go now does so when the loop comes to it."""
        if self._waiting and self._loop is not None and not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._decide)
            except RuntimeError:  # the loop is closed, and nobody waits on it any more
                self._woken = False
                self._withdraw_all()

    def _decide(self) -> None:
        """Hands out all decisions that there are."""
        self._woken = False
        while (decision := self.poll_decision()) is not None:
            future = self._waiting.pop(decision.request, None)
            if future is not None and not future.done():
                future.set_result(decision)
            elif future is None and isinstance(decision, Dispatch):
                super().cancel(decision.request)  # nobody is there to have it
        self._call_again()

    def _call_again(self) -> None:
        """One timer for all. One that is too early is left alone: it looks for the next time when it comes."""
        due = self.next_timeout() if self._waiting else None
        if due is None or self._loop is None:
            return
        after = self._loop.time() + max(due - self._clock(), MIN_SLEEP)
        if self._timer is not None:
            if self._timer.when() <= after:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(after, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._decide()

    # Whatever may let somebody go.

    def handle_first_token(self, request: int, **when: Any) -> None:
        super().handle_first_token(request, **when)
        self._wake()

    def handle_tokens(self, request: int, tokens: int, **when: Any) -> None:
        super().handle_tokens(request, tokens, **when)
        self._wake()

    def handle_load(self, endpoint: int, **load: Any) -> None:
        super().handle_load(endpoint, **load)
        self._wake()

    def observe_metrics(self, endpoint: int, page: Any, **how: Any) -> None:
        super().observe_metrics(endpoint, page, **how)
        self._wake()

    def observe_orca(self, endpoint: int, header: Any, **when: Any) -> None:
        super().observe_orca(endpoint, header, **when)
        self._wake()

    def _feed(self, request: int, reader: ResponseReader, chunk: Any, **when: Any) -> Progress:
        progress = super()._feed(request, reader, chunk, **when)
        if progress.tokens or progress.first_token:
            self._wake()
        return progress

    def _finish(self, request: int, reader: ResponseReader, close: Close = "clean", **when: Any) -> Outcome:
        outcome = super()._finish(request, reader, close, **when)
        self._wake()
        return outcome

    def complete(self, request: int, **usage: Any) -> None:
        super().complete(request, **usage)
        self._wake()

    def fail(self, request: int, failure: Failure = "engine", **when: Any) -> None:
        super().fail(request, failure, **when)
        self._wake()

    def cancel(self, request: int, **when: Any) -> bool:
        cancelled = super().cancel(request, **when)
        self._wake()
        return cancelled

    def redirect(self, request: int, endpoint: int, **when: Any) -> None:
        super().redirect(request, endpoint, **when)
        self._wake()

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
        return removed


MIN_SLEEP = 0.001
"""Seconds. Loops count time in coarser units than the core."""
