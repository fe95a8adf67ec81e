"""What the gateway costs: CPU time, throughput and added time to the first byte.

    python bench/gateway.py [--requests 3000] [--streams 50] [--events 32] [--profile FILE]

Four rows over the same engines and the same load:

- ``direct``: the client sends to the engines by itself.
- ``plain``: aiohttp on both sides with round robin, and nothing else. See ``http_stacks.py``.
- ``round robin``: this gateway, with its scheduler replaced by round robin.
- ``slotwise``: this gateway.

Gateway, engines and client are processes of their own. CPU time is that of the gateway by
``getrusage``; it depends less on the machine's other load than the other columns.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import itertools
import json
import multiprocessing
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from http_stacks import BODY, ENGINES, load, report_cpu, run_engines, run_gateway
from slotwise.configuration import Configuration
from slotwise.gateway import Gateway, Settings

ROWS = ("direct", "plain", "round robin", "slotwise")


class RoundRobin:
    """A scheduler's ``forward`` without a scheduler: the next engine, and no retry."""

    def __init__(self, engines: list[str]) -> None:
        self._turns = itertools.cycle(engines)

    async def forward(self, send: Any, **_: Any) -> Reply:
        return Reply(await send(next(self._turns)))


class Reply:
    """An engine's response as a reply of ``forward``."""

    lease = None

    def __init__(self, response: Any) -> None:
        self._response = response
        self.status = response.status_code
        self.headers = [("content-type", response.headers["content-type"])]

    def __aiter__(self) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = self._response.aiter_bytes()
        return chunks

    async def aclose(self) -> None:
        await self._response.aclose()


def serve(row: str, engines: list[str], pipe: Connection, profile: str | None) -> None:
    """The process of this gateway. Sends its port first."""

    async def main() -> None:
        configuration = Configuration(json.dumps({"endpoints": engines}))
        async with Gateway(configuration, Settings()) as gateway:
            if row == "round robin":
                gateway.pools["default"].scheduler = RoundRobin(engines)  # type: ignore[assignment]
            pipe.send(int(gateway.url.rsplit(":", 1)[1]))
            profiler = cProfile.Profile(time.process_time)
            if profile is not None:
                profiler.enable()
                loop = asyncio.get_running_loop()
                loop.call_later(8.0, lambda: (profiler.disable(), profiler.dump_stats(f"{profile}.{row}")))
            report_cpu(pipe)
            gc.freeze()  # as the command does
            await asyncio.Event().wait()

    asyncio.run(main())


@dataclass
class Figures:
    """What one run measured."""

    cpu: float
    """Microseconds of the gateway for each request."""
    rate: float
    """Requests a second."""
    p50: float
    """Milliseconds to the first byte."""
    p99: float


def measure(row: str, options: argparse.Namespace) -> Figures:
    """One run."""
    fork = multiprocessing.get_context("fork")
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in range(ENGINES + 1)]
    ports = [listener.getsockname()[1] for listener in listeners]
    here, there = fork.Pipe()
    engines = fork.Process(target=run_engines, args=(options.events, listeners[1:]), daemon=True)
    engines.start()
    gateway: Any = None
    asked = ports[1:]
    if row == "plain":
        urls = [f"http://127.0.0.1:{port}/v1/chat/completions" for port in ports[1:]]
        plain = ("aiohttp+aiohttp", urls, listeners[0], there)
        gateway, asked = fork.Process(target=run_gateway, args=plain, daemon=True), ports[:1]
        gateway.start()
    elif row != "direct":
        urls = [f"http://127.0.0.1:{port}" for port in ports[1:]]
        ours = (row, urls, there, options.profile)
        gateway = fork.Process(target=serve, args=ours, daemon=True)
        gateway.start()
        asked = [here.recv()]

    def cpu() -> float:
        if gateway is None:
            return 0.0
        here.send(None)
        seconds: float = here.recv()
        return seconds

    def run(requests: int) -> list[float]:
        return asyncio.run(load(asked, requests, options.streams, options.events, BODY))

    run(options.requests // 4)
    before, began = cpu(), time.perf_counter()
    times = sorted(run(options.requests))
    took, spent = time.perf_counter() - began, cpu() - before
    for process in filter(None, (gateway, engines)):
        process.kill()
        process.join()
    for listener in listeners:
        listener.close()
    return Figures(
        cpu=spent / options.requests * 1e6,
        rate=options.requests / took,
        p50=times[len(times) // 2] * 1e3,
        p99=times[len(times) * 99 // 100] * 1e3,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--events", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", metavar="FILE", help="writes a profile for each gateway")
    options = parser.parse_args()
    rounds = [{row: measure(row, options) for row in ROWS} for _ in range(options.rounds)]
    print(f"python {sys.version.split()[0]}, {options}")
    print(f"{'':12} {'CPU us':>8} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}   CPU of each round")
    for row in ROWS:
        runs = [one[row] for one in rounds]
        cpu, rate, p50, p99 = (
            statistics.median(getattr(one, name) for one in runs)
            for name in ("cpu", "rate", "p50", "p99")
        )
        each = [round(one.cpu) for one in runs]
        print(f"{row:12} {cpu:8.0f} {rate:11.0f} {p50:8.1f} {p99:8.1f}   {each}")


if __name__ == "__main__":
    main()
