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
import heapq
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from itertools import count
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from . import _core
from ._core import Dispatch, Rejected
from .errors import RejectedError
from .values import Candidates, Config, Failure, Usage

_Chunk = TypeVar("_Chunk")


class Scheduler(_core.Scheduler):
    """A scheduler whose decisions can be awaited. Everything else is as in :class:`slotwise.Scheduler`.

    One event loop awaits; other threads may call everything that is not a coroutine.
    """

    def __new__(
        cls,
        config: Config | Mapping[str, Any] | None = None,
        *,
        scorer: Callable[[Candidates], Iterable[float]] | None = None,
        max_waiting: int = 65_536,
    ) -> Self:
        """A scheduler with no endpoints. More than ``max_waiting`` requests do not wait: they are refused at once."""
        return super().__new__(cls, config, scorer=scorer)

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        scorer: Callable[[Candidates], Iterable[float]] | None = None,
        max_waiting: int = 65_536,
    ) -> None:
        self._waiters = _Waiters(self)
        self._max_waiting = max_waiting

    @property
    def waiting(self) -> int:
        """Requests that wait in :meth:`acquire`."""
        return len(self._waiters)

    async def acquire(self, prompt: Any, *, timeout: float | None = None, **wishes: Any) -> Lease:
        """Picks an endpoint, and waits for room while all are at their limits: the most important first, then the first.

        ``timeout`` is in seconds; ``None`` waits until there is room, and 0 does not wait. The other keywords are those of
        :meth:`slotwise.Scheduler.pick`. Cancelling the task withdraws the request.

        Raises :class:`slotwise.RejectedError`.
        """
        answer = self.pick(prompt, **wishes)
        if isinstance(answer, Rejected) and answer.reason == "saturated" and self._may_wait(timeout):
            answer = await self._waiters.wait(prompt, wishes, answer, timeout)
        if isinstance(answer, Rejected):
            raise RejectedError(answer)
        return Lease(self, answer)

    def _may_wait(self, timeout: float | None) -> bool:
        return timeout != 0 and self.waiting < self._max_waiting

    # What may make room wakes those who wait.

    def complete(self, request: int, **usage: Any) -> None:
        super().complete(request, **usage)
        self._waiters.wake()

    def fail(self, request: int, failure: Failure = "engine", **when: Any) -> None:
        super().fail(request, failure, **when)
        self._waiters.wake()

    def cancel(self, request: int, **when: Any) -> bool:
        cancelled = super().cancel(request, **when)
        self._waiters.wake()
        return cancelled

    def redirect(self, request: int, endpoint: int, **when: Any) -> None:
        super().redirect(request, endpoint, **when)
        self._waiters.wake()

    def add_endpoint(self, endpoint: Any, **when: Any) -> int:
        added = super().add_endpoint(endpoint, **when)
        self._waiters.wake()
        return added

    def update_endpoint(self, endpoint: int, description: Any, **when: Any) -> None:
        super().update_endpoint(endpoint, description, **when)
        self._waiters.wake()

    def resume_endpoint(self, endpoint: int, **when: Any) -> None:
        super().resume_endpoint(endpoint, **when)
        self._waiters.wake()


class _Waiters:
    """Requests that wait for room, those that ask for the same kind of endpoint in one queue each."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._queues: dict[Any, list[_Waiter]] = {}
        self._arrivals = count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = False
        self._timer: asyncio.TimerHandle | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    async def wait(
        self, prompt: Any, wishes: dict[str, Any], refused: Rejected, timeout: float | None
    ) -> Dispatch | Rejected:
        self._attend(asyncio.get_running_loop())
        future: asyncio.Future[Dispatch | Rejected] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(-wishes.get("priority", 0), next(self._arrivals), prompt, wishes, future)
        labels = tuple(sorted((wishes.get("labels") or {}).items()))
        kind = (wishes.get("model", ""), wishes.get("role", "unified"), labels)
        heapq.heappush(self._queues.setdefault(kind, []), waiter)
        self._try_again_in(refused.retry_after)
        self._count += 1
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            return _granted(future) or refused
        except asyncio.CancelledError:
            # It may have been granted in the very tick in which the task was cancelled.
            granted = _granted(future)
            if isinstance(granted, Dispatch):
                self._scheduler.cancel(granted.request)
            raise
        finally:
            self._count -= 1
            future.cancel()

    def _attend(self, loop: asyncio.AbstractEventLoop) -> None:
        """One loop at a time: what was scheduled on one that is gone never happens."""
        if self._loop is not loop:
            self._loop, self._woken, self._timer = loop, False, None
            self._queues.clear()

    def wake(self) -> None:
        """There may be room. Whoever can go now does so when the loop comes to it."""
        if self._queues and self._loop is not None and not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._dispatch)
            except RuntimeError:  # the loop is closed, and nobody waits on it any more
                self._queues.clear()
                self._woken = False

    def _dispatch(self) -> None:
        self._woken = False
        soonest: float | None = None
        for kind, queue in list(self._queues.items()):
            while queue:
                if queue[0].future.done():
                    heapq.heappop(queue)
                    continue
                try:
                    answer = self._scheduler.pick(queue[0].prompt, **queue[0].wishes)
                except Exception as error:
                    heapq.heappop(queue).future.set_exception(error)
                    continue
                if isinstance(answer, Rejected) and answer.reason == "saturated":
                    after = answer.retry_after
                    soonest = after if soonest is None else min(soonest, after or soonest)
                    break
                heapq.heappop(queue).future.set_result(answer)
            if not queue:
                del self._queues[kind]
        self._try_again_in(soonest)

    def _try_again_in(self, seconds: float | None) -> None:
        """One timer for all: it is only needed where room appears without a call, as on another gateway's completion."""
        if self._timer is None and self._queues and self._loop is not None:
            self._timer = self._loop.call_later(max(seconds or 1.0, 0.01), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._dispatch()


class _Waiter:
    """A request that waits."""

    __slots__ = ("arrival", "future", "priority", "prompt", "wishes")

    def __init__(
        self,
        priority: int,
        arrival: int,
        prompt: Any,
        wishes: dict[str, Any],
        future: asyncio.Future[Dispatch | Rejected],
    ) -> None:
        self.priority = priority
        self.arrival = arrival
        self.prompt = prompt
        self.wishes = wishes
        self.future = future

    def __lt__(self, other: _Waiter) -> bool:
        return (self.priority, self.arrival) < (other.priority, other.arrival)


def _granted(future: asyncio.Future[Dispatch | Rejected]) -> Dispatch | Rejected | None:
    if future.done() and not future.cancelled() and future.exception() is None:
        return future.result()
    return None


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
