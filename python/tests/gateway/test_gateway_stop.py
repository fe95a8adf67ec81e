"""The end of a gateway, and many streams at once."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from engines import DONE, EVENT, engines
from fake_time import Time
from running import Whole, one_pool, run, serving

WHOLE = EVENT + EVENT + DONE


def test_a_stop_finishes_what_is_in_flight_and_refuses_the_rest() -> None:
    async def test() -> None:
        async with engines("slow") as pool, serving(one_pool(pool)) as host:
            first = asyncio.ensure_future(host.whole())
            await host.until(lambda: pool[0].held == 1)
            async with host.client.get("/ready") as ready:
                assert ready.status == 200
            host.gateway.stopping = True
            async with host.client.get("/ready") as ready, host.client.get("/health") as health:
                assert (ready.status, health.status) == (503, 200)
            refused = await host.whole()
            assert refused.status == 503 and refused.json["error"]["code"] == "shutting_down"
            stop = asyncio.ensure_future(host.gateway.stop())
            pool[0].gate.set()
            assert (await first).body == WHOLE
            await stop
            with pytest.raises(aiohttp.ClientConnectionError):
                await host.whole()

    run(test)


def test_a_stop_breaks_off_what_takes_too_long(time: Time) -> None:
    async def test() -> None:
        async with engines("slow") as pool, serving(one_pool(pool), drain=5.0) as host:
            response = await host.post()
            assert await response.content.readany() == EVENT
            await host.gateway.stop()
            event = (await response.read()).removeprefix(b"data: ")
            assert json.loads(event)["error"]["code"] == "engine_timed_out"
            assert host.stats().in_flight == 0

    time.run(test())


def test_a_pool_without_endpoints_is_not_ready() -> None:
    async def test() -> None:
        async with engines("good") as pool, serving(one_pool(pool)) as host:
            scheduler = host.gateway.pools["default"].scheduler
            scheduler.drain_endpoint(scheduler.endpoint_named(pool[0].url))
            async with host.client.get("/ready") as ready:
                assert ready.status == 503

    run(test)


def test_a_thousand_streams_at_once_end_with_none_in_flight() -> None:
    async def test() -> None:
        async with engines("slow", "slow", "slow", "slow") as pool:
            async with serving(one_pool(pool)) as host:
                unlimited = aiohttp.TCPConnector(limit=0)
                async with aiohttp.ClientSession(host.gateway.url, connector=unlimited) as many:
                    host.client = many
                    load: list[asyncio.Future[Whole]] = []
                    while len(load) < 1_000:
                        load += [asyncio.ensure_future(host.whole()) for _ in range(50)]
                        await host.until(lambda: sum(one.held for one in pool) == len(load))
                    assert host.gateway.open_requests == 1_000
                    assert host.stats().in_flight == 1_000
                    for engine in pool:
                        engine.gate.set()
                    answers = await asyncio.gather(*load)
                assert all((one.status, one.body) == (200, WHOLE) for one in answers)
                assert host.stats().completed == 1_000 and host.stats().in_flight == 0
                assert max(engine.asked for engine in pool) < 400
                async with host.client_of() as client, client.get("/metrics") as page:
                    text = await page.text()
                assert 'slotwise_gateway_requests_total{status="200"} 1000' in text
                assert 'slotwise_completed_requests_total{pool="default"} 1000' in text
                assert text.endswith("# EOF\n") and text.count("# EOF") == 1

    run(test)
