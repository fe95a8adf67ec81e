"""This gateway under load, beside other gateways over the same engines.

    python -m venv /tmp/rivals
    /tmp/rivals/bin/pip install vllm-router==0.1.17 smg==1.13.0 'litellm[proxy]==1.108.7'
    python bench/load.py --rivals /tmp/rivals [--rows direct,slotwise] [--rounds 3]

Three loads. Each row gets the same requests, and each answer is checked token by token:

- ``busy``: 50 streams without pauses. Requests a second, CPU time of the gateway and its children
  for each request, and the time to the first byte. Rounds take the rows in turns.
- ``many``: 1,000 streams at once, paced. Answers that are whole, and memory of the gateway.
- ``prefix``: prompts with shared beginnings, on engines that prefill and cache. The time to the
  first token.

Engines and gateway are processes of their own. A row whose command is missing is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gateway import serve
from http_stacks import ENGINES, PATH
from load_engines import Pace, run

ROWS = ("direct", "round robin", "slotwise", "vllm-router", "smg", "litellm")
TOKEN = b'"token"'
START = 240.0
"""Seconds that a gateway may take to start."""


@dataclass
class Gateway:
    """A running gateway, or the engines themselves."""

    ports: list[int]
    pid: int | None

    def processes(self) -> Iterator[Path]:
        """The gateway's process and its children, in ``/proc``."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                except OSError:
                    continue
                parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
        for pid in parents:
            ancestor: int | None = pid
            while ancestor is not None and ancestor != self.pid:
                ancestor = parents.get(ancestor)
            if ancestor is not None and self.pid is not None:
                yield Path(f"/proc/{pid}")

    def cpu(self) -> float:
        """CPU time in seconds."""
        ticks = 0
        for process in self.processes():
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """MB that are resident."""
        pages = sum(int((one / "statm").read_text().split()[1]) for one in self.processes())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def command(row: str, rivals: Path, engines: list[str], port: int, folder: Path) -> list[str]:
    """The command of another gateway."""
    binary = str(rivals / "bin" / row)
    if row == "vllm-router":
        return [binary, *_of_router(engines, port)]
    if row == "smg":
        return [binary, "launch", *_of_router(engines, port)]
    models = [
        {"model_name": "m", "litellm_params": {"model": "openai/m", "api_key": "k",
                                               "api_base": f"{engine}/v1"}}
        for engine in engines
    ]
    config = folder / "litellm.json"
    open_to_all = {"dangerously_permit_weak_or_unset_master_key": True}
    config.write_text(json.dumps({"model_list": models, "general_settings": open_to_all}))
    return [binary, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]


def _of_router(engines: list[str], port: int) -> list[str]:
    """The options that the two routers in Rust share."""
    return [
        *("--worker-urls", *engines),
        *("--policy", "cache_aware", "--host", "127.0.0.1", "--port", str(port)),
        *("--prometheus-port", str(free_port()), "--log-level", "error"),
    ]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(row: str, pace: Pace, rivals: Path) -> Iterator[Gateway]:
    """Runs engines, and a gateway in front of them."""
    fork = multiprocessing.get_context("fork")
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=2_048) for _ in range(ENGINES)]
    ports = [listener.getsockname()[1] for listener in listeners]
    engines = fork.Process(target=run, args=(pace, listeners), daemon=True)
    engines.start()
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    rival: subprocess.Popen[bytes] | None = None
    ours: Any = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            if row == "direct":
                yield Gateway(ports, None)
            elif row in ("slotwise", "round robin"):
                here, there = fork.Pipe()
                ours = fork.Process(target=serve, args=(row, urls, there, None), daemon=True)
                ours.start()
                yield Gateway([here.recv()], ours.pid)
            else:
                port = free_port()
                environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
                rival = subprocess.Popen(
                    command(row, rivals, urls, port, Path(folder)),
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
                )
                await_answer(port, rival)
                yield Gateway([port], rival.pid)
        finally:
            if rival is not None:
                rival.terminate()
                rival.wait(30)
            for process in filter(None, (ours, engines)):
                process.kill()
                process.join()
            for listener in listeners:
                listener.close()


def await_answer(port: int, gateway: subprocess.Popen[bytes]) -> None:
    """Waits for the first whole answer."""
    until = time.monotonic() + START
    while True:
        try:
            json_type = {"content-type": "application/json"}
            url = f"http://127.0.0.1:{port}{PATH}"
            request = urllib.request.Request(url, body_of("Hi"), json_type)
            with urllib.request.urlopen(request, timeout=10) as answer:
                if TOKEN in answer.read():
                    return
        except OSError:
            pass
        if time.monotonic() > until or gateway.poll() is not None:
            raise RuntimeError(f"{gateway.args!r} does not answer")
        time.sleep(0.5)


def body_of(prompt: str) -> bytes:
    message = {"role": "user", "content": prompt}
    return json.dumps({"model": "m", "stream": True, "messages": [message]}).encode()


async def ask(port: int, bodies: Iterator[bytes], events: int, times: list[float]) -> None:
    """One connection: sends bodies in turn, and notes the seconds to each first byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    for body in bodies:
        began = time.perf_counter()
        writer.write(
            b"POST %s HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer k\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (PATH.encode(), len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head, head
        answer = bytearray()
        while size := int(await reader.readline(), 16):
            if not answer:
                times.append(time.perf_counter() - began)
            answer += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
        assert (answer.count(TOKEN), b"[DONE]" in answer) == (events, True), bytes(answer[-300:])
    writer.close()


def load(
    gateway: Gateway, bodies: list[bytes], streams: int, events: int
) -> tuple[list[float], int]:
    """Sends all bodies over so many connections. Returns the times, and how many streams failed."""

    async def main() -> tuple[list[float], int]:
        times: list[float] = []
        left = iter(bodies)
        ports = itertools.cycle(gateway.ports)
        all_streams = (ask(next(ports), left, events, times) for _ in range(streams))
        ends = await asyncio.gather(*all_streams, return_exceptions=True)
        failed = [end for end in ends if end is not None]
        for end in failed[:1]:
            print(f"    {type(end).__name__}: {str(end)[:200]}")
        return sorted(times), len(failed)

    return asyncio.run(main())


def quantile(times: list[float], part: float) -> float:
    """Milliseconds."""
    return times[min(len(times) - 1, int(len(times) * part))] * 1e3 if times else float("nan")


Figures = dict[str, float]


def busy(row: str, options: argparse.Namespace) -> Figures:
    """50 streams without pauses."""
    bodies = [body_of(f"{number} " + "x" * 2_000) for number in range(options.requests)]
    with running(row, Pace(events=32), options.rivals) as gateway:
        load(gateway, bodies[: len(bodies) // 4], options.streams, 32)
        before, began = gateway.cpu(), time.perf_counter()
        times, failed = load(gateway, bodies, options.streams, 32)
        took, spent = time.perf_counter() - began, gateway.cpu() - before
    return {
        "requests/s": len(times) / took,
        "CPU us": spent / max(1, len(times)) * 1e6,
        "p50 ms": quantile(times, 0.5),
        "p99 ms": quantile(times, 0.99),
        "failed": failed,
    }


def many(row: str, options: argparse.Namespace) -> Figures:
    """1,000 streams at once: 20 tokens, one in half a second."""
    bodies = [body_of(f"{number} " + "x" * 500) for number in range(options.many)]
    with running(row, Pace(events=20, token=0.5), options.rivals) as gateway:
        load(gateway, bodies[:8], 8, 20)
        idle = gateway.memory()
        most: list[float] = [idle]
        with sampling(lambda: most.append(gateway.memory())):
            times, failed = load(gateway, bodies, options.many, 20)
    return {
        "whole": len(times) - failed,
        "failed": failed,
        "p50 ms": quantile(times, 0.5),
        "p99 ms": quantile(times, 0.99),
        "MB idle": idle,
        "MB": max(most),
    }


def prefix(row: str, options: argparse.Namespace) -> Figures:
    """24 shared beginnings of 8 KB; four engines hold 8 of them each. 12 streams."""
    rng = random.Random(7)
    shared = [f"{number} " + "".join(rng.choices("abcdef ", k=8_192)) for number in range(24)]
    bodies = [
        body_of(rng.choice(shared) + f" {number} " + "".join(rng.choices("xyz ", k=256)))
        for number in range(options.prompts)
    ]
    pace = Pace(events=8, token=0.005, block=0.001, cache=8 * 140)
    with running(row, pace, options.rivals) as gateway:
        load(gateway, bodies[: len(bodies) // 4], 12, 8)
        times, failed = load(gateway, bodies, 12, 8)
    return {
        "TTFT p50 ms": quantile(times, 0.5),
        "TTFT p99 ms": quantile(times, 0.99),
        "failed": failed,
    }


@contextmanager
def sampling(sample: Callable[[], Any]) -> Iterator[None]:
    """Takes samples in a thread."""
    import threading

    ended = threading.Event()

    def take() -> None:
        while not ended.wait(0.5):
            sample()

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


LOADS: dict[str, Callable[[str, argparse.Namespace], Figures]] = {
    "busy": busy,
    "many": many,
    "prefix": prefix,
}


def show(name: str, rows: dict[str, list[Figures]]) -> None:
    """Prints the medians of a load."""
    print(f"\n{name}")
    names = list(next(iter(rows.values()))[0])
    print(f"{'':12}" + "".join(f"{one:>13}" for one in names))
    for row, runs in rows.items():
        medians = [statistics.median(run[one] for run in runs) for one in names]
        print(f"{row:12}" + "".join(f"{one:13.1f}" for one in medians), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="this gateway and others under load")
    parser.add_argument("--rivals", type=Path, default=Path("/nowhere"), help="their environment")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--loads", default="busy,many,prefix")
    parser.add_argument("--rounds", type=int, default=3, help="of the busy load")
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--many", type=int, default=1_000)
    parser.add_argument("--prompts", type=int, default=400)
    options = parser.parse_args()
    own = ("direct", "round robin", "slotwise")
    rows = [
        row
        for row in options.rows.split(",")
        if row in own or shutil.which(str(options.rivals / "bin" / row))
    ]
    print(f"python {sys.version.split()[0]}, load average {os.getloadavg()}, {options}")
    for name in options.loads.split(","):
        rounds = options.rounds if name == "busy" else 1
        figures: dict[str, list[Figures]] = {row: [] for row in rows}
        for _ in range(rounds):
            for row in rows:
                try:
                    one: Figures = LOADS[name](row, options)
                except RuntimeError as error:
                    print(f"    {name}, {row}: {error}", flush=True)
                    continue
                figures[row].append(one)
                shown = ", ".join(f"{key} {value:.1f}" for key, value in one.items())
                print(f"    {name}, {row}: {shown}", flush=True)
        if answered := {row: runs for row, runs in figures.items() if runs}:
            show(name, answered)
    print(f"\nload average {os.getloadavg()}")


if __name__ == "__main__":
    main()
