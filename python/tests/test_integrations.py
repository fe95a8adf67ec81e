"""Adapters that need no host: the table of bookings, ASGI middleware, and FastAPI's dependency."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import slotwise
from conftest import CHAT
from engines import Engine, engines
from fake_time import Time
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from slotwise import aio
from slotwise.integrations.asgi import SlotwiseMiddleware
from slotwise.integrations.booking import Bookings, endpoint_id
from slotwise.integrations.fastapi import Leases

PATH = "/v1/chat/completions"
STREAM = json.dumps({**json.loads(CHAT), "stream": True}).encode()
JSON = {"content-type": "application/json"}


def in_flight(scheduler: slotwise.Scheduler) -> int:
    return scheduler.stats().in_flight


def bookings_of(time: Time, **options: Any) -> Bookings:
    scheduler = slotwise.Scheduler(clock=time)
    scheduler.add_endpoint("a")
    return Bookings(scheduler, clock=time, **options)


def test_a_lease_leaves_the_table_with_its_first_end(time: Time) -> None:
    bookings = bookings_of(time)
    lease = bookings.book("r1", "a prompt")
    assert isinstance(lease, slotwise.aio.Lease)
    assert bookings.find("r1") is lease
    assert bookings.take("r1") is lease
    assert bookings.take("r1") is None
    assert lease.complete() and not lease.complete()
    assert in_flight(bookings.scheduler) == 0


def test_a_key_has_one_lease(time: Time) -> None:
    bookings = bookings_of(time)
    for _ in range(3):
        bookings.book("r1", "a prompt")
    assert (len(bookings), in_flight(bookings.scheduler)) == (1, 1)
    bookings.book("r2", "a prompt")
    bookings.move("r1", "r2")
    assert (len(bookings), in_flight(bookings.scheduler)) == (1, 1)


def test_idle_leases_end_by_the_limit(time: Time) -> None:
    bookings = bookings_of(time, idle_limit=60.0)
    bookings.book("idle", "a prompt")
    bookings.book("streams", "a prompt")
    time.now += 40.0
    assert bookings.find("streams") is not None
    time.now += 40.0
    bookings.book("new", "a prompt")
    assert "idle" not in bookings
    assert (len(bookings), in_flight(bookings.scheduler)) == (2, 2)
    time.now += 60.0
    assert bookings.expire() == 2
    assert in_flight(bookings.scheduler) == 0


def test_the_table_is_bounded(time: Time) -> None:
    bookings = bookings_of(time, most=10)
    for request in range(100):
        bookings.book(request, "a prompt")
        assert len(bookings) <= 11
    bookings.expire()
    assert list(range(90, 100)) == [key for key in range(100) if key in bookings]


def test_a_choice_is_bound_by_the_task_that_made_it(time: Time) -> None:
    bookings = bookings_of(time)

    async def attempt(key: str) -> bool:
        chosen = bookings.choose("a prompt")
        await asyncio.sleep(1)
        return bookings.bind(key) is chosen

    async def main() -> list[bool]:
        return await asyncio.gather(*(attempt(f"r{i}") for i in range(20)))

    assert all(time.run(main()))
    assert (len(bookings), in_flight(bookings.scheduler)) == (20, 20)
    assert bookings.bind("other") is None


def test_a_choice_that_was_not_bound_is_replaced(time: Time) -> None:
    bookings = bookings_of(time)
    for _ in range(3):
        bookings.choose("a prompt")
    assert (len(bookings), in_flight(bookings.scheduler)) == (1, 1)
    assert bookings_of(time).bind("r1") is None


def test_a_body_that_cannot_be_read_is_booked_without_a_prompt(time: Time) -> None:
    lease = bookings_of(time).book("r1", body=b"{", path=PATH)
    assert isinstance(lease, aio.Lease)
    lease.cancel()


def test_threads_add_an_endpoint_once() -> None:
    scheduler = slotwise.Scheduler()
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(endpoint_id(scheduler, "a"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0] * 8
    full = slotwise.Scheduler({"max_endpoints": 1})
    endpoint_id(full, "a")
    with pytest.raises(slotwise.EndpointError):
        endpoint_id(full, "b")


def test_importing_the_package_imports_no_host() -> None:
    code = """
import sys, slotwise.integrations
print(sys.modules.keys() & {"asyncio", "fastapi", "starlette", "litellm", "ray"} or "none")
"""
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "none", done.stdout


# Applications.

def proxied(scheduler: aio.Scheduler, client: httpx.AsyncClient, **options: Any) -> Any:
    """A proxy that sends the request to the header's endpoint, behind the middleware."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def proxy(request: Request, path: str) -> Response:
        url = request.headers.get("x-gateway-destination-endpoint")
        if url is None:
            return Response("passed through")
        upstream = await client.send(
            client.build_request("POST", f"{url}/{path}", content=await request.body(), headers=JSON),
            stream=True,
        )
        kind = upstream.headers.get("content-type")
        return StreamingResponse(upstream.aiter_bytes(), upstream.status_code, media_type=kind)

    return SlotwiseMiddleware(app, scheduler, **options)


def depending(scheduler: aio.Scheduler, client: httpx.AsyncClient, **options: Any) -> Any:
    """An application of FastAPI with the dependency."""
    app = FastAPI()
    leases = Leases(app, scheduler, **options)

    @app.post(PATH)
    async def chat(request: Request, lease: aio.Lease = Depends(leases)) -> Response:
        upstream = await client.send(
            client.build_request(
                "POST", lease.endpoint_name + PATH, content=await request.body(), headers=JSON
            ),
            stream=True,
        )
        kind = upstream.headers.get("content-type", "")
        lease.begin(upstream.status_code, kind)
        body = lease.stream(upstream.aiter_bytes())
        return StreamingResponse(body, upstream.status_code, media_type=kind)

    return app


APPLICATIONS = pytest.mark.parametrize("application", [proxied, depending])


def served(
    application: Any, *manners: str | int, options: Any = None
) -> Callable[[Any], tuple[aio.Scheduler, list[Engine]]]:
    """Runs a test's coroutine with a client of the application."""

    def run(test: Any) -> tuple[aio.Scheduler, list[Engine]]:
        async def main() -> tuple[aio.Scheduler, list[Engine]]:
            async with engines(*manners) as pool, httpx.AsyncClient(timeout=None) as upstream:
                scheduler = aio.Scheduler()
                for engine in pool:
                    scheduler.add_endpoint(engine.url)
                app = application(scheduler, upstream, **(options or {}))
                transport = httpx.ASGITransport(app)
                async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                    await test(client, pool)
                return scheduler, pool

        return asyncio.run(main())

    return run


@APPLICATIONS
@pytest.mark.parametrize("body", [STREAM, CHAT])
def test_a_request_is_served_and_settled(application: Any, body: bytes) -> None:
    async def test(client: httpx.AsyncClient, pool: list[Engine]) -> None:
        for _ in range(4):
            reply = await client.post(PATH, content=body)
            assert reply.status_code == 200 and reply.text.endswith("data: [DONE]\n\n"), reply.text

    scheduler, pool = served(application, "good", "good")(test)
    assert sum(engine.asked for engine in pool) == 4
    stats = scheduler.stats()
    assert (in_flight(scheduler), stats.completed) == (0, 4)


@APPLICATIONS
def test_an_error_of_the_engine_counts_as_its_failure(application: Any) -> None:
    async def test(client: httpx.AsyncClient, pool: list[Engine]) -> None:
        assert (await client.post(PATH, content=CHAT)).status_code == 500
        pool[0].manner = 400
        assert (await client.post(PATH, content=CHAT)).status_code in (400, 429, 503)

    scheduler, _ = served(application, 500)(test)
    assert in_flight(scheduler) == 0
    assert scheduler.stats().failed == 1


@APPLICATIONS
def test_a_refusal_has_the_shape_of_the_api(application: Any) -> None:
    async def test(client: httpx.AsyncClient, pool: list[Engine]) -> None:
        reply = await client.post(PATH, content=CHAT)
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "no_endpoints"

    served(application)(test)


@APPLICATIONS
def test_a_malformed_body_is_rejected(application: Any) -> None:
    async def test(client: httpx.AsyncClient, pool: list[Engine]) -> None:
        assert (await client.post(PATH, content=b"{")).status_code == 400

    scheduler, pool = served(application, "good")(test)
    assert (in_flight(scheduler), pool[0].asked) == (0, 0)


@APPLICATIONS
def test_an_exception_of_the_application_ends_the_lease(application: Any) -> None:
    async def test(client: httpx.AsyncClient, pool: list[Engine]) -> None:
        await pool[0].stop()
        with pytest.raises(httpx.ConnectError):
            await client.post(PATH, content=CHAT)

    scheduler, _ = served(application, "good")(test)
    assert (in_flight(scheduler), scheduler.stats().failed) == (0, 1)


@pytest.mark.parametrize("options", [{"max_body": 10}, {}])
def test_the_middleware_passes_other_requests_through(options: dict[str, Any]) -> None:
    async def test(client: httpx.AsyncClient, pool: list[Engine]) -> None:
        assert (await client.get("/other")).text == "passed through"
        reply = await client.post(PATH, content=CHAT)
        assert reply.status_code == (413 if options else 200)

    served(proxied, "good", options=options)(test)


def test_a_client_cannot_choose_its_endpoint() -> None:
    async def test(client: httpx.AsyncClient, pool: list[Engine]) -> None:
        headers = {"X-Gateway-Destination-Endpoint": "http://elsewhere"}
        assert (await client.post(PATH, content=CHAT, headers=headers)).status_code == 200

    _, [engine] = served(proxied, "good")(test)
    assert engine.asked == 1


def example(heading: str) -> dict[str, Any]:
    """Runs the example under a heading of the manual's page, and returns its names."""
    page = (Path(__file__).parents[2] / "docs" / "src" / "python_hosts.md").read_text()
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    names: dict[str, Any] = {"__name__": "example"}
    for code in re.findall(r"^```python\n(.*?)^```", section, flags=re.M | re.S):
        exec(code, names)
    return names


def test_the_example_of_the_manual_serves() -> None:
    async def main() -> None:
        names = example("FastAPI")
        app, scheduler = names["app"], names["scheduler"]
        async with engines("good") as [engine], names["client"]:
            scheduler.add_endpoint(engine.url)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                reply = await client.post(PATH, content=STREAM)
        assert reply.status_code == 200 and reply.text.endswith("data: [DONE]\n\n"), reply.text
        assert (in_flight(scheduler), scheduler.stats().completed) == (0, 1)

    asyncio.run(main())


class Client:
    """One request as an ASGI server presents it, whose client may disconnect."""

    def __init__(self, body: bytes) -> None:
        self.body: bytes | None = body
        self.gone = asyncio.Event()
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        body, self.body = self.body, None
        if body is not None:
            return {"type": "http.request", "body": body}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "method": "POST",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }


@APPLICATIONS
def test_a_client_that_leaves_in_the_stream_cancels(application: Any) -> None:
    async def main() -> aio.Scheduler:
        async with engines("slow") as [engine], httpx.AsyncClient(timeout=None) as upstream:
            scheduler = aio.Scheduler()
            scheduler.add_endpoint(engine.url)
            client = Client(STREAM)
            app = application(scheduler, upstream)
            task = asyncio.ensure_future(app(client.scope(), client.receive, client.send))
            while not any(message.get("body") for message in client.sent):
                assert not task.done()
                await asyncio.sleep(0)
            client.gone.set()
            await task
            return scheduler

    scheduler = asyncio.run(main())
    assert in_flight(scheduler) == 0
    assert (scheduler.stats().cancelled, scheduler.stats().failed) == (1, 0)


@APPLICATIONS
def test_a_client_that_leaves_while_it_waits_is_withdrawn(application: Any) -> None:
    async def main() -> aio.Scheduler:
        scheduler = aio.Scheduler()
        scheduler.add_endpoint(slotwise.Endpoint("http://a", max_in_flight=1))
        held = await scheduler.acquire("a prompt")
        async with httpx.AsyncClient() as upstream:
            client = Client(CHAT)
            app = application(scheduler, upstream, timeout=None)
            task = asyncio.ensure_future(app(client.scope(), client.receive, client.send))
            while scheduler.queued == 0:
                assert not task.done()
                await asyncio.sleep(0)
            client.gone.set()
            await task
        held.cancel()
        return scheduler

    scheduler = asyncio.run(main())
    assert (scheduler.queued, in_flight(scheduler)) == (0, 0)


def test_the_middleware_reads_no_compressed_answer() -> None:
    async def compressed(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"\x1f\x8b"})

    async def main() -> aio.Scheduler:
        scheduler = aio.Scheduler()
        scheduler.add_endpoint("a")
        client = Client(CHAT)
        app = SlotwiseMiddleware(compressed, scheduler)
        await app(client.scope(), client.receive, client.send)
        return scheduler

    scheduler = asyncio.run(main())
    assert (in_flight(scheduler), scheduler.stats().completed) == (0, 1)


