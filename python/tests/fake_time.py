"""Time that passes only when an event loop has nothing else to do, so no test depends on the
machine's speed.

.. code-block:: python

    def test_something(time: Time) -> None:
        async def main() -> None:
            scheduler = aio.Scheduler(clock=time)
            await asyncio.sleep(3_600)  # at once

        time.run(main())

A coroutine that waits for an event that never happens fails at once: either an unwanted timer
fires, or no timer is left.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
MOST_PASSES = 100_000
"""More passes than any test needs. The limit stops a timer that fires without end."""


class Time:
    """A clock. A call returns seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.timers = 0
        """The number of timers set on its loops."""
        self._passes = 0

    def __call__(self) -> float:
        return self.now

    def passed(self, seconds: float) -> None:
        """Advances the clock: the loop is idle for this time."""
        self._passes += 1
        if self._passes > MOST_PASSES:
            raise RuntimeError(f"timers rang {MOST_PASSES} times, and the test goes on")
        self.now += seconds

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Runs ``main`` like ``asyncio.run``, on an event loop of this clock."""
        with asyncio.Runner(loop_factory=self.loop) as runner:
            return runner.run(main)

    def loop(self) -> asyncio.AbstractEventLoop:
        """An event loop of this clock."""
        return _Loop(self)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Time) -> None:
        self._time = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._time.now

    def call_at(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        self._time.timers += 1
        return super().call_at(*args, **kwargs)


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """Never sleeps: advances the clock instead."""

    def __init__(self, clock: Time) -> None:
        super().__init__()
        self._time = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError(
                    "the loop would wait for ever: no timer is set, and no callback is due"
                )
            self._time.passed(max(timeout, 0.0))
        return ready
