"""Engines and gateways are killed under load, as processes, and start again."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from conftest import HANG
from running import CHAT, run

ENGINE = [sys.executable, "-P", str(Path(__file__).with_name("engine_process.py"))]
GATEWAY = [sys.executable, "-P", "-m", "slotwise.gateway", "--scrape-every", "0.05"]
ASKED = {
    "model": "demo",
    "messages": [{"role": "user", "content": "one two three four five six seven eight"}],
    "stream": True,
}
AT_ONCE = 16
REQUESTS = 300


class Process:
    """A process that prints its URL. It keeps its port when it starts again."""

    def __init__(self, words: Callable[[str], list[str]]) -> None:
        self._words = words
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self) -> None:
        port = self.url.rpartition(":")[2] or "0"
        self._process = await asyncio.create_subprocess_exec(
            *self._words(port), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        found = re.search(r"http://[\d.]+:\d+", line)
        assert found, line
        self.url = found[0]

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.communicate()


@asynccontextmanager
async def running(*processes: Process) -> AsyncIterator[None]:
    await asyncio.gather(*(process.start() for process in processes))
    try:
        yield
    finally:
        for process in processes:
            await process.kill()


def engines(count: int) -> list[Process]:
    return [Process(lambda port: [*ENGINE, port]) for _ in range(count)]


def gateway(engines: list[Process]) -> Process:
    return Process(
        lambda port: [
            *(*GATEWAY, "--port", port),
            *("--engines", ",".join(engine.url for engine in engines)),
        ]
    )


class Load:
    """Many requests, and what became of each."""

    def __init__(self, client: aiohttp.ClientSession, gateways: list[Process]) -> None:
        self._client = client
        self._gateways = gateways
        self._answered = asyncio.Condition()
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        left = iter(range(REQUESTS))

        async def worker() -> None:
            for _ in left:
                await self.one()

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))

    async def one(self) -> None:
        """Sends a request to the first gateway that begins to answer."""
        result = "lost"
        for gateway in self._gateways:
            result = await self._send(gateway.url)
            if result != "lost":
                break
        async with self._answered:
            self.counts[result] += 1
            self._answered.notify_all()

    async def after(self, answers: int) -> None:
        """Waits until so many requests have ended."""
        async with self._answered:
            await self._answered.wait_for(lambda: self.counts.total() >= answers)

    async def _send(self, url: str) -> str:
        begun = False
        try:
            async with self._client.post(url + CHAT, json=ASKED) as response:
                begun = response.status == 200
                body = await response.read()
        except aiohttp.ClientError:
            return "cut" if begun else "lost"
        if not begun:
            return f"status {response.status}"
        return "whole" if body.endswith(b"[DONE]\n\n") else "cut"


def limited(main: Callable[[aiohttp.ClientSession], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        timeout = aiohttp.ClientTimeout(total=HANG)
        async with asyncio.timeout(HANG), aiohttp.ClientSession(timeout=timeout) as client:
            await main(client)

    run(bounded)


async def metric(client: aiohttp.ClientSession, url: str, name: str, label: str = "") -> float:
    async with client.get(f"{url}/metrics") as page:
        lines = (await page.text()).splitlines()
    samples = [line for line in lines if line.startswith(name) and label in line]
    return sum(float(sample.rsplit(" ", 1)[1]) for sample in samples)


async def settled(
    client: aiohttp.ClientSession, gateways: list[Process], engines: list[Process]
) -> None:
    """Waits until nothing is in flight anywhere."""
    counts = [(one.url, "slotwise_in_flight_requests") for one in gateways]
    counts += [(one.url, "slotwise_gateway_open_requests") for one in gateways]
    counts += [(one.url, "vllm:num_requests_running") for one in engines]
    for url, name in counts:
        while await metric(client, url, name) > 0:
            await asyncio.sleep(0.01)


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
