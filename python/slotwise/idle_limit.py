"""The limit of one wait after another, by one timer.

``asyncio.timeout`` sets and cancels a timer for each wait. In a stream, that takes more time than
the chunk does. The timer here stays set between waits, and moves only when it fires too early.
"""

from __future__ import annotations

import asyncio


class IdleLimit:
    """Cancels the current task at the end of a wait's time. Waits do not overlap.

    After ``begin``, the wait ends with ``end``. If it raises ``CancelledError``, :meth:`expired`
    states whether that was the limit's doing.
    """

    __slots__ = ("_cancelling", "_deadline", "_expired", "_task", "_timer")

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
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
        if self._timer is None or self._timer.when() > deadline:
            self.close()
            self._timer = loop.call_at(deadline, self._fire, loop)

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

    def close(self) -> None:
        """Cancels the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._deadline > loop.time():
            self._timer = loop.call_at(self._deadline, self._fire, loop)
        else:
            self._expired = True
            self._task.cancel()
