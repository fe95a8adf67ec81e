"""Schedulers that exchange messages: the same cases as in Rust, and the typed faces of Python."""

from __future__ import annotations

import doctest
import json
from typing import Any

import pytest
import slotwise
from conftest import GATEWAY_TESTS, picked
from slotwise.peers import PeerError, PeerLimits, PeerLink, link, seed_of

CASES = [
    case
    for path in sorted((GATEWAY_TESTS / "links").glob("*.json"))
    for case in json.loads(path.read_text())
]
KEY = b"sixteen bytes or more"


class Host:
    """A gateway and the requests that it has picked."""

    def __init__(self, config: dict[str, Any], seed: int, endpoints: list[str]) -> None:
        self.scheduler = slotwise.Scheduler({"seed": seed})
        for endpoint in endpoints:
            self.scheduler.add_endpoint(endpoint, now=0.0)
        self.link = PeerLink(self.scheduler, key=KEY, incarnation=1, **config)
        self.requests: dict[str, int] = {}

    def poll(self, now: float) -> list[Any]:
        names = {request_id: name for name, request_id in self.requests.items()}
        decisions = []
        while (decision := self.scheduler.poll_decision(now=now)) is not None:
            assert isinstance(decision, slotwise.Dispatch), decision
            decisions.append([names[decision.request_id], decision.endpoint_name])
        due = self.scheduler.next_timeout()
        return [decisions, None if due is None else int(round(due * 1e6) // 1_000)]

    def state(self, now: float) -> dict[str, Any]:
        due, stats = self.link.next_timeout(now=now), self.link.stats()
        assert due is not None
        counts = {name: getattr(stats, name) for name in ("sent", "received", "rejected")}
        complete = self.link.is_complete
        milliseconds = int(round(due * 1e6) // 1_000)
        return {"alive": self.link.alive, "complete": complete, "due": milliseconds, **counts}


@pytest.mark.parametrize("case", CASES, ids=[case["doc"] for case in CASES])
def test_every_step_has_the_expected_answer(case: Any) -> None:
    seed, endpoints = case["seed"], case["endpoints"]
    hosts = {config["name"]: Host(config, seed, endpoints) for config in case["gateways"]}
    for step in case["steps"]:
        now, host = step["at"] / 1e3, hosts[step["on"]]
        if "pick" in step:
            dispatch = picked(host.scheduler, step["pick"], model="m", now=now)
            host.requests[step["as"]] = dispatch.request_id
            assert [dispatch.endpoint_name, dispatch.cached_tokens] == step["expect"], step
        elif "submit" in step:
            prompt, flow, weight = step["submit"] * step["times"], step["flow"], step["weight"]
            submitted = host.scheduler.submit(
                prompt, model="m", flow=flow, weight=weight, now=now
            )
            assert isinstance(submitted, int), submitted
            host.requests[step["as"]] = submitted
        elif "poll" in step:
            assert host.poll(now) == step["expect"], step
        elif "first_token" in step:
            host.scheduler.handle_first_token(host.requests[step["first_token"]], now=now)
        elif "complete" in step:
            host.scheduler.complete(host.requests[step["complete"]], now=now)
        elif "send" in step:
            messages = sent(host.link, now)
            applied = [
                hosts[name].link.apply_delta(message, now=now)
                for name in step["send"]
                for message in messages
            ]
            assert [[message.hex() for message in messages], applied] == step["expect"], step
        elif "error" in step:
            with pytest.raises(PeerError) as rejected:
                host.link.apply_delta(bytes.fromhex(step["receive"]), now=now)
            assert rejected.value.code == step["error"]
        elif "receive" in step:
            applied_here = host.link.apply_delta(bytes.fromhex(step["receive"]), now=now)
            assert applied_here == step["expect"], step
        else:
            assert host.state(now) == step["expect"], step


def sent(sender: PeerLink, now: float) -> list[bytes]:
    return list(iter(lambda: sender.export_delta(now=now), None))


def test_the_examples_of_the_documentation_hold() -> None:
    assert doctest.testmod(link).failed == 0


def test_a_link_that_cannot_be_is_an_error() -> None:
    scheduler = slotwise.Scheduler()
    with pytest.raises(slotwise.ConfigError, match="key must have at least 16 bytes, got 5"):
        PeerLink(scheduler, name="a", key=b"short")
    with pytest.raises(slotwise.ConfigError, match="name must have 1 to 64 bytes"):
        PeerLink(scheduler, name="", key=KEY)
    with pytest.raises(ValueError, match="nothing"):
        PeerLink(scheduler, name="a", key=KEY, limits={"nothing": 1})
    with pytest.raises(TypeError, match="key must be bytes"):
        PeerLink(scheduler, name="a", key=7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 16 bytes, got 5"):
        seed_of("short")


def test_a_seed_follows_from_the_key() -> None:
    assert seed_of(KEY) == seed_of(KEY.decode()) != seed_of(b"sixteen bytes and more")
    assert 0 < seed_of(KEY) < 2**53


def test_limits_are_those_of_the_core() -> None:
    # An unknown field of the core's would be rejected here, and a missing one keeps its default.
    linked = PeerLink(slotwise.Scheduler(), name="a", key=KEY, limits=PeerLimits(peers=2))
    assert linked.stats() == link.PeersStats(0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_messages_of_another_seed_are_rejected() -> None:
    here, there = slotwise.Scheduler({"seed": 1}), slotwise.Scheduler({"seed": 2})
    sender, receiver = (PeerLink(at, name=str(at), key=KEY) for at in (here, there))
    (message,) = sent(sender, 1.0)
    with pytest.raises(slotwise.PeerError) as rejected:
        receiver.apply_delta(memoryview(message), now=1.0)
    assert rejected.value.code == "seed" and receiver.stats().rejected == 1
