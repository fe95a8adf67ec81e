"""What clients of the gateway get under every behaviour of engines, and that nothing leaks."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from engines import CUT_EVENT, DONE, ERROR_EVENT, EVENT, engines
from fake_time import Time
from running import ASKED, CHAT, one_pool, run, serving

WHOLE = EVENT + EVENT + DONE
ELSEWHERE = ["dies", "empty", "fails", 401, 403, 404, 429, 500, 503, "dead"]


@pytest.mark.parametrize("bad", ELSEWHERE)
def test_a_request_that_has_not_begun_is_sent_elsewhere(bad: str | int) -> None:
    async def test() -> None:
        async with engines("good" if bad == "dead" else bad, "good") as pool:
            if bad == "dead":
                await pool[0].stop()
            async with serving(one_pool(pool)) as host:
                for _ in range(10):
                    answer = await host.whole()
                    assert (answer.status, answer.body) == (200, WHOLE)
                assert pool[1].asked == 10 and host.stats().completed == 10

    run(test)


@pytest.mark.parametrize(
    ("manner", "status"), [(400, 400), (404, 404), (429, 429), (500, 500), ("empty", 503)]
)
def test_the_client_gets_the_refusal_of_the_last_engine(manner: str | int, status: int) -> None:
    async def test() -> None:
        async with engines(manner, manner) as pool, serving(one_pool(pool)) as host:
            answer = await host.whole()
            assert answer.status == status and "error" in answer.json
            assert sum(engine.asked for engine in pool) == (1 if status == 400 else 2)
            assert host.gateway.statuses[status] == 1

    run(test)


def test_without_a_reachable_engine_the_refusal_has_the_shape_of_the_api() -> None:
    async def test() -> None:
        async with engines("good") as pool, serving(one_pool(pool)) as host:
            await pool[0].stop()
            first = await host.whole()
            assert first.status == 503 and "retry-after" in first.headers
            assert first.json["error"]["code"] == "no_endpoints"
            message = await host.whole({**ASKED, "max_tokens": 4}, "/v1/messages")
            assert message.status == 503 or message.status == 529
            assert message.json["type"] == "error"

    run(test)


def test_a_stream_that_breaks_off_ends_with_an_error_event(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        async with engines("breaks") as pool, serving(one_pool(pool)) as host:
            assert (await host.whole()).body == EVENT + CUT_EVENT
            assert host.stats().failed == 1
            message = await host.whole({**ASKED, "max_tokens": 4}, "/v1/messages")
            assert b"event: error\ndata: " in message.body
            assert caplog.text.count("an answer broke off: cut") == 2

    run(test)


def test_an_error_within_a_stream_reaches_the_client() -> None:
    async def test() -> None:
        async with engines("error") as pool, serving(one_pool(pool)) as host:
            assert (await host.whole()).body == EVENT + ERROR_EVENT
            assert host.stats().failed == 1

    run(test)


@pytest.mark.parametrize("manner", ["late", "slow"])
def test_a_client_that_disconnects_ends_the_request_at_the_engine(manner: str) -> None:
    async def test() -> None:
        async with engines(manner) as pool, serving(one_pool(pool)) as host:
            async with aiohttp.ClientSession(host.gateway.url) as leaving:
                asked = leaving.post(CHAT, json=ASKED)
                if manner == "slow":
                    response = await asked
                    assert await response.content.readany() == EVENT
                    response.close()
                else:
                    task = asyncio.ensure_future(asked)
                    await host.until(lambda: pool[0].held == 1)
                    task.cancel()
            await host.until(lambda: host.stats().cancelled == 1)
            await host.until(lambda: host.gateway.open_requests == 0)
            assert host.stats().in_flight == 0

    run(test)


def test_an_engine_that_hangs_is_left_for_another_one(time: Time) -> None:
    async def test() -> None:
        async with engines("silent", "good") as pool:
            async with serving(one_pool(pool)) as host:
                first = host.gateway.pools["default"].scheduler.endpoint_named(pool[1].url)
                host.gateway.pools["default"].scheduler.drain_endpoint(first)
                asked = asyncio.ensure_future(host.whole())
                await host.until(lambda: pool[0].asked == 1)
                host.gateway.pools["default"].scheduler.resume_endpoint(first)
                answer = await asked
                assert (answer.status, answer.body) == (200, WHOLE)

    time.run(test())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": 3}', b"\xff"])
def test_a_malformed_body_is_refused(body: bytes) -> None:
    async def test() -> None:
        async with engines("good") as pool, serving(one_pool(pool)) as host:
            async with host.client.post(CHAT, data=body) as response:
                assert response.status in (400, 404), await response.text()
                assert "error" in json.loads(await response.read())
            assert pool[0].asked == 0

    run(test)


def test_a_body_above_the_limit_is_refused() -> None:
    async def test() -> None:
        async with engines("good") as pool, serving(one_pool(pool), max_body=1_000) as host:
            answer = await host.whole({**ASKED, "padding": "x" * 1_000})
            assert answer.status == 413 and answer.json["error"]["code"] == "body_too_large"

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", CHAT, 405),
        ("POST", "/v1/unknown", 404),
        ("PUT", CHAT, 405),
        ("GET", "/health", 200),
        ("GET", "/ready", 200),
        ("GET", "/metrics", 200),
    ],
)
def test_paths(method: str, path: str, status: int) -> None:
    async def test() -> None:
        async with engines("good") as pool, serving(one_pool(pool)) as host:
            async with host.client.request(method, path) as response:
                assert response.status == status

    run(test)


def test_engines_get_no_key_of_a_client_and_their_own() -> None:
    async def test() -> None:
        async with engines("good") as pool:
            async with serving(one_pool(pool), engine_key="engine-secret") as host:
                async with host.client.post(
                    CHAT,
                    data=json.dumps(ASKED),
                    headers={"authorization": "Bearer sk-client", "x-request-id": "r1"},
                ) as response:
                    assert response.status == 200
                [headers] = pool[0].headers
                assert headers["authorization"] == "Bearer engine-secret"
                assert headers["content-type"] == "application/json"
                assert headers["x-request-id"] == "r1"
                assert "sk-client" not in str(headers)

    run(test)
