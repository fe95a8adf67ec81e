"""The reference's policies: the same cases as in Rust, and what hosts of Python may pass."""

import doctest
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from conftest import CORE_TESTS, WIRE_TESTS
from slotwise import policy

PLUGINS = CORE_TESTS / "vectors" / "plugins"
FILES = sorted(PLUGINS.glob("*.json"))
KEYS = json.loads((WIRE_TESTS / "block_keys" / "keys.json").read_text())["cases"]


def of_plugin(kind: str, case: Mapping[str, Any]) -> Any:
    name, parameters = case.get("plugin", ""), case.get("parameters")
    endpoints, request = case.get("endpoints", []), case.get("request")
    match kind:
        case "scorer":
            return policy.score(name, parameters, endpoints, request)
        case "filter":
            seed = case.get("seed", 0)
            return policy.filter(name, parameters, endpoints, request, seed=seed)
        case "picker":
            seed = case.get("seed", 0)
            return policy.pick(name, parameters, case.get("scores", []), seed=seed)
        case "handler":
            return policy.schedule(
                name,
                parameters,
                case["profiles"],
                endpoints,
                request,
                deciders=case.get("deciders"),
                seed=case.get("seed", 0),
            )
        case "explain":
            seed = case.get("seed", 0)
            return policy.explain(case["profile"], endpoints, request, seed=seed)
    raise AssertionError(f"no kind {kind}")


TABLES: dict[str, Callable[[Any, Any], Any]] = {
    "saturation": lambda policy_, given: policy.saturation(policy_, **given),
    "ceilings": lambda policy_, given: policy.ceilings(policy_, **given),
    "outcome_status": lambda _, given: list(policy.outcome_status(**given)),
    "estimate_output": lambda _, given: policy.estimate_output(**given),
    "shed_probability": lambda parameters, given: policy.shed_probability(
        **given, parameters=parameters
    ),
    "latency_slo_admitter": lambda parameters, given: policy.admit(
        "latency-slo-admitter", parameters, **given
    ),
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_case_has_the_expected_result(path: Any) -> None:
    file = json.loads(path.read_text())
    for case in file["cases"]:
        if "kind" not in file:
            result = TABLES[path.stem](case.get("parameters"), case["inputs"])
        elif case.get("error") is not None:
            with pytest.raises((ValueError, TypeError)) as raised:
                of_plugin(file["kind"], case)
            assert case["error"] in str(raised.value), case["name"]
            continue
        else:
            result = of_plugin(file["kind"], case)
        expected = case["expected"]
        if path.stem not in ("outcome_status", "handlers", "explanations"):
            expected = pytest.approx(expected, abs=1e-9, rel=1e-9)
        assert result == expected, case["name"]
    assert len(file["cases"]) > 10


APPROXIMATE = ("block_tokens", "model", "cache_salt", "max_blocks")
PRECISE = ("block_tokens", "model", "algorithm", "seed", "extra_keys")


def of_keys(case: Mapping[str, Any]) -> Any:
    match case["function"]:
        case "pack_tokens":
            return policy.pack_tokens(case["prompt"])
        case "block_tokens":
            return policy.approximate_block_tokens(case["engine"])
        case "approximate":
            given = {name: case[name] for name in APPROXIMATE}
            return written(policy.approximate_block_hashes(case["tokens"], **given))
        case "request_keys":
            given = {name: case[name] for name in PRECISE}
            parent = int(case["parent"], 16)
            return written(policy.request_keys(case["tokens"], parent=parent, **given))
        case "map_engine_keys":
            mapping = policy.map_engine_keys(read(case["engine"]), read(case["request"]))
            return {f"{key:016x}": written(keys) for key, keys in mapping.items()}
        case "topic":
            pod, model = policy.parse_topic(case["topic"])
            return {"pod": pod, "model": model}
    return case["expected"]  # vLLM's names: see test_wire_vectors.py


def read(keys: list[str]) -> list[int]:
    return [int(key, 16) for key in keys]


def written(keys: list[int]) -> list[str]:
    return [f"{key:016x}" for key in keys]


@pytest.mark.parametrize("case", KEYS, ids=lambda case: case["name"])
def test_block_keys_are_those_of_the_reference(case: Mapping[str, Any]) -> None:
    assert of_keys(case) == case["expected"]


def test_the_example_of_the_manual_holds() -> None:
    page = (CORE_TESTS.parents[2] / "docs" / "src" / "pickers.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    exec(example, {})


def test_the_examples_hold() -> None:
    assert doctest.testmod(policy).failed == 0


def test_facts_may_be_dataclasses_and_names_in_camel_case() -> None:
    @dataclass
    class Endpoint:
        waiting: int
        labels: dict[str, str] = field(default_factory=dict)

    endpoints: list[Any] = [Endpoint(3), {"waiting": 1}, {"kvUsage": 0.5, "waiting": 5}]
    assert policy.score("queue-scorer", None, endpoints) == [0.5, 1.0, 0.0]


def test_numbers_beyond_json_are_read_and_returned() -> None:
    assert policy.weighted_sum([1], [[math.nan, math.inf, -math.inf]]) == [0.0, 1.0, 0.0]
    full: Any = [{"kv_usage": math.inf}]
    assert policy.saturation("utilization-detector", full) == math.inf
    assert policy.pick("random-picker", None, [math.nan, 1.0], seed=2**64 - 1) in ([0], [1])


def wrong(**facts: Any) -> list[Any]:
    return [facts]


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (lambda: policy.score("quue", None, []), ValueError, "queue-scorer"),
        (lambda: policy.score("queue-scorer", {"x": 1}, []), ValueError, "queue-scorer: unknown"),
        (lambda: policy.score("queue-scorer", None, wrong(wait=1)), ValueError, "`wait`"),
        (lambda: policy.score("queue-scorer", None, wrong(waiting="a")), TypeError, "string"),
        (lambda: policy.score("queue-scorer", None, [{"waiting": -1}]), ValueError, "-1"),
        (lambda: policy.filter("decode", None, []), ValueError, "decode-filter"),
        (lambda: policy.admit("none", None, []), ValueError, "latency-slo-admitter"),
        (lambda: policy.saturation("none", []), ValueError, "utilization-detector"),
        (lambda: policy.ceilings({"type": "none"}, [], 0.5), ValueError, "soft-reflective"),
        (lambda: policy.pd_decide("none"), ValueError, "always-disagg-pd-decider"),
        (lambda: policy.request_keys([1], block_tokens=1, algorithm="x"), ValueError, "'xxh64'"),
        (lambda: policy.request_keys([1], block_tokens=0), ValueError, "nonzero"),
        (lambda: policy.request_keys([2**32], block_tokens=1), ValueError, "4294967296"),
        (lambda: policy.align_extra_keys([], 10**9), ValueError, "blocks must be at most"),
    ],
)
def test_what_cannot_be_used_is_named(
    call: Callable[[], Any], error: type[Exception], part: str
) -> None:
    with pytest.raises(error, match=part):
        call()


def test_names_list_every_family() -> None:
    families = policy.names()
    assert all(families.values())
    for name in families["scorers"]:
        try:
            assert policy.score(name, None, []) == []
        except ValueError as error:
            assert "missing" in str(error), "some have a required parameter"
