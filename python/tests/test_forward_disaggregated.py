"""``forward`` makes the calls of a disaggregated request, with each connector."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import slotwise
import slotwise.aio
from slotwise.aio import Call

PATH = "/v1/completions"
BODY = b'{"model":"m","prompt":"Hi","max_tokens":64}'
EVENT = b'data: {"choices":[{"text":"a"}]}\n\n'
DONE = b"data: [DONE]\n\n"
PREFILLED = b'{"choices":[{"text":"a","finish_reason":"length"}],"kv_transfer_params":{"port":7}}'


class Answer:
    """A response of an engine. Without chunks it never ends."""

    def __init__(self, chunks: list[bytes] | None, status: int = 200) -> None:
        self.status_code, self._chunks, self.closed = status, chunks, False
        kind = "application/json" if chunks == [PREFILLED] else "text/event-stream"
        self.headers = {"content-type": kind}

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks or ():
            yield chunk
        if self._chunks is None:
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True


def scheduler() -> slotwise.aio.Scheduler:
    made = slotwise.aio.Scheduler(
        {"seed": 1, "disaggregation": {"prefill": {"type": "always-disagg-pd-decider"}}}
    )
    for name, role in (("http://p1", "prefill"), ("http://p2", "prefill"), ("http://d", "decode")):
        made.add_endpoint(slotwise.Endpoint(name, role=role))  # type: ignore[arg-type]
    return made


class Engines:
    """Answers calls as ``answer`` does, and records them."""

    def __init__(self, answer: Callable[[Call, bool], Answer]) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[Answer] = []
        self._answer = answer

    async def send(self, call: Call) -> Answer:
        is_prefill = call.url != "http://d"
        self.calls.append((call.url, json.loads(call.body) | dict(call.headers)))
        await asyncio.sleep(0)
        self.answers.append(self._answer(call, is_prefill))
        return self.answers[-1]


def forward(connector: Any, answer: Callable[[Call, bool], Answer]) -> tuple[Engines, Any, bytes]:
    async def run() -> tuple[Engines, Any, bytes]:
        gateway, engines = scheduler(), Engines(answer)
        reply = await gateway.forward(engines.send, connector=connector, body=BODY, path=PATH)
        read = await reply.read()
        stats = gateway.stats()
        assert (stats.in_flight, stats.completed) == (0, 1)
        assert all(answer.closed for answer in engines.answers[:-1])
        return engines, stats, read

    return asyncio.run(asyncio.wait_for(run(), 30))


def good(call: Call, is_prefill: bool) -> Answer:
    return Answer([PREFILLED] if is_prefill else [EVENT, DONE])


def test_nixl_prefills_first_and_passes_the_parameters_on() -> None:
    engines, stats, read = forward("nixl", good)
    (prefiller, first), (decoder, second) = engines.calls
    assert (first["max_tokens"], first["kv_transfer_params"]["do_remote_decode"]) == (1, True)
    assert (second["max_tokens"], second["kv_transfer_params"]) == (64, {"port": 7})
    assert (decoder, read) == ("http://d", EVENT + DONE)
    assert prefiller.startswith("http://p") and stats.stages["prefill-decode"] == 1


def test_a_prefill_that_fails_is_asked_elsewhere_and_then_left_out() -> None:
    def answer(call: Call, is_prefill: bool) -> Answer:
        if is_prefill:
            raise ConnectionError("refused")
        return good(call, is_prefill)

    engines, stats, _ = forward("nixl", answer)
    assert sorted(url for url, _ in engines.calls[:2]) == ["http://p1", "http://p2"]
    assert engines.calls[2] == ("http://d", json.loads(BODY))
    assert [endpoint.failed for endpoint in stats.endpoints] == [1, 1, 0]


def test_both_engines_of_a_bootstrap_are_called_at_once() -> None:
    engines, _, read = forward("bootstrap", good)
    (prefiller, first), (_, second) = sorted(engines.calls, reverse=True)
    assert first == second and first["bootstrap_host"] == prefiller.removeprefix("http://")
    assert first["bootstrap_port"] == 8998 and read == EVENT + DONE


def test_a_failed_prefill_ends_the_wait_for_the_other_engine() -> None:
    failed: list[str] = []

    def answer(call: Call, is_prefill: bool) -> Answer:
        if is_prefill and not failed:
            failed.append(call.url)
            return Answer([b"broken"], 500)
        # The decoding engine waits for a transfer that does not come.
        is_stuck = not is_prefill and json.loads(call.body)["bootstrap_host"] in failed[0]
        return Answer(None) if is_stuck else good(call, is_prefill)

    engines, stats, read = forward("bootstrap", answer)
    assert read == EVENT + DONE and len(engines.calls) == 4
    assert stats.cancelled == 1


def test_a_sidecar_makes_the_calls_itself() -> None:
    engines, _, _ = forward("sidecar", good)
    ((url, sent),) = engines.calls
    assert url == "http://d" and sent.pop("x-prefiller-host-port") in ("p1:80", "p2:80")
    assert sent == json.loads(BODY)


def test_a_client_that_leaves_during_the_prefill_leaves_nothing() -> None:
    async def run() -> None:
        gateway, engines = scheduler(), Engines(lambda call, is_prefill: Answer(None))
        asked = asyncio.ensure_future(
            gateway.forward(engines.send, connector="nixl", body=BODY, path=PATH)
        )
        while not engines.answers:
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await asyncio.sleep(0)
        assert (gateway.stats().in_flight, gateway.stats().cancelled) == (0, 1)
        assert [answer.closed for answer in engines.answers] == [True]

    asyncio.run(asyncio.wait_for(run(), 30))
