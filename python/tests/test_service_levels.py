"""The prices of service levels: the core's table, which every language computes alike."""

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from conftest import CORE_TESTS
from slotwise import CostPrices, Scheduler

ROWS: list[dict[str, Any]] = json.loads(
    (CORE_TESTS / "vectors/prices/service_levels.json").read_text()
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['ttft']} s, {row['tpot']} s")
def test_each_service_level_has_the_prices_of_the_table(row: dict[str, Any]) -> None:
    prices = CostPrices.for_service_level(ttft=row["ttft"], tpot=row["tpot"])
    assert asdict(prices) == row["prices"]
    assert Scheduler({"prices": asdict(prices)}).config.prices == prices


def test_the_usual_service_level_has_the_defaults() -> None:
    assert CostPrices.for_service_level(ttft=2, tpot=0.1) == CostPrices()


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_service_level_is_a_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="ttft must be seconds"):
        CostPrices.for_service_level(ttft=seconds, tpot=0.1)
