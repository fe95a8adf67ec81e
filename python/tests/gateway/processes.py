"""Engines and gateways as processes, and clients that count what became of their requests."""

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
GATEWAY = [sys.executable, "-P", "-m", "slotwise.gateway"]
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


def gateway(engines: list[Process], *more: str, command: list[str] = GATEWAY) -> Process:
    return Process(
        lambda port: [
            *(*command, "--scrape-every", "0.05", "--port", port, *more),
            *("--engines", ",".join(engine.url for engine in engines)),
        ]
    )


class Load:
    """Many requests, and what became of each."""

    def __init__(
        self, client: aiohttp.ClientSession, gateways: list[Process], requests: int = REQUESTS,
        *, turns: bool = False,
    ) -> None:
        """With ``turns``, each request begins at the next gateway."""
        self._client = client
        self._gateways = gateways
        self._requests = requests
        self._next = 0
        self._turns = turns
        self._answered = asyncio.Condition()
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        left = iter(range(self._requests))

        async def worker() -> None:
            for _ in left:
                await self.one()

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))

    async def one(self) -> None:
        """Sends a request to one gateway after the other, until one begins to answer."""
        result = "lost"
        first = self._next % len(self._gateways)
        self._next += self._turns
        for gateway in self._gateways[first:] + self._gateways[:first]:
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
