"""Spans and metrics of the requests that a gateway serves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from engines import Engine, engines
from observed import PARENT, Observed
from running import ASKED, CHAT, Host, key, one_pool, run, serving


@asynccontextmanager
async def observed(
    pool: list[Engine], **more: Any
) -> AsyncIterator[tuple[Host, Observed]]:
    """A gateway whose spans and metrics can be read."""
    async with serving(one_pool(pool, **more)) as host:
        reader = Observed(time.monotonic)
        host.gateway.telemetry = reader.telemetry
        yield host, reader


def test_a_request_is_one_span_that_continues_in_the_engine() -> None:
    async def test() -> None:
        async with engines("dies", "good") as pool, observed(pool) as (host, reader):
            for _ in range(3):
                asked = host.client.post(CHAT, json=ASKED, headers={"traceparent": PARENT})
                async with asked as answer:
                    assert answer.status == 200 and await answer.read()
            spans = reader.spans.get_finished_spans()
            assert [span.name for span in spans] == ["chat m"] * 3
            for span in spans:
                assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
                assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
                assert span.attributes["server.port"] == int(pool[1].url.rpartition(":")[2])
                assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)
            # All attempts of a request carry its span.
            sent = {headers["traceparent"].split("-")[2] for headers in pool[1].headers}
            assert sent == {f"{span.context.span_id:016x}" for span in spans}
            assert {headers["traceparent"].split("-")[2] for headers in pool[0].headers} <= sent
            [(labels, _)] = reader.points("gen_ai.server.request.duration")
            assert labels == {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "m",
            }
            assert len(reader.points("gen_ai.server.time_to_first_token")) == 1

    run(test)


def test_the_usage_is_measured_though_the_client_does_not_get_it() -> None:
    async def test() -> None:
        gates = {"keys": [key("alice", tenant="team")]}
        async with engines("good") as pool, observed(pool, gates=gates) as (host, reader):
            assert (await host.whole(key="alice")).status == 200
            assert json.loads(pool[0].bodies[0])["stream_options"] == {"include_usage": True}
            assert reader.span.attributes["slotwise.flow"] == "team"

    run(test)


def test_refusals_have_their_reason() -> None:
    async def test() -> None:
        async with engines(500, 500) as pool, observed(pool) as (host, reader):
            assert (await host.whole()).status == 500
            assert reader.span.attributes["error.type"] == "500"
            reader.spans.clear()
            for engine in pool:
                await engine.stop()
            assert (await host.whole()).status == 503
            assert reader.span.attributes["error.type"] == "503"
            assert not reader.points("gen_ai.server.time_to_first_token")

    run(test)


def test_a_client_that_leaves_ends_the_span() -> None:
    async def test() -> None:
        async with engines("slow", "late") as pool:
            for engine in pool:
                async with observed([engine]) as (host, reader):
                    async with host.client_of() as leaving:
                        asked = asyncio.ensure_future(leaving.post(CHAT, json=ASKED))
                        await host.until(lambda one=engine: one.held == 1)
                        if engine.manner == "slow":
                            (await asked).close()
                        else:
                            asked.cancel()
                    await host.until(lambda one=host: one.gateway.open_requests == 0)
                    assert reader.span.attributes["error.type"] == "client_disconnected"

    run(test)
