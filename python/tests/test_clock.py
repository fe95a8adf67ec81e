"""A scheduler with its own clock: methods called without ``now`` read that clock."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import slotwise
from conftest import picked
from fake_time import Time
from slotwise import aio

MANUAL = Path(__file__).parents[2] / "docs" / "src" / "languages.md"
MICROSECOND = 1e-6
"""The core's unit of time."""


@pytest.mark.parametrize("make", [slotwise.Scheduler, aio.Scheduler])
def test_it_says_what_no_call_says(make: Callable[..., slotwise.Scheduler], time: Time) -> None:
    scheduler = make(clock=time)
    scheduler.add_endpoint(slotwise.Endpoint("a", max_in_flight=1))
    first = picked(scheduler, "x")
    time.now += 2.0
    waiting = scheduler.submit("x", ttl=3.0)
    assert isinstance(waiting, int) and scheduler.poll_decision() is None
    assert scheduler.next_timeout() == time.now + 3.0
    time.now += 1.0
    scheduler.complete(first.request_id)
    granted = scheduler.poll_decision()
    assert isinstance(granted, slotwise.Dispatch) and granted.queue_time == 1.0
    scheduler.handle_load(0, waiting=0)
    time.now += 60.0
    scheduler.complete(granted.request_id)
    assert scheduler.stats().endpoints[0].report_age == 60.0


def test_a_call_that_says_the_time_does_not_ask() -> None:
    def clock() -> float:
        raise AssertionError("asked")

    scheduler = slotwise.Scheduler(clock=clock)
    scheduler.add_endpoint("a", now=1.0)
    assert isinstance(scheduler.pick("x", now=2.0), slotwise.Dispatch)
    assert scheduler.stats().in_flight == 1


def test_it_may_call_the_scheduler() -> None:
    """No lock is held while the clock runs."""

    def clock() -> float:
        return 1.0 + scheduler.stats().in_flight

    scheduler = slotwise.Scheduler()
    scheduler = slotwise.Scheduler(clock=clock)
    scheduler.add_endpoint("a")
    assert picked(scheduler, "x").endpoint_name == picked(scheduler, "x").endpoint_name == "a"


def test_what_never_happens_has_no_time() -> None:
    scheduler = slotwise.Scheduler()
    scheduler.add_endpoint(slotwise.Endpoint("a", max_in_flight=1))
    picked(scheduler, "x")
    scheduler.submit("x", ttl=math.inf)
    assert scheduler.poll_decision() is None
    assert scheduler.stats().queued == 1 and scheduler.next_timeout() is None


@pytest.mark.parametrize(
    ("reading", "error", "message"),
    [
        ("noon", TypeError, "clock.. must return seconds, not <class 'str'>"),
        (None, TypeError, "clock.. must return seconds"),
        (-1.0, ValueError, "clock.. must be seconds on a monotonic clock, not -1"),
        (float("nan"), ValueError, "clock.. must be seconds"),
        (1e300, ValueError, "clock.. must be seconds"),
    ],
)
def test_a_reading_that_is_no_time_changes_nothing(
    reading: Any, error: type[Exception], message: str
) -> None:
    scheduler = slotwise.Scheduler(clock=lambda: reading)
    with pytest.raises(error, match=message):
        scheduler.add_endpoint("a")
    assert not scheduler.stats().endpoints


def test_what_it_raises_comes_out() -> None:
    scheduler = slotwise.Scheduler(clock=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scheduler.pick("x")
    noon: Any = 12.0
    for make in (slotwise.Scheduler, aio.Scheduler):
        with pytest.raises(TypeError, match="clock must be callable, not <class 'float'>"):
            make(clock=noon)


def test_without_one_it_is_the_hosts() -> None:
    for scheduler in (slotwise.Scheduler(), aio.Scheduler(clock=None)):
        before = monotonic()
        scheduler.submit("x", ttl=0.0)
        due, after = scheduler.next_timeout(), monotonic()
        assert due is not None and before <= due + MICROSECOND and due - MICROSECOND <= after


def test_the_manuals_example_passes() -> None:
    [example] = re.findall(
        r"```python\n(import asyncio\nimport selectors\n.*?)```", MANUAL.read_text(), re.DOTALL
    )
    exec(compile(example, str(MANUAL), "exec"), {"__name__": "example"})  # noqa: S102
