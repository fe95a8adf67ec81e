"""The routing logic in the real router of the vLLM production stack, in front of two engines."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import httpx
import slotwise
import uvicorn
from conftest import CHAT
from engines import Engine, engines
from slotwise.integrations import production_stack
from slotwise.integrations.production_stack import SlotwiseRouter, install
from vllm_router import app as application
from vllm_router import service_discovery
from vllm_router.parsers.parser import parse_args
from vllm_router.utils import SingletonABCMeta

PATH = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


def arguments(pool: list[Engine], attempts: int) -> argparse.Namespace:
    import sys

    given, sys.argv = sys.argv, [
        "vllm-router",
        "--service-discovery=static",
        "--static-backends=" + ",".join(engine.url for engine in pool),
        "--static-models=" + ",".join("m" for _ in pool),
        "--routing-logic=roundrobin",
        f"--max-instance-failover-reroute-attempts={attempts}",
    ]
    try:
        return parse_args()
    finally:
        sys.argv = given


async def serve(scheduler: slotwise.Scheduler, pool: list[Engine], test: Any) -> None:
    """Runs a test with a client of the router."""
    SingletonABCMeta._instances.clear()
    service_discovery._global_service_discovery = None
    app = application.app
    application.initialize_all(app, arguments(pool, attempts=1))
    router = install(app, scheduler)
    assert install(app, scheduler) is router is app.state.router
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    running = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None) as client:
            await asyncio.wait_for(test(client, router), 120)
    finally:
        server.should_exit = True
        await running


def test_requests_are_booked_and_settled() -> None:
    scheduler = slotwise.Scheduler()

    async def test(client: httpx.AsyncClient, router: SlotwiseRouter) -> None:
        for _ in range(4):
            reply = await client.post(PATH, content=CHAT, headers=JSON)
            assert reply.status_code == 200 and reply.text.endswith("[DONE]\n\n"), reply.text
        stats = scheduler.stats()
        assert (stats.dispatched, stats.completed, stats.in_flight) == (4, 4, 0)
        assert stats.time_to_first_token.count == 4
        assert len(router.bookings) == 0

    async def main() -> None:
        async with engines("good", "good") as pool:
            await serve(scheduler, pool, test)
            # One prompt has one place.
            assert sorted(engine.asked for engine in pool) == [0, 4]

    asyncio.run(main())


def test_an_engine_that_is_gone_fails_and_the_retry_is_booked() -> None:
    scheduler = slotwise.Scheduler()

    async def main() -> None:
        async with engines("good", "good") as pool:
            down = pool[0]

            async def test(client: httpx.AsyncClient, router: SlotwiseRouter) -> None:
                await down.stop()
                for number in range(8):
                    body = CHAT.replace(b"Hello", b"Hello %d" % number)
                    reply = await client.post(PATH, content=body, headers=JSON)
                    assert reply.status_code == 200, reply.text
                stats = scheduler.stats()
                assert (stats.completed, stats.in_flight) == (8, 0)
                assert stats.failed >= 1 and stats.unreachable == stats.failed

            await serve(scheduler, pool, test)

    asyncio.run(main())


def test_load_comes_from_the_scraper() -> None:
    class Stats:
        num_running_requests = 4.0
        num_queuing_requests = 2.0

    class Url:
        path = PATH

    class Request:
        _body = CHAT
        headers: dict[str, str] = {}
        url = Url()

    class Endpoint:
        url = "http://a"

    SingletonABCMeta._instances.clear()
    scheduler = slotwise.Scheduler()
    router = SlotwiseRouter(scheduler, clock=time.monotonic)
    assert router.route_request([Endpoint()], {"http://a": Stats()}, {}, Request()) == "http://a"
    [endpoint] = scheduler.stats().endpoints
    assert (endpoint.external_waiting, production_stack.RoutingInterface in type(router).__mro__) == (
        2,
        True,
    )
