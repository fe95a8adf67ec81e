"""The limit of one wait after another, by one timer.

``asyncio.timeout`` sets and cancels a timer for each wait. In a stream, that takes more time than
the chunk does. The timer here stays set between waits, and moves only when it fires too early.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from types import EllipsisType


def limit_of(idle_timeout: float | None | EllipsisType) -> float | None:
    """The limit in seconds of the native part, which has ``None`` for the default.

    Hosts pass ``None`` for no limit, and ``...`` for the default.
    """
    if isinstance(idle_timeout, EllipsisType):
        return None
    limit = math.inf if idle_timeout is None else idle_timeout
    if not limit > 0:
        raise ValueError(f"idle_timeout must be seconds above 0, or None, and not {limit}")
    return limit


class IdleLimit:
    """Cancels the current task at the end of a wait's time. Waits do not overlap.

    After ``begin`` or ``start``, the wait ends with ``end``. If it raises ``CancelledError``,
    :meth:`expired` states whether that was the limit's doing.

    ``left`` is for ``start``: how many seconds a wait that began at this time may last, without a
    limit ``None``. It is called when the timer fires, which most waits never see.
    """

    __slots__ = ("_cancelling", "_deadline", "_expired", "_left", "_since", "_task", "_timer")

    def __init__(self, left: Callable[[float], float | None] | None = None) -> None:
        self._left = left
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._since: float | None = None
        self._deadline: float = 0.0
        self._cancelling: int = 0
        self._expired: bool = False

    def begin(self, loop: asyncio.AbstractEventLoop, deadline: float | None) -> None:
        """A wait begins. It may last until the deadline, in the loop's time."""
        if deadline is None:
            return
        task = asyncio.current_task(loop)
        assert task is not None, "only a task waits"
        self._task, self._deadline, self._cancelling = task, deadline, task.cancelling()
        self._since = None
        if self._timer is None or self._timer.when() > deadline:
            self.close()
            self._timer = loop.call_at(deadline, self._fire, loop)

    def start(self, loop: asyncio.AbstractEventLoop) -> float:
        """A wait begins whose deadline follows from ``left``. Returns the loop's time."""
        task = asyncio.current_task(loop)
        assert task is not None, "only a task waits"
        self._task, self._cancelling = task, task.cancelling()
        since = self._since = loop.time()
        if self._timer is None:
            self._set_timer(loop, since)
        return since

    def end(self) -> None:
        """The wait has ended."""
        task, self._task = self._task, None
        if self._expired and task is not None:
            self._expired = False
            task.uncancel()

    def expired(self) -> bool:
        """Whether the limit has cancelled the task, and nothing else has. Ends the wait."""
        task, self._task = self._task, None
        expired, self._expired = self._expired, False
        return expired and task is not None and task.uncancel() <= self._cancelling

    def expire(self) -> None:
        """Ends the current wait now, as its limit does."""
        if self._task is not None and not self._expired:
            self._expired = True
            self._task.cancel()

    def close(self) -> None:
        """Cancels the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        """Sets the timer for the current wait."""
        at = self._deadline
        if self._since is not None:
            left = self._left(self._since) if self._left is not None else None
            if left is None:
                return
            self._deadline = self._since + left
            # The limit may fall while the timer is set, but not below this time.
            at = min(self._deadline, now + SHORTEST)
        self._timer = loop.call_at(at, self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._task is None:
            return
        now = loop.time()
        if self._since is not None:
            self._set_timer(loop, now)
            if self._timer is None or self._deadline > now:
                return
            self.close()
        elif self._deadline > now:
            self._set_timer(loop, now)
            return
        self.expire()


SHORTEST = 30.0
"""Seconds: the shortest limit that a longer one may become."""
