"""Keys, quotas, priorities and tenants at the gateway."""

from __future__ import annotations

import asyncio
from typing import Any

from engines import Engine, engines
from running import ASKED, key, one_pool, run, serving

DAY = 86_400.0


def of_day(measure: str, limit: int) -> dict[str, Any]:
    return {"quotas": [{"measure": measure, "limit": limit, "window": DAY}]}


def test_keys() -> None:
    async def test() -> None:
        gates = {"keys": [key("alice", models=["m"]), key("bob", models=["other"])]}
        async with engines("good") as pool, serving(one_pool(pool, gates=gates)) as host:
            assert (await host.whole(key="alice")).status == 200
            missing, unknown, other = (
                await host.whole(),
                await host.whole(key="eve"),
                await host.whole(key="bob"),
            )
            assert (missing.status, missing.json["error"]["code"]) == (401, "missing_api_key")
            assert (unknown.status, unknown.json["error"]["code"]) == (401, "invalid_api_key")
            assert (other.status, other.json["error"]["code"]) == (403, "model_not_allowed")
            shaped = await host.whole({**ASKED, "max_tokens": 9}, "/v1/messages", key="eve")
            assert shaped.json["error"]["type"] == "authentication_error"
            assert pool[0].asked == 1

    run(test)


def test_a_quota_refuses_with_the_time_of_the_next_request() -> None:
    async def test() -> None:
        gates = {"keys": [key("alice", limits=of_day("requests", 1))]}
        async with engines("good") as pool, serving(one_pool(pool, gates=gates)) as host:
            first = await host.whole(key="alice")
            assert first.status == 200
            second = await host.whole(key="alice")
            assert second.status == 429 and int(second.headers["retry-after"]) > 0
            assert second.json["error"]["code"] == "rate_limit_exceeded"
            assert pool[0].asked == 1

    run(test)


def test_quotas_count_what_the_engine_reports_and_refusals_cost_nothing() -> None:
    async def test() -> None:
        # The stream of two tokens uses 2 of the output tokens; its estimate is 100.
        limits = of_day("output_tokens", 104)
        gates = {"keys": [key("alice", limits=limits)]}
        asked = {**ASKED, "max_tokens": 100}
        async with engines("good") as pool, serving(one_pool(pool, gates=gates)) as host:
            for manner, status in (("good", 200), (400, 400), ("good", 200), ("good", 200)):
                pool[0].manner = manner
                assert (await host.whole(asked, key="alice")).status == status
            assert (await host.whole(asked, key="alice")).status == 429

    run(test)


def test_an_answer_of_no_tokens_takes_none_of_the_quota() -> None:
    async def test() -> None:
        # An answer without a limit counts as 256 tokens until it ends.
        gates = {"keys": [key("alice", limits=of_day("output_tokens", 100))]}
        async with engines("good") as pool, serving(one_pool(pool, gates=gates)) as host:
            assert (await host.whole(ASKED, key="alice")).status != 200
            assert (await host.whole({**ASKED, "max_tokens": 0}, key="alice")).status == 200

    run(test)


def test_concurrent_requests_are_counted_until_their_stream_ends() -> None:
    async def test() -> None:
        gates = {"keys": [key("alice", limits={"concurrent_requests": 1})]}
        async with engines("slow") as pool, serving(one_pool(pool, gates=gates)) as host:
            first = await host.post(key="alice")
            assert (await host.whole(key="alice")).status == 429
            pool[0].gate.set()
            await first.read()
            await host.until(lambda: host.gateway.open_requests == 0)
            assert (await host.whole(key="alice")).status == 200

    run(test)


def full(pool: list[Engine], gates: dict[str, Any]) -> dict[str, Any]:
    return one_pool(pool, gates=gates) | {"scheduler": {"seed": 1, "max_in_flight": 1}}


def asked_as(engine: Engine) -> list[str]:
    return [body.decode().split('"user": "')[1].split('"')[0] for body in engine.bodies]


def test_a_full_pool_serves_higher_priorities_first() -> None:
    async def test() -> None:
        gates = {"keys": [key("low", priority=1), key("high", priority=5)]}
        async with engines("late") as pool, serving(full(pool, gates)) as host:
            tasks = []
            scheduler = host.gateway.pools["default"].scheduler
            for number, name in enumerate(["low", "low", "high"]):
                asked = {**ASKED, "user": f"{name}{number}"}
                tasks.append(asyncio.ensure_future(host.whole(asked, key=name)))
                await host.until(lambda: pool[0].held == 1)
                await host.until(lambda: scheduler.queued == number)
            pool[0].gate.set()
            assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 3
            assert asked_as(pool[0]) == ["low0", "high2", "low1"]

    run(test)


def test_tenants_share_a_full_pool() -> None:
    async def test() -> None:
        gates = {"keys": [key("a", tenant="a"), key("b", tenant="b")]}
        async with engines("late") as pool, serving(full(pool, gates)) as host:
            tasks = []
            scheduler = host.gateway.pools["default"].scheduler
            for number, name in enumerate(["a", "a", "a", "b"]):
                asked = {**ASKED, "user": f"{name}{number}"}
                tasks.append(asyncio.ensure_future(host.whole(asked, key=name)))
                await host.until(lambda: pool[0].held == 1)
                await host.until(lambda: scheduler.queued == number)
            pool[0].gate.set()
            await asyncio.gather(*tasks)
            assert asked_as(pool[0]).index("b3") <= 2, asked_as(pool[0])

    run(test)


def test_a_full_queue_refuses_at_once() -> None:
    async def test() -> None:
        async with engines("late") as pool:
            configuration = one_pool(pool)
            configuration["scheduler"] |= {"max_in_flight": 1, "flow": {"max_requests": 1}}
            async with serving(configuration) as host:
                first = asyncio.ensure_future(host.whole())
                await host.until(lambda: pool[0].held == 1)
                second = asyncio.ensure_future(host.whole())
                scheduler = host.gateway.pools["default"].scheduler
                await host.until(lambda: scheduler.queued == 1)
                third = await host.whole()
                assert third.status in (429, 503) and "retry-after" in third.headers
                pool[0].gate.set()
                assert (await first).status == (await second).status == 200

    run(test)
