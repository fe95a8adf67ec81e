"""Requests go to the scheduler as clients send them: bodies and headers. What is wrong reserves nothing."""

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
    first = picked(scheduler, IDS, model="m", expected_output=16)
    assert first.prompt_tokens == 100
    scheduler.complete(first.request)
    for body in (COMPLETION, bytearray(COMPLETION), memoryview(COMPLETION)):
        again = picked(scheduler, body=body, path="/v1/completions")
        assert (again.prompt_tokens, again.cached_tokens) == (100, 96)
        scheduler.complete(again.request)
    chat = scheduler.explain(body=CHAT)
    view = wire.read_request(CHAT, api="chat_completions")
    assert isinstance(view.prompt, bytes)
    same = scheduler.explain(view.prompt, model="m", priority=-3, expected_output=9)
    assert chat == same
    assert isinstance(scheduler.submit(body=CHAT), int)


def test_keywords_win_over_headers_and_headers_over_the_body() -> None:
    """Which priority counts shows in who is shed: all those below zero, where nothing may be booked."""
    shed = Scheduler({"shed_above": 0.0}, clock=Time())
    endpoint = shed.add_endpoint(Endpoint("a", models=["m"]))
    shed.pick("x" * 4_000, model="m")
    shed.handle_load(endpoint, waiting=50)

    def goes(**wishes: Any) -> bool:
        answer = shed.explain(body=CHAT, **wishes)
        assert answer.reason in (None, "shed")
        return answer.reason is None

    assert not goes(), "3 is late where low goes first"
    assert goes(priority_order="high_first")
    assert goes(headers=[("X-VLLM-Priority", "-1")])
    assert goes(headers=[(b"x-vllm-priority", b"-1")])
    assert goes(headers={"x-vllm-priority": "-1"})
    assert not goes(headers=[["x-vllm-priority", "-1"]], priority=-1)
    assert goes(headers=[("x-vllm-priority", "1")], priority=0)

    now = Time()() + 1.0
    late = shed.explain(body=CHAT, priority=0, headers={"x-llm-d-slo-ttft-ms": "0.001"}, now=now)
    assert late.reason == "deadline_unreachable"
    assert (
        shed.explain(body=CHAT, priority=0, deadline=now + 999, headers={"x-slo-ttft-ms": "1"}, now=now).reason is None
    )
    assert shed.explain(body=CHAT, model="other").reason == "not_served"
    assert shed.explain("Hello", model="m", headers={"x-vllm-priority": "1"}).reason == "shed"


@pytest.mark.parametrize(
    ("wishes", "error", "message"),
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
        ({"body": CHAT[:-1]}, WireError, "too soon"),
        ({"body": b"\xff" + CHAT}, WireError, "at byte 0"),
        ({"body": b"[" * 10_000}, WireError, "an object"),
        ({"body": b'{"messages":' + b"[" * 10_000}, WireError, "levels deep|expected"),
        ({"body": b'{"model": 1}'}, WireError, "at byte 10"),
    ],
)
def test_a_request_that_cannot_be_read_reserves_nothing(
    scheduler: Scheduler, wishes: Any, error: Any, message: str
) -> None:
    before = scheduler.stats()
    for call in (scheduler.pick, scheduler.submit, scheduler.explain):
        with pytest.raises(error, match=message):
            call(**wishes)
    assert scheduler.stats() == before


def test_a_scorer_may_ask_with_a_body_itself() -> None:
    seen: list[int] = []

    def score(candidates: slotwise.Candidates) -> list[float]:
        if len(seen) < 5:
            seen.append(len(candidates.names))
            picked(s, body=CHAT)
        return list(candidates.cost)

    s = Scheduler(scorer=score, clock=Time())
    s.add_endpoint("a")
    picked(s, body=CHAT)
    assert seen == [1] * 5


def test_requests_are_data() -> None:
    body = b'{"model": "alias", "input": [[1, 2], [3]], "user": "u"}'
    view = wire.read_request(body, path="/v1/embeddings")
    assert (view.api, view.prompt, view.prompts, view.session_field) == ("embeddings", [1, 2], 2, "user")
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
