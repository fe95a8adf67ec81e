"""One timer for many waits ends each wait as ``asyncio.timeout`` does, its naive twin."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from fake_time import Time
from slotwise.idle_limit import IdleLimit

Limited = Callable[[Awaitable[None], float | None], Awaitable[bool]]


def twin() -> Limited:
    async def limited(step: Awaitable[None], seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await step
        except TimeoutError:
            return False
        return True

    return limited


def ours() -> Limited:
    limit = IdleLimit()

    async def limited(step: Awaitable[None], seconds: float | None) -> bool:
        loop = asyncio.get_running_loop()
        limit.begin(loop, None if seconds is None else loop.time() + seconds)
        try:
            await step
        except asyncio.CancelledError:
            if limit.expired():
                return False
            raise
        finally:
            limit.end()
        return True

    return limited


def walk(seed: int, limited: Limited) -> list[tuple[bool, float]]:
    """The ends of random waits, and their times."""
    rng, time = random.Random(seed), Time()

    async def main() -> list[tuple[bool, float]]:
        ends = []
        for _ in range(50):
            step = asyncio.sleep(rng.choice([0.0, 0.5, 1.5, 4.5]))
            limit = rng.choice([None, 1.0, 2.0, 5.0])
            ends.append((await limited(step, limit), time()))
            task = asyncio.current_task()
            assert task is not None and task.cancelling() == 0
        return ends

    return time.run(main())


@pytest.mark.parametrize("seed", range(20))
def test_each_wait_ends_as_with_a_timer_of_its_own(seed: int) -> None:
    assert walk(seed, ours()) == walk(seed, twin())


@pytest.mark.parametrize("make", [ours, twin])
def test_a_task_that_is_cancelled_from_outside_stays_cancelled(
    make: Callable[[], Limited], time: Time
) -> None:
    async def main() -> None:
        async def wait() -> None:
            await make()(asyncio.sleep(10.0), 20.0)

        task = asyncio.create_task(wait())
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    time.run(main())


def test_waits_that_end_in_time_set_one_timer(time: Time) -> None:
    async def main() -> None:
        limited = ours()
        before = time.timers
        for _ in range(100):
            await limited(asyncio.sleep(0), 30.0)
        assert time.timers - before == 1

    time.run(main())
