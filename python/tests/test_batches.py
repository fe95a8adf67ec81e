"""Batches: the example of the manual, and what an invalid input leaves behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import slotwise

PAGE = Path(__file__).parents[2] / "docs/src/batches.md"


def test_the_example_of_the_manual() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    exec(example, {})


def test_an_invalid_request_leaves_none_in_flight() -> None:
    scheduler = slotwise.Scheduler()
    scheduler.add_endpoint("a", now=0.0)
    with pytest.raises(TypeError, match="modell"):
        scheduler.pick_many([{"prompt": "Hello"}, {"prompt": "Hello", "modell": "m"}], now=0.0)
    assert scheduler.stats().in_flight == 0
    assert scheduler.pick_many([], now=0.0) == []


def test_each_column_has_a_value_for_each_endpoint() -> None:
    scheduler = slotwise.Scheduler()
    endpoint = scheduler.add_endpoint("a", now=0.0)
    with pytest.raises(ValueError, match="waiting has 2 values for 1 endpoints"):
        scheduler.handle_loads([endpoint], waiting=[1, 2], now=0.0)
    with pytest.raises(ValueError, match="kv_usage"):
        scheduler.handle_loads([endpoint], kv_usage=[50.0], now=0.0)
    assert scheduler.handle_loads([], now=0.0) == []
    assert scheduler.handle_loads([endpoint], waiting=[4], now=0.0) == []
    assert scheduler.stats().endpoints[0].external_waiting == 4.0
