"""Scheduling profiles and subsets: the example of the manual, and what decisions return."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import slotwise

PAGE = Path(__file__).parents[2] / "docs/src/profiles.md"
QUEUE_ONLY = {"scorers": [{"scorer": {"type": "queue-scorer"}, "weight": 2.0}]}


def test_the_example_of_the_manual() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    exec(example, {})


def test_the_configuration_survives_a_scheduler() -> None:
    config = slotwise.Scheduler(slotwise.Config(seed=1, profile=QUEUE_ONLY)).config
    assert config.profile is not None
    assert config.profile["scorers"][0]["scorer"]["type"] == "queue-scorer"
    assert slotwise.Scheduler(config).config == config
    with pytest.raises(ValueError, match="quue-scorer"):
        slotwise.Scheduler({"profile": {"scorers": [{"scorer": {"type": "quue-scorer"}}]}})


def test_an_explanation_has_scores_and_the_runner_up() -> None:
    scheduler = slotwise.Scheduler(slotwise.Config(profile=QUEUE_ONLY))
    busy = scheduler.add_endpoint("busy", now=0.0)
    scheduler.add_endpoint("idle", now=0.0)
    scheduler.handle_load(busy, waiting=3, now=0.0)
    explanation = scheduler.explain("Hello", model="m", now=0.0)
    first, second = explanation.candidates
    assert (first.name, first.score, second.score) == ("idle", 2.0, 0.0)
    assert second.scores[0].scorer == "queue-scorer"
    assert explanation.runner_up is not None
    assert explanation.runner_up.lost_most_in == "queue-scorer"
    assert "queue-scorer" in str(explanation)


def test_plugins_read_the_headers_that_the_host_passes() -> None:
    affinity = {"headerName": "x-zone", "labelKey": "zone"}
    scorer = {"type": "header-label-affinity-scorer", "parameters": affinity}
    scheduler = slotwise.Scheduler(slotwise.Config(profile={"scorers": [{"scorer": scorer}]}))
    for zone in ("a", "b"):
        scheduler.add_endpoint({"name": zone, "labels": {"zone": zone}}, now=0.0)
    for zone in ("b", "a"):
        decision = scheduler.pick("Hello", model="m", plugin_headers={"x-zone": zone}, now=0.0)
        assert isinstance(decision, slotwise.Dispatch)
        assert (decision.endpoint_name, decision.score) == (zone, 1.0)
    decision = scheduler.pick("Hello", model="m", headers={"x-zone": "b"}, now=0.0)
    assert isinstance(decision, slotwise.Dispatch)
    assert decision.score == 0.0
    with pytest.raises(TypeError):
        scheduler.pick("Hello", plugin_headers={"x-zone": 1})  # type: ignore[dict-item]


BY_STAGE = {
    "handler": {"type": "disagg-profile-handler", "parameters": {"deciders": {"prefill": "pd"}}},
    "profiles": {
        "decode": QUEUE_ONLY,
        "prefill": {"scorers": [{"scorer": {"type": "kv-cache-utilization-scorer"}}]},
    },
    "deciders": {"pd": {"type": "always-disagg-pd-decider"}},
}


def test_a_handler_selects_the_profile_of_each_stage() -> None:
    scheduler = slotwise.Scheduler(slotwise.Config(profiles=BY_STAGE))
    for role, waiting, usage in (
        ("decode", 1, 0.9),
        ("decode", 8, 0.1),
        ("prefill", 1, 0.9),
        ("prefill", 8, 0.1),
    ):
        endpoint = slotwise.Endpoint(f"{role}-{waiting}", role=role)  # type: ignore[arg-type]
        scheduler.handle_load(
            scheduler.add_endpoint(endpoint, now=0.0), waiting=waiting, kv_usage=usage, now=0.0
        )
    explanation = scheduler.explain("Hello", model="m", now=0.0)
    (stage,) = explanation.stages
    assert (stage.stage, stage.candidates[0].name) == ("prefill", "prefill-8")
    assert explanation.candidates[0].scores[0].scorer == "queue-scorer"
    decision = scheduler.pick("Hello", model="m", now=0.0)
    assert isinstance(decision, slotwise.Dispatch)
    assert decision.prefill is not None
    assert (decision.endpoint_name, decision.prefill.endpoint_name) == ("decode-1", "prefill-8")
    with pytest.raises(slotwise.ConfigError, match="profiles.deciders"):
        slotwise.Scheduler(slotwise.Config(profiles={**BY_STAGE, "deciders": {}}))


def test_a_subset_is_ids_addresses_or_a_header() -> None:
    scheduler = slotwise.Scheduler()
    ids = [scheduler.add_endpoint(f"http://10.0.0.{n}:8000", now=0.0) for n in range(3)]
    header = {"x-gateway-destination-endpoint-subset": "10.0.0.2:8000"}
    for options in (
        {"subset": [ids[2]]},
        {"subset": ["10.0.0.2:8000", "10.0.0.9"]},
        {"subset": "10.0.0.2:9000", "subset_ports": "ignored"},
        {"headers": header},
    ):
        decision = scheduler.pick("Hello", model="m", now=0.0, **options)  # type: ignore[arg-type]
        assert isinstance(decision, slotwise.Dispatch)
        assert decision.endpoint_id == ids[2]
    for empty in ([], ""):
        rejected = scheduler.pick("Hello", model="m", subset=empty, now=0.0)
        assert isinstance(rejected, slotwise.Rejected)
        assert rejected.reason == "no_endpoints"
    with pytest.raises(TypeError, match="only ids or only addresses"):
        scheduler.pick("Hello", model="m", subset=[1, "a"], now=0.0)  # type: ignore[list-item]
