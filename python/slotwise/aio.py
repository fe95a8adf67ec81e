"""Leases for asyncio.

.. code-block:: python

    scheduler = slotwise.aio.Scheduler()
    ...
    lease = await scheduler.acquire(prompt, model="llama-3.1-8b")
    upstream = await client.send(request_to(lease.name), stream=True)
    return StreamingResponse(lease.stream(upstream.aiter_raw()))

A handler ends before its stream does. So a lease that is given to :meth:`Lease.stream` ends with the stream, also when the client
goes away; one that is not ends with its ``async with`` block or by hand.
"""

from __future__ import annotations

import asyncio
import math
import time
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from types import EllipsisType, TracebackType
from typing import Any, Generic, Self, TypeVar

from . import _core
from ._core import Dispatch, Evicted, Rejected
from .errors import EvictedError, RejectedError
from .values import Candidates, Config, Failure, RemovedEndpoint, Usage

_Chunk = TypeVar("_Chunk")


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
        max_waiting: int = 65_536,
    ) -> Self:
        """A scheduler with no endpoints. More than ``max_waiting`` requests do not wait: they go at once, or are refused.

        A ``scorer`` is asked by ``pick``, also in ``acquire`` where a request does not wait. Those that may wait go where the
        built-in cost says.
        """
        return super().__new__(cls, config, scorer=scorer)

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        scorer: Callable[[Candidates], Iterable[float]] | None = None,
        max_waiting: int = 65_536,
    ) -> None:
        self._max_waiting = max_waiting
        self._waiting: dict[int, asyncio.Future[Dispatch | Evicted]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait in :meth:`acquire`."""
        return len(self._waiting)

    async def acquire(
        self, prompt: Any, *, timeout: float | None | EllipsisType = ..., **wishes: Any
    ) -> Lease:
        """Waits until it is the request's turn and its best endpoint has room: see ``submit``.

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
        after = self._loop.time() + max(due - time.monotonic(), MIN_SLEEP)
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


class Lease:
    """A request in flight. The first of its ends counts; those after it do nothing."""

    def __init__(self, scheduler: Scheduler, dispatch: Dispatch) -> None:
        self._scheduler = scheduler
        self._streaming = False
        self.dispatch: Dispatch = dispatch
        """The decision."""
        self.usage: Usage = Usage()
        """What the engine said that the request used. Set it before the end."""
        self.ended: bool = False
        """Whether the request is over, as far as this lease was told."""

    @property
    def request(self) -> int:
        """The name of the request."""
        return self.dispatch.request

    @property
    def endpoint(self) -> int | None:
        """Where the request is, also after a redirection; ``None`` when it is over."""
        return self._scheduler.endpoint_of(self.request)

    @property
    def name(self) -> str:
        """The name of the endpoint that was decided on."""
        return self.dispatch.name

    def first_token(self) -> None:
        """The first token arrived."""
        if not self.ended:
            self._scheduler.handle_first_token(self.request)

    def tokens(self, tokens: int) -> None:
        """The answer grew by ``tokens``."""
        if not self.ended:
            self._scheduler.handle_tokens(self.request, tokens)

    def redirect(self, endpoint: int) -> None:
        """The request went to another endpoint, say the first of ``dispatch.alternatives``."""
        self._scheduler.redirect(self.request, endpoint)

    def complete(self, usage: Usage | None = None) -> None:
        """The answer is complete."""
        if self._end():
            used = usage or self.usage
            self._scheduler.complete(
                self.request,
                prompt_tokens=used.prompt_tokens,
                cached_tokens=used.cached_tokens,
                completion_tokens=used.completion_tokens,
            )

    def fail(self, failure: Failure = "engine") -> None:
        """The request failed."""
        if self._end():
            self._scheduler.fail(self.request, failure)

    def cancel(self) -> None:
        """The client went away."""
        if self._end():
            self._scheduler.cancel(self.request)

    def stream(self, chunks: AsyncIterable[_Chunk]) -> Stream[_Chunk]:
        """Passes chunks on. The first one is the first token; the lease ends when they end, fail or are abandoned."""
        self._streaming = True
        return Stream(self, chunks)

    def _end(self) -> bool:
        first, self.ended = not self.ended, True
        return first

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            if not self._streaming:
                self.complete()
        elif issubclass(kind, Exception):
            self.fail()
        else:
            self.cancel()

    def __del__(self) -> None:
        if not self.ended:
            if not self._streaming:
                warnings.warn(f"{self!r} was never ended: it is cancelled now", ResourceWarning, source=self)
            self.cancel()

    def __repr__(self) -> str:
        state = "ended" if self.ended else "in flight"
        return f"<Lease of request {self.request} on {self.name!r}, {state}>"


class Stream(Generic[_Chunk]):
    """An asynchronous iterator that ends its lease. A class, since a generator that nobody began has no end either."""

    def __init__(self, lease: Lease, chunks: AsyncIterable[_Chunk]) -> None:
        self._lease = lease
        self._chunks = aiter(chunks)
        self._begun = False

    def __aiter__(self) -> AsyncIterator[_Chunk]:
        return self

    async def __anext__(self) -> _Chunk:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._lease.complete()
            raise
        except Exception:
            self._lease.fail()
            raise
        except BaseException:
            self._lease.cancel()
            raise
        if not self._begun:
            self._begun = True
            self._lease.first_token()
        return chunk

    async def aclose(self) -> None:
        """Abandons the stream, and what it reads from."""
        self._lease.cancel()
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()

    def __del__(self) -> None:
        self._lease.cancel()
