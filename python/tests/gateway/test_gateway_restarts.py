"""Engines and gateways are killed under load, as processes, and start again."""

from __future__ import annotations

import asyncio

import aiohttp
from processes import AT_ONCE, REQUESTS, Load, engines, gateway, limited, metric, running, settled


def test_an_engine_that_is_killed_and_starts_again_loses_no_request_that_had_not_begun() -> None:
    async def main(client: aiohttp.ClientSession) -> None:
        pool = engines(3)
        async with running(*pool):
            front = gateway(pool)
            async with running(front):
                load = Load(client, [front])
                requests = asyncio.create_task(load.run())
                await load.after(REQUESTS // 4)
                completed = "slotwise_endpoint_completed_requests_total"
                served = [await metric(client, front.url, completed, one.url) for one in pool]
                busiest = pool[served.index(max(served))]
                await busiest.kill()
                await load.after(REQUESTS // 2)
                before = await metric(client, front.url, completed, busiest.url)
                await busiest.start()
                await requests
                assert load.counts["whole"] + load.counts["cut"] == REQUESTS, load.counts
                # At most those that streamed from the dead engine.
                assert load.counts["cut"] <= AT_ONCE, load.counts
                while await metric(client, front.url, completed, busiest.url) == before:
                    await asyncio.gather(*(load.one() for _ in range(AT_ONCE)))
                await settled(client, [front], pool)

    limited(main)


def test_a_gateway_that_is_killed_and_starts_again_loses_no_request_of_a_client_that_retries() -> None:
    async def main(client: aiohttp.ClientSession) -> None:
        pool = engines(2)
        async with running(*pool):
            fronts = [gateway(pool), gateway(pool)]
            async with running(*fronts):
                load = Load(client, fronts)
                requests = asyncio.create_task(load.run())
                await load.after(REQUESTS // 4)
                await fronts[0].kill()
                await load.after(REQUESTS // 2)
                await fronts[0].start()
                await requests
                assert load.counts["whole"] + load.counts["cut"] == REQUESTS, load.counts
                assert load.counts["cut"] <= AT_ONCE, load.counts
                served = "slotwise_gateway_requests_total"
                for front in fronts:
                    await load.one()
                    assert await metric(client, front.url, served, 'status="200"') > 0
                await settled(client, fronts, pool)

    limited(main)
