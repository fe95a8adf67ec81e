"""Settings and values that several test files share."""

from pathlib import Path
from typing import Any

import pytest
import slotwise
from fake_time import Time
from hypothesis import HealthCheck, settings

# Examples are limited by count, not by time: a busy machine draws them slowly.
settings.register_profile("slotwise", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slotwise")

HANG = 600
"""Seconds after which a thread or program counts as hung: only a deadlock takes so long."""

CORE_TESTS = Path(__file__).parents[2] / "crates" / "core" / "tests"
WIRE_TESTS = CORE_TESTS.parents[1] / "wire" / "tests"
GATEWAY_TESTS = CORE_TESTS.parents[1] / "gateway" / "tests"

CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "Hello"}], "priority": 3, "max_tokens": 9}'


def picked(scheduler: slotwise.Scheduler, prompt: Any = None, **options: Any) -> slotwise.Dispatch:
    answer = scheduler.pick(prompt, **options)
    assert isinstance(answer, slotwise.Dispatch), answer
    return answer


@pytest.fixture
def time() -> Time:
    return Time()
