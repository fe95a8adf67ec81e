"""Misuse by a host raises errors that state the fix, and changes no state."""

import os
import threading
import time as host
from typing import Any

import pytest
import slotwise
from conftest import CHAT, CORE_TESTS, picked
from fake_time import Time
from slotwise import Endpoint, Scheduler, warn_once


def test_a_now_on_another_clock_is_an_error() -> None:
    s = Scheduler()
    endpoint = s.add_endpoint("a")
    for call in (
        lambda: s.handle_load(endpoint, waiting=0, now=host.time()),
        lambda: s.pick("x", now=host.monotonic() + 4_000),
    ):
        with pytest.raises(
            ValueError,
            match=r"more than an hour ahead.*Pass time.monotonic\(\) and not time.time\(\)",
        ):
            call()
    picked(s, "x", now=host.monotonic() + 3_000)
    own = Scheduler(clock=Time())
    own.add_endpoint("a", now=host.time())
    picked(own, "x", now=host.time() + 1e6)


def test_a_cost_function_that_always_picks_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException] = []
    monkeypatch.setattr("sys.unraisablehook", lambda report: told.append(report.exc_value))

    def cost_function(candidates: slotwise.Candidates) -> Any:
        picked(s, "x")
        return candidates.cost

    s = Scheduler(cost=cost_function)
    s.add_endpoint("a")
    picked(s, "x")
    assert [(type(error), getattr(error, "code", "")) for error in told] == [
        (slotwise.CostFunctionError, "cost_function_reentered")
    ]
    assert s.stats().in_flight == 16


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_fork_in_the_middle_of_a_call_is_an_error_in_the_child() -> None:
    s = Scheduler()
    endpoint = s.add_endpoint("a")
    for at in range(40):
        s.handle_kv_event(
            endpoint, slotwise.BlockStored(list(range(at * 1_000, at * 1_000 + 1_000)), 16)
        )
    stop = threading.Event()
    thread = threading.Thread(target=lambda: [s.snapshot() for _ in iter(stop.is_set, True)])
    thread.start()
    codes = set()
    for _ in range(10):
        child = os.fork()
        if child == 0:
            try:
                s.stats()
                os._exit(1)
            except slotwise.ForkError as error:
                os._exit(2 if error.code == "forked" else 3)
            except BaseException:
                os._exit(3)
        codes.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    thread.join()
    assert codes <= {1, 2}, "used where it was free, refused where it was not, and never waited for"
    assert picked(s, "x").endpoint_name == "a", "the parent goes on"


def test_a_seed_is_drawn_unless_told() -> None:
    seeds = {
        Scheduler(config).config.seed
        for config in (None, {}, {"seed": None}, slotwise.Config())
        for _ in range(3)
    }
    assert len(seeds) == 12 and all(seed is not None and 0 <= seed < 2**53 for seed in seeds)
    for config in ({"seed": 0}, slotwise.Config(seed=0)):
        assert Scheduler(config).config.seed == 0


def test_none_leaves_a_field_to_its_default() -> None:
    s = Scheduler(
        {"flow": {"max_queued_prefill": None, "band": {"max_requests": 3}}, "kv_cache_tokens": None}
    )
    assert (s.config.flow.max_queued_prefill, s.config.flow.band.max_requests) == (0.25, 3)
    endpoint = s.add_endpoint(Endpoint("a", block_size=None, kv_cache_tokens=None))
    described = s.endpoint(endpoint)
    assert described is not None and described.block_size == 16
    assert Scheduler({"flow": {"max_requests": None}}).config.flow.max_requests is None
    with pytest.raises(slotwise.WireError):
        s.handle_trtllm_events(endpoint, b"")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda s: s.drain_endpoint("a"),
            r"the id that add_endpoint\(\) returned, not .*endpoint_named\('a'\)",
        ),
        (lambda s: s.remove_endpoint("a"), r"endpoint_named\('a'\)"),
        (lambda s: s.handle_metrics_page("a", b""), r"endpoint_named\('a'\)"),
        (
            lambda s: s.endpoint_named(0),
            r"expected the name of an endpoint, not .*endpoint\(id\).name",
        ),
        (lambda s: s.complete("a"), r"the id of a request, say dispatch.request_id.*X-Request-ID"),
        (
            lambda s: s.complete(s.pick("x")),
            r"the id of a request, say dispatch.request_id, not .*Dispatch",
        ),
        (lambda s: s.pick("x", flow=7), "flow"),
    ],
)
def test_what_is_no_id_or_no_name_says_what_to_pass(call: Any, message: str) -> None:
    s = Scheduler()
    s.add_endpoint("a")
    with pytest.raises(TypeError, match=message):
        call(s)


def test_a_refusal_that_is_taken_for_a_dispatch_says_what_to_do() -> None:
    rejected = Scheduler().pick("x")
    for field in ("endpoint_id", "endpoint_name", "request_id", "cost", "alternatives"):
        with pytest.raises(
            AttributeError,
            match=r"not dispatched \(no_endpoints\).*isinstance\(decision, slotwise.Dispatch\)",
        ):
            getattr(rejected, field)
    assert not hasattr(rejected, "nonsense")
    s = Scheduler(clock=Time())
    s.submit("x", ttl=0.0)
    evicted = s.poll_decision(now=2_000.0)
    assert isinstance(evicted, slotwise.Evicted) and evicted.request_id == 1
    with pytest.raises(AttributeError, match="so it has no endpoint"):
        evicted.endpoint_id  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda s: s.submit("x", ttl=5_000),
            "ttl is 5000 seconds, where 0.01 to 3600 is plausible: times are seconds, not milliseconds",
        ),
        (lambda s: s.submit("x", ttl=0.005), "ttl is 0.005 seconds"),
        (
            lambda s: Scheduler({"flow": {"max_queued_prefill": 250}}),
            "flow.max_queued_prefill is 250 seconds, where 0.001 to 30 is plausible",
        ),
        (
            lambda s: Scheduler(slotwise.Config(adapter_load_time=300)),
            "adapter_load_time is 300 seconds",
        ),
        (lambda s: Scheduler({"backoff": 1_000}), "backoff is 1000 seconds"),
    ],
)
def test_lengths_of_time_that_are_hardly_meant_warn_once(
    make: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warn_once, "_given", set())
    s = Scheduler(clock=Time())
    s.add_endpoint("a")
    with pytest.warns(slotwise.SlotwiseWarning) as caught:
        make(s)
        make(s)
    assert [str(warning.message) for warning in caught][0].startswith(message) and len(caught) == 1


def test_times_that_are_meant_do_not_warn(
    recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warn_once, "_given", set())
    s = Scheduler(clock=Time())
    s.add_endpoint("a")
    for ttl in (0.0, 0.01, 3_600.0, float("inf")):
        s.submit("x", ttl=ttl)
    assert not recwarn.list


def test_a_share_in_per_cent_and_a_deadline_on_another_clock_are_errors() -> None:
    s = Scheduler(clock=Time())
    endpoint = s.add_endpoint("a")
    for share in (85, 1.2, -0.1):
        with pytest.raises(
            ValueError, match="kv_usage must be a share between 0 and 1.*divide per cent by 100"
        ):
            s.handle_load(endpoint, kv_usage=share)
    s.handle_load(endpoint, kv_usage=1.0)
    with pytest.raises(
        ValueError, match="deadline must be seconds on the scheduler's clock.*more than a day ahead"
    ):
        s.pick("x", deadline=host.time() + 5)


@pytest.mark.parametrize(
    ("header", "value", "allow"),
    [
        ("x-llm-d-inference-fairness-id", "a tenant", {"flow": True}),
        ("x-gateway-inference-fairness-id", "a tenant", {"flow": True}),
        ("x-session-id", "a session", {"session": True}),
        ("x-session-token", "a session", {"session": True}),
        (
            "x-claude-code-session-id",
            "a session",
            {"session_headers": ["x-claude-code-session-id"]},
        ),
        ("x-vllm-priority", "-3", {"priority": (-10, 10)}),
        ("x-llm-d-inference-ttl", "250ms", {"ttl": (0.0, 30.0)}),
        ("x-llm-d-slo-ttft-ms", "2000", {"deadline": (0.0, 30.0)}),
        ("x-slo-ttft-ms", "2000", {"deadline": (0.0, 30.0)}),
    ],
)
def test_the_manual_names_each_header_that_may_count(header: str, value: str, allow: Any) -> None:
    manual = (CORE_TESTS.parents[2] / "docs" / "src" / "languages.md").read_text()
    assert f"`{header}`" in manual or "session_headers" in allow
    s = Scheduler(clock=Time())
    s.add_endpoint("a")
    picked(s, body=CHAT, headers={header: value}, allow=allow)
    if "ttl" in allow:
        s.submit(body=CHAT, headers={header: value}, allow=allow)
        assert s.next_timeout() is not None
