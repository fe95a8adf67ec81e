"""The scheduler takes bodies and headers as clients send them. Malformed ones reserve nothing."""

import json
from typing import Any

import pytest
import slotwise
from conftest import CHAT, picked
from fake_time import Time
from slotwise import Endpoint, Scheduler, WireError, wire


@pytest.fixture
def scheduler() -> Scheduler:
    scheduler = Scheduler(clock=Time())
    scheduler.add_endpoint(Endpoint("a", models=["m"], block_size=4))
    return scheduler


IDS = list(range(100))
COMPLETION = json.dumps({"model": "m", "prompt": IDS}).encode()


def test_a_body_is_the_prompt_in_it(scheduler: Scheduler) -> None:
    first = picked(scheduler, IDS, model="m", expected_output_tokens=16)
    assert first.prompt_tokens == 100
    scheduler.complete(first.request_id)
    for body in (COMPLETION, bytearray(COMPLETION), memoryview(COMPLETION)):
        again = picked(scheduler, body=body, path="/v1/completions")
        assert (again.prompt_tokens, again.cached_tokens) == (100, 96)
        scheduler.complete(again.request_id)
    chat = scheduler.explain(body=CHAT)
    view = wire.read_request(CHAT, api="chat_completions")
    assert isinstance(view.prompt, bytes)
    same = scheduler.explain(view.prompt, model="m", priority=-3, expected_output_tokens=9)
    assert chat == same
    assert isinstance(scheduler.submit(body=CHAT), int)


def test_keywords_win_over_headers_and_headers_over_the_body() -> None:
    """Shedding shows the effective priority: with ``shed_above`` 0, negative ones are shed."""
    shed = Scheduler({"shed_above": 0.0}, clock=Time())
    endpoint = shed.add_endpoint(Endpoint("a", models=["m"]))
    shed.pick("x" * 4_000, model="m")
    shed.handle_load(endpoint, waiting=50)

    def goes(**options: Any) -> bool:
        answer = shed.explain(body=CHAT, **{"allow": ["priority"], **options})
        assert answer.reason in (None, "shed")
        return answer.reason is None

    assert not goes(), "3 is late where low goes first"
    assert goes(allow=None), "nothing counts that the host has not allowed"
    assert goes(allow={"priority": (0, 9)}), "a range has ends"
    assert goes(priority_order="high_first")
    assert goes(headers=[("X-VLLM-Priority", "-1")])
    assert goes(headers=[(b"x-vllm-priority", b"-1")])
    assert goes(headers={"x-vllm-priority": "-1"})
    assert not goes(headers=[["x-vllm-priority", "-1"]], priority=-1)
    assert goes(headers=[("x-vllm-priority", "1")], priority=0)

    now = Time()() + 1.0
    late = shed.explain(
        body=CHAT, priority=0, headers={"x-llm-d-slo-ttft-ms": "0.001"}, allow=["deadline"], now=now
    )
    assert late.reason == "deadline_unreachable"
    assert (
        shed.explain(
            body=CHAT, priority=0, deadline=now + 999, headers={"x-slo-ttft-ms": "1"}, now=now
        ).reason
        is None
    )
    assert shed.explain(body=CHAT, model="other").reason == "not_served"
    assert (
        shed.explain(
            "Hello", model="m", headers={"x-vllm-priority": "1"}, allow=["priority"]
        ).reason
        == "shed"
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TypeError, "either a prompt or a body"),
        ({"prompt": "x", "body": CHAT}, TypeError, "either a prompt or a body"),
        ({"prompt": "x", "path": "/v1/completions"}, TypeError, "there is none"),
        ({"body": CHAT.decode()}, TypeError, "body must be bytes"),
        ({"body": CHAT, "path": "/v1/none"}, ValueError, "/v1/none"),
        ({"body": CHAT, "priority_order": "none"}, ValueError, "low_first"),
        ({"body": CHAT, "headers": 1}, TypeError, "pairs"),
        ({"body": CHAT, "headers": ["ab", "cd"]}, TypeError, "pairs"),
        ({"body": CHAT, "headers": [("a", 1)]}, TypeError, "str or bytes"),
        ({"body": CHAT[:-1]}, WireError, "unexpected end"),
        ({"body": b"\xff" + CHAT}, WireError, "at byte 0"),
        ({"body": b"[" * 10_000}, WireError, "an object"),
        ({"body": b'{"messages":' + b"[" * 10_000}, WireError, "nested deeper|expected"),
        ({"body": b'{"model": 1}'}, WireError, "at byte 10"),
    ],
)
def test_a_request_that_cannot_be_read_reserves_nothing(
    scheduler: Scheduler, options: Any, error: Any, message: str
) -> None:
    before = scheduler.stats()
    for call in (scheduler.pick, scheduler.submit, scheduler.explain):
        with pytest.raises(error, match=message):
            call(**options)
    assert scheduler.stats() == before


def test_a_cost_function_may_ask_with_a_body_itself() -> None:
    seen: list[int] = []

    def score(candidates: slotwise.Candidates) -> list[float]:
        if len(seen) < 5:
            seen.append(len(candidates.names))
            picked(s, body=CHAT)
        return list(candidates.cost)

    s = Scheduler(cost=score, clock=Time())
    s.add_endpoint("a")
    picked(s, body=CHAT)
    assert seen == [1] * 5


def test_requests_are_data() -> None:
    body = b'{"model": "alias", "input": [[1, 2], [3]], "user": "u"}'
    view = wire.read_request(body, path="/v1/embeddings")
    assert (view.api, view.prompt, view.prompts, view.session_field) == (
        "embeddings",
        [1, 2],
        2,
        "user",
    )
    assert view.model_range and body[slice(*view.model_range)] == b'"alias"'
    assert wire.rewrite_model(body, 'l"') == body.replace(b"alias", b'l\\"')
    with pytest.raises(WireError, match="model"):
        wire.rewrite_model(b"{}", "m")
    for wrong in ({}, {"api": "chat_completions", "path": "/v1/completions"}):
        with pytest.raises(TypeError):
            wire.read_request(body, **wrong)  # type: ignore[arg-type]
    headers = wire.read_headers([("x-llm-d-slo-ttft-ms", "soon"), ("x-session-id", "s")])
    assert (headers.session_id, headers.unusable[0].name, headers.unusable[0].error.offset) == (
        "s",
        "x-llm-d-slo-ttft-ms",
        0,
    )


def test_nothing_that_a_client_says_counts_unless_the_host_allows_it_by_name() -> None:
    scheduler = Scheduler(slotwise.Config(flow=slotwise.FlowConfig(max_requests=50)), clock=Time())
    scheduler.add_endpoint(Endpoint("e", max_in_flight=1))
    scheduler.pick("x", model="m")
    for _ in range(50):
        scheduler.submit(body=CHAT, flow="honest")
    headers = {
        "x-vllm-priority": "-9",
        "x-llm-d-inference-fairness-id": "honest",
        "x-llm-d-inference-ttl": "2562047h",
    }
    for _ in range(50):
        refused = scheduler.submit(body=CHAT, headers=headers, flow="attacker")
        assert isinstance(refused, slotwise.Rejected)
    assert scheduler.poll_decision() is None
    for wrong in (["weight"], {"weight": True}, {"priority": (1, 0)}, {"ttl": (-1.0, 2.0)}):
        with pytest.raises(ValueError, match="allow"):
            scheduler.pick(body=CHAT, allow=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "extra",
    [
        {"prompt_logprobs": 0},
        {"echo": True, "logprobs": 0},
        {"truncate_prompt_tokens": 9},
        {"cache_prompt": False},
        {"n": 2},
    ],
)
def test_an_answer_is_no_evidence_if_the_cache_was_not_read(extra: dict[str, Any]) -> None:
    def corrections(extra: dict[str, Any]) -> int:
        scheduler = Scheduler(clock=Time())
        scheduler.add_endpoint("e")
        for turn in range(4):
            body = {
                "model": "m",
                "prompt": [*range(1_600), turn],
                "max_tokens": 1,
                **(extra if turn else {}),
            }
            dispatch = scheduler.pick(body=json.dumps(body).encode(), path="/v1/completions")
            assert isinstance(dispatch, slotwise.Dispatch)
            scheduler.complete(dispatch.request_id, prompt_tokens=1_601, cached_tokens=0)
        stats = scheduler.stats()
        assert stats.endpoints[0].estimated_tokens == 1_600
        return stats.checked_cached_tokens

    assert corrections({}) > 0
    assert corrections(extra) == 0
