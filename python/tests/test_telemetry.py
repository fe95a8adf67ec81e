"""Spans and metrics of requests, read back from OpenTelemetry's SDK."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import slotwise
from engines import DONE, EVENT
from fake_time import Time
from observed import PARENT, Observed
from opentelemetry.trace import NoOpTracerProvider, SpanKind
from slotwise import aio
from slotwise.telemetry import Telemetry, operation_of

PATH = "/v1/chat/completions"
BODY = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'


class Response:
    """An engine's stream, with a second before each chunk."""

    def __init__(self, *chunks: bytes, status: int = 200) -> None:
        self.status_code = status
        self.headers = {"content-type": "text/event-stream"}
        self._chunks = chunks

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            await asyncio.sleep(1)
            yield chunk

    async def aclose(self) -> None:
        pass


def scheduler(time: Time) -> aio.Scheduler:
    pool = aio.Scheduler(clock=time)
    pool.add_endpoint("http://10.0.0.1:8000")
    return pool


def test_a_stream_is_one_span_and_its_measurements(time: Time) -> None:
    async def main() -> None:
        observed = Observed(time)
        sent: dict[str, str] = {}

        async def send(_: str) -> Response:
            sent.update(request.headers)
            return Response(EVENT, EVENT, EVENT + USAGE + DONE)

        headers = {"Traceparent": PARENT}
        with observed.telemetry.request("chat", "m", headers=headers, flow="team") as request:
            reply = await scheduler(time).forward(send, body=BODY, path=PATH, flow="team")
            chunks = request.stream(reply)
        assert not observed.spans.get_finished_spans(), "it ends with the stream"
        assert b"".join([chunk async for chunk in chunks]).endswith(DONE)
        span = observed.span
        assert (span.name, span.kind) == ("chat m", SpanKind.SERVER)
        assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
        assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
        assert sent["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"
        expected = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "gen_ai.usage.input_tokens": 7,
            "gen_ai.usage.output_tokens": 3,
            "gen_ai.response.finish_reasons": ("stop",),
            "http.response.status_code": 200,
            "server.address": "10.0.0.1",
            "slotwise.flow": "team",
        }
        assert {name: span.attributes.get(name) for name in expected} == expected
        common = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "m",
        }
        assert observed.points("gen_ai.server.request.duration") == [(common, 3.0)]
        assert observed.points("gen_ai.server.time_to_first_token") == [(common, 1.0)]
        ((_, each),) = observed.points("gen_ai.server.time_per_output_token")
        assert each > 0.0
        assert observed.points("gen_ai.client.token.usage") == [
            (common | {"gen_ai.token.type": "input"}, 7),
            (common | {"gen_ai.token.type": "output"}, 3),
        ]

    time.run(main())


def test_errors_have_their_type(time: Time) -> None:
    async def main() -> None:
        observed = Observed(time)
        with pytest.raises(slotwise.RejectedError):
            with observed.telemetry.request("chat", "m"):
                await aio.Scheduler(clock=time).acquire("x", model="m")
        assert observed.span.attributes["error.type"] == "no_endpoints"
        assert observed.span.attributes["http.response.status_code"] == 503
        ((labels, _),) = observed.points("gen_ai.server.request.duration")
        assert labels["error.type"] == "no_endpoints"

    time.run(main())


@pytest.mark.parametrize("started", [False, True])
def test_a_client_that_leaves_ends_the_span(time: Time, started: bool) -> None:
    async def main() -> None:
        observed, pool = Observed(time), scheduler(time)

        async def send(_: str) -> Response:
            return Response(EVENT, EVENT, DONE)

        with observed.telemetry.request("chat", "m") as request:
            reply = await pool.forward(send, body=BODY, path=PATH)
            chunks = request.stream(reply)
        if started:
            await anext(chunks)
        await reply.aclose()
        del chunks
        assert observed.span.attributes["error.type"] == "client_disconnected"
        assert pool.stats().cancelled == 1
        assert not observed.points("gen_ai.server.time_to_first_token")

    time.run(main())


def test_a_refusal_of_all_engines_has_its_status(time: Time) -> None:
    async def main() -> None:
        observed = Observed(time)

        async def send(_: str) -> Response:
            return Response(b'{"error": {}}', status=500)

        with observed.telemetry.request("chat", "m") as request:
            reply = await scheduler(time).forward(send, body=BODY, path=PATH)
            assert [chunk async for chunk in request.stream(reply)]
        assert observed.span.attributes["error.type"] == str(reply.status)

    time.run(main())


def test_names_of_models_are_bounded_in_metrics(time: Time) -> None:
    observed = Observed(time, max_models=2)
    for model in ("a", "b", "c", "a", "d"):
        with observed.telemetry.request("chat", model):
            pass
    points = observed.points("gen_ai.server.request.duration")
    assert {labels["gen_ai.request.model"] for labels, _ in points} == {"a", "b", "_OTHER"}
    names = [span.name for span in observed.spans.get_finished_spans()]
    assert names == ["chat a", "chat b", "chat c", "chat a", "chat d"]


def test_apis_have_operations() -> None:
    paths = [PATH, "/v1/responses", "/v1/completions", "/v1/embeddings", "/score", "/nothing"]
    operations = ["chat", "chat", "text_completion", "embeddings", "score", "unknown"]
    assert [operation_of(path) for path in paths] == operations


def test_attributes_are_made_only_for_spans_that_record(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    attributes = slotwise.wire.attributes

    def counted(of: Any, **described: Any) -> Any:
        made.append(of)
        return attributes(of, **described)

    monkeypatch.setattr("slotwise.wire.attributes", counted)

    async def serve(telemetry: Telemetry) -> None:
        async def send(_: str) -> Response:
            return Response(EVENT, EVENT + USAGE + DONE)

        with telemetry.request("chat", "m") as request:
            reply = await scheduler(time).forward(send, body=BODY, path=PATH)
            chunks = request.stream(reply)
        assert b"".join([chunk async for chunk in chunks]).endswith(DONE)

    time.run(serve(Telemetry(tracer_provider=NoOpTracerProvider())))
    assert not made
    time.run(serve(Observed(time).telemetry))
    assert len(made) == 2, "the decision and the usage"


def test_nothing_happens_without_the_api_package() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
import slotwise, slotwise.aio
assert "slotwise.telemetry" not in sys.modules
from slotwise.telemetry import Telemetry
telemetry = Telemetry()
assert not telemetry.enabled
with telemetry.request("chat", "m", headers={"traceparent": "x"}) as request:
    assert request.headers == {}
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
