"""Machines: the same cases as in Rust, and the typed faces of Python."""

import doctest
import json
from typing import Any

import pytest
from conftest import GATEWAY_TESTS
from slotwise import routing
from slotwise.machine import Machine

FILES = sorted((GATEWAY_TESTS / "machines").glob("*.json"))
CASES = [(path.stem, case) for path in FILES for case in json.loads(path.read_text())]
IDS = [f"{name}: {case['doc']}" for name, case in CASES]


@pytest.mark.parametrize(("name", "case"), CASES, ids=IDS)
def test_every_call_has_the_expected_answer(name: str, case: Any) -> None:
    if "error" in case:
        with pytest.raises((ValueError, TypeError)) as refused:
            Machine(case["kind"], **case["arguments"])
        assert case["error"] in str(refused.value)
        return
    machine = Machine(case["kind"], **case["arguments"])
    for call in case["calls"]:
        arguments = call.get("arguments", {})
        if "error" in call:
            with pytest.raises((ValueError, TypeError)) as raised:
                machine.call(call["call"], **arguments)
            assert call["error"] in str(raised.value)
        else:
            assert machine.call(call["call"], **arguments) == call["expect"], call


def test_the_examples_of_the_documentation_hold() -> None:
    assert doctest.testmod(routing).failed == 0


def test_a_route_is_typed() -> None:
    route = routing.Routing({"pools": [{"name": "a"}]}).route("m", path="/v1", headers={"x": "1"})
    assert route == routing.Route(None, routing.Target("a", "m", "m", None), (), (), None, None)
    with pytest.raises(routing.NoRouteError) as refused:
        routing.Routing({}).route("m")
    assert (refused.value.code, refused.value.http_status) == ("model_not_found", 404)
