"""The gateway of the manual, run against engines of several manners."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from conftest import HANG
from engines import DONE, EVENT, Engine, engines

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_gateway.py"
BODY = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'
KEY = {"authorization": "Bearer key-chat", "x-prefiller-host-port": "evil:80"}


def test_it_has_about_sixty_lines() -> None:
    assert len(list(filter(None, EXAMPLE.read_text().splitlines()))) <= 60


@asynccontextmanager
async def gateway(*urls: str) -> AsyncIterator[httpx.AsyncClient]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", str(EXAMPLE), "0", *urls, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+", line)
        assert found is not None, f"it did not start: {line!r}"
        async with httpx.AsyncClient(base_url=found[0], timeout=HANG, headers=KEY) as client:
            yield client
        process.terminate()
        assert await process.wait() in (0, -15)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def ask(client: httpx.AsyncClient, path: str = "/v1/chat/completions") -> httpx.Response:
    return await client.post(path, content=BODY, headers={"content-type": "application/json"})


def test_it_serves_retries_and_refuses() -> None:
    async def main() -> None:
        async with asyncio.timeout(HANG), engines("good", 503) as (good, full):
            async with gateway(good.url, full.url) as client:
                for _ in range(8):
                    answer = await ask(client)
                    assert (answer.status_code, answer.content) == (200, EVENT + EVENT + DONE)
                assert good.asked == 8
                received = good.headers[-1]
                assert received["content-type"] == "application/json"
                assert not received.keys() & {"authorization", "x-prefiller-host-port"}
                await until(lambda: good.scrapes > 0 and full.scrapes > 0)
                await check_refusals(client, good)
                page = (await client.get("/metrics")).text
                assert re.search(r"^slotwise_completed_requests_total 8$", page, flags=re.M), page

    asyncio.run(main())


async def check_refusals(client: httpx.AsyncClient, good: Engine) -> None:
    unknown = await client.post(
        "/v1/messages", content=BODY, headers={"authorization": "Bearer none"}
    )
    assert unknown.status_code == 401
    assert unknown.json()["error"]["type"] == "authentication_error"
    malformed = await client.post("/v1/chat/completions", content=b"{")
    assert malformed.status_code == 400 and malformed.json()["error"]["code"] == "truncated"
    await good.stop()
    answer = await ask(client)
    assert answer.status_code == 503 and "error" in json.loads(answer.content)


def test_a_client_that_leaves_cancels_its_request() -> None:
    async def main() -> None:
        async with asyncio.timeout(HANG), engines("late") as (engine,):
            async with gateway(engine.url) as client:
                request = asyncio.create_task(ask(client))
                await until(lambda: engine.held == 1)
                request.cancel()
                await asyncio.wait({request})
                # The engine still holds its answer back, so only a cancellation ends the request.
                page = ""
                while not re.search(r"^slotwise_cancelled_requests_total 1$", page, flags=re.M):
                    page = (await client.get("/metrics")).text
                engine.gate.set()

    asyncio.run(main())
