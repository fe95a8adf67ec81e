"""Delivers a scheduler's decisions to the event loops on which requests wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from . import _core
from ._core import Dispatch, Evicted, Rejected

MIN_SLEEP = 0.001
"""Seconds. Event loops count time in coarser units than the core."""

_Future = asyncio.Future["Dispatch | Evicted"]


class Delivery:
    """The requests of :meth:`slotwise.aio.Scheduler.acquire` that wait, on any number of event
    loops.

    Each loop runs in its own thread. Any of them may poll a decision for a request of another one.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Guards the two fields below. Never held while a coroutine waits.
        self._lock = threading.RLock()
        self.futures: dict[int, tuple[_Loop, _Future]] = {}
        """The requests that wait, by their ids."""
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}

    async def submit(
        self, scheduler: _core.Scheduler, prompt: Any, options: dict[str, Any]
    ) -> Dispatch | Evicted | Rejected:
        """Submits a request, and waits for the decision. Cancelling the task withdraws the
        request."""
        running = asyncio.get_running_loop()
        with self._lock:
            loop = self._loop_of(scheduler, running)
            request = scheduler.submit(prompt, **options)
            if isinstance(request, Rejected):
                return request
            if not self.futures:
                decision = _decide_alone(scheduler, request)
                if decision is not None:
                    return decision
            future: _Future = running.create_future()
            self.futures[request] = loop, future
            loop.waiting.add(request)
        try:
            self._poll(scheduler, loop)
            return future.result() if future.done() else await future
        except BaseException:
            # The same tick may have brought the decision: cancel ends the request in either case.
            with self._lock:
                self.futures.pop(request, None)
                loop.waiting.discard(request)
            scheduler.cancel(request)
            raise

    def wake(self, scheduler: _core.Scheduler) -> None:
        """Schedules a poll on every loop on which requests wait. Callable from any thread."""
        if not self.futures:
            return
        for loop in tuple(self._loops.values()):
            if loop.waiting and not loop.woken:
                loop.woken = True
                if not loop.call_soon(self._poll, scheduler, loop):
                    self._withdraw_all(scheduler, loop)

    def _loop_of(self, scheduler: _core.Scheduler, running: asyncio.AbstractEventLoop) -> _Loop:
        """The entry of this loop. Withdraws requests on closed loops."""
        loop = self._loops.get(running)
        if loop is not None and len(self._loops) == 1:
            return loop
        for closed in [loop for loop in self._loops.values() if loop.loop.is_closed()]:
            self._withdraw_all(scheduler, closed)
        if loop is None:
            loop = self._loops[running] = _Loop(running)
        return loop

    def _withdraw_all(self, scheduler: _core.Scheduler, loop: _Loop) -> None:
        with self._lock:
            self._loops.pop(loop.loop, None)
            withdrawn, loop.waiting = loop.waiting, set()
            for request in withdrawn:
                self.futures.pop(request, None)
        for request in withdrawn:
            scheduler.cancel(request)

    def _poll(self, scheduler: _core.Scheduler, loop: _Loop) -> None:
        """Delivers all decisions, also those for requests on other loops."""
        loop.woken = False
        with self._lock:
            while (decision := scheduler.poll_decision()) is not None:
                request = decision.request_id
                owner, future = self.futures.pop(request, (None, None))
                if owner is None or future is None:
                    delivered = False
                elif owner is loop:
                    delivered = resolve(future, None, decision)
                    owner.waiting.discard(request)
                else:
                    # The request stays in its loop's set until that loop has run the callback, or
                    # is closed.
                    delivered = owner.call_soon(
                        self._hand_over, scheduler, owner, request, future, decision
                    )
                if not delivered and isinstance(decision, Dispatch):
                    scheduler.cancel(request)
        self._set_timer(scheduler, loop)

    def _hand_over(
        self,
        scheduler: _core.Scheduler,
        loop: _Loop,
        request: int,
        future: _Future,
        decision: Dispatch | Evicted,
    ) -> None:
        with self._lock:
            loop.waiting.discard(request)
        if not resolve(future, None, decision) and isinstance(decision, Dispatch):
            scheduler.cancel(request)

    def _set_timer(self, scheduler: _core.Scheduler, loop: _Loop) -> None:
        """Keeps one timer for each loop. A timer that is too early stays, and sets the next one."""
        due = scheduler.next_timeout() if loop.waiting else None
        if due is None:
            return
        at = loop.loop.time() + max(due - self._clock(), MIN_SLEEP)
        if loop.timer is not None:
            if loop.timer.when() <= at:
                return
            loop.timer.cancel()
        loop.timer = loop.loop.call_at(at, self._on_timer, scheduler, loop)

    def _on_timer(self, scheduler: _core.Scheduler, loop: _Loop) -> None:
        loop.timer = None
        self._poll(scheduler, loop)


def _decide_alone(scheduler: _core.Scheduler, request: int) -> Dispatch | Evicted | None:
    """The decision about a request beside which no other one waits, if it need not wait."""
    try:
        decision = scheduler.poll_decision()
    except BaseException:
        scheduler.cancel(request)
        raise
    if decision is None or decision.request_id == request:
        return decision
    if isinstance(decision, Dispatch):
        scheduler.cancel(decision.request_id)
    return None


class _Loop:
    """An event loop on which requests wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: set[int] = set()
        """Requests that wait on the loop, and those whose decisions it has not taken yet."""
        self.woken = False
        self.timer: asyncio.TimerHandle | None = None

    def call_soon(self, call: Callable[..., Any], *arguments: Any) -> bool:
        """Schedules the call on the loop, from any thread. False if the loop is closed."""
        try:
            self.loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            return False
        return True


def resolve(future: asyncio.Future[Any], error: Exception | None, result: Any = None) -> bool:
    """Settles a future; false if it was settled or cancelled before."""
    if future.done():
        return False
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
    return True
