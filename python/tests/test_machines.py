"""Machines: the same cases as in Rust, and the typed faces of Python."""

import doctest
import hashlib
import json
from typing import Any

import pytest
from conftest import GATEWAY_TESTS
from slotwise import clusters, configuration, gates, health_checks, routing
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
    for module in (clusters, gates, health_checks, routing):
        assert doctest.testmod(module).failed == 0


def test_a_route_is_typed() -> None:
    route = routing.Routing({"pools": [{"name": "a"}]}).route("m", path="/v1", headers={"x": "1"})
    assert route == routing.Route(None, routing.Target("a", "m", "m", None), (), (), None, None)
    with pytest.raises(routing.NoRouteError) as refused:
        routing.Routing({}).route("m")
    assert (refused.value.code, refused.value.http_status) == ("model_not_found", 404)


def test_gates_are_typed() -> None:
    digest = hashlib.sha256(b"sk-1").hexdigest()
    limits = {"tokens_per_minute": 100}
    config = {"keys": [{"name": "alice", "sha256": digest, "tenant": "t", "limits": limits}]}
    gate = gates.Gates(config)
    headers = [("x-api-key", "sk-1")]
    assert gate.identify(headers) == gates.Caller("alice", False, "t", None, None)
    grant = gate.admit(headers, model="m", prompt_tokens=50, output_tokens=30, now=0.0)
    assert grant.headers[1] == ("x-ratelimit-remaining-tokens", "20")
    standing = gates.Standing("key", "tokens", 60.0, 100, 80, 20, 60.5)
    assert gate.standings(headers, now=0.5) == [standing]
    with pytest.raises(gates.RefusedError) as refused:
        gate.admit(headers, model="m", prompt_tokens=50, output_tokens=30, now=0.5)
    error = refused.value
    assert (error.code, error.http_status) == ("rate_limit_exceeded", 429)
    assert (error.retry_after, error.exceeded) == (60.5, standing)
    assert json.loads(error.body("anthropic"))["error"]["type"] == "rate_limit_error"
    assert (grant.settle(prompt_tokens=50, now=0.6), grant.cancel(now=0.7)) == (True, False)
    gate.set_config({"anonymous": {}})
    with pytest.raises(gates.RefusedError):
        gate.identify(headers)
    assert gate.identify({}, client="10.0.0.1").name == "10.0.0.1"


def test_a_check_of_a_stream_is_typed() -> None:
    check = gates.SafetyCheck("stream", {"question_bytes": 4, "look_back": 8})
    event = 'data: {"choices":[{"index":0,"delta":{"content":"gr\u00fc\u00dfe"}}]}\n\n'.encode()
    check.feed(event[:50], now=0.0)
    assert (check.wants_input, check.poll_question(), check.next_timeout()) == (True, None, None)
    check.feed(event[50:], now=0.0)
    question = check.poll_question()
    assert question == gates.Question(0, ("gr\u00fc\u00dfe",), 1.0)
    assert question and check.next_timeout() == 1.0
    assert check.allow(question.id, now=0.001) and not check.allow(question.id, now=0.001)
    assert check.poll_output() is None
    check.finish(now=0.002)
    assert (check.poll_output(), check.ended, check.refused) == (event, True, None)
    check = gates.SafetyCheck("prompt", shape="anthropic")
    check.feed(b'{"prompt": "x"}', now=0.0)
    check.finish(now=0.0)
    assert check.fail(0, now=0.0) and check.refused is not None
    assert (check.refused.http_status, check.failures) == (503, 1)


def test_health_checks_are_typed() -> None:
    checks = health_checks.HealthChecks({"interval": 5, "timeout": 1}, seed=7)
    assert checks.next_timeout() is None
    checks.watch(4, now=0.0)
    assert checks.poll(now=0.0) is None
    probe = checks.poll(now=5.0)
    assert probe == health_checks.Probe(4, 1, 6.0)
    assert isinstance(probe, health_checks.Probe)
    checks.handle_result(probe, passed=False)
    assert checks.poll(now=10.0) == health_checks.Probe(4, 2, 11.0)
    assert checks.poll(now=11.0) == health_checks.Report(4, False)
    checks.handle_failure(4)
    checks.unwatch(4)
    assert checks.next_timeout() is None
    with pytest.raises(ValueError, match="timeout"):
        health_checks.HealthChecks({"interval": 1, "timeout": 2})


def test_a_configuration_describes_clusters() -> None:
    file = """
clusters: {members: [{name: eu-1, region: eu}, {name: us-1, region: us, network_time: 0.04}]}
pools:
- {name: llama, timeout: 120, exports: [{cluster: eu-1}, {cluster: us-1}],
   balancing: {max_in_flight_per_endpoint: 1}}
- {name: local}
"""
    described = configuration.Configuration(file)
    pool = described.pool("llama")
    assert (pool.timeout, len(pool.exports), pool.balancing["metrics"]) == (120, 2, [])
    assert described.clusters("local")["pools"] == []
    typed = clusters.Clusters(described.clusters("llama"))
    for cluster in ["eu-1", "us-1"]:
        typed.report("llama", cluster, now=0.0)
    assert [typed.choose("llama", now=0.0).region for _ in range(2)] == ["eu", "us"]


def test_a_choice_of_a_cluster_is_typed() -> None:
    exports = [{"cluster": "a", "region": "eu", "network_time": 0.5}]
    typed = clusters.Clusters({"pools": [{"name": "p", "timeout": 1, "exports": exports}]})
    typed.report("p", "a", now=0.0, ready_endpoints=2, in_flight=1, wait=0.25)
    choice = typed.choose("p", now=1.0, prompt_tokens=5_000, cached_tokens={"a": 2_500})
    assert choice == clusters.Choice("a", "eu", "full", 0.75, 2_500, ())
    (candidate,) = typed.explain("p", now=1.0).candidates
    assert candidate == clusters.Candidate("a", "eu", "full", 1.0, 1, 1.0, 0.5, 0.125, 0, 0.625)
    typed.complete("p", "a", now=2.0, duration=1.0)
    for _ in range(99):
        typed.begin("p", "a", now=2.0)
        typed.complete("p", "a", now=2.0, duration=1.0)
    typed.set_config({"pools": [{"name": "p", "timeout": 1, "exports": exports}]}, now=2.0)
    hint = typed.timeout_hint("p")
    assert hint is not None and hint.timeout == 1 and hint.is_too_short
    assert 1 <= hint.p99 <= 1.125 and hint.least == 2 * hint.p99
    assert typed.next_timeout() == 10.0
    typed.begin("p", "a", now=2.0)
    typed.withdraw("p", "a", now=3.0)
    with pytest.raises(clusters.NoClusterError) as refused:
        typed.choose("p", now=3.0)
    assert (refused.value.code, refused.value.http_status) == ("no_cluster", 503)
    typed.cancel("p", "a", now=3.0)
    assert typed.drained() == [("p", "a")]
    typed.export("p", {"cluster": "b"}, now=4.0)
    with pytest.raises(ValueError, match="no request in flight"):
        typed.fail("p", "b", now=4.0)
