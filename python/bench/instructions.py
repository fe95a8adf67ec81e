"""Instructions of the gateway for each request, beside the same gateway with round robin.

    python bench/instructions.py [--requests 300] [--events 32] [--rows "round robin,slotwise"]

Needs valgrind, whose cachegrind counts the instructions of the gateway's process. Engines and
client are processes of their own, which are not counted. Each row runs twice, with 100 requests
and with ``--requests`` more: the difference leaves out the start. Counts hardly depend on the
machine's other load, with which the CPU times of ``gateway.py`` double.

The client sends one request after the other. ``streamed`` answers have so many events, and
``whole`` ones are a body of JSON. The rows are those of ``gateway.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gateway import RoundRobin
from http_stacks import ENGINES, HEAD, PATH, gateway
from slotwise.configuration import Configuration
from slotwise.gateway import Gateway, Settings

ROWS = ("plain", "round robin", "slotwise")
WARM = 100
"""Requests of the first run: connections are open, and caches of the interpreter are full."""
TOOL = ("--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
MESSAGE = {"role": "assistant", "content": "token " * 32}
USAGE = {"prompt_tokens": 500, "completion_tokens": 32, "total_tokens": 532}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "stop"}
ANSWER = json.dumps(
    {"id": "1", "object": "chat.completion", "model": "m", "choices": [CHOICE], "usage": USAGE}
).encode()
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1_764_460_800, "model": "m"}


def stream_of(events: int) -> list[bytes]:
    """The events of a stream, as engines send them: they differ in their token."""
    deltas = [{"content": f" token{number}"} for number in range(events)]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    payloads = [json.dumps({**CHUNK, "choices": [choice]}) for choice in choices]
    return [f"data: {payload}\n\n".encode() for payload in [*payloads, "[DONE]"]]


async def engine(events: int, listener: socket.socket) -> None:
    """Answers each request at once."""
    stream = b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in stream_of(events))
    answers = {True: HEAD + stream + b"0\r\n\r\n", False: WHOLE % (len(ANSWER), ANSWER)}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if head.startswith(b"get "):  # a metrics page, which these engines have not
                    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    continue
                length = int(head.split(b"content-length:")[1].split()[0])
                body = await reader.readexactly(length)
                writer.write(answers[b'"stream": true' in body])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, sock=listener) as server:
        await server.serve_forever()


def run_engines(events: int, listeners: list[socket.socket]) -> None:
    """The process of the engines."""

    async def all_engines() -> None:
        await asyncio.gather(*(engine(events, one) for one in listeners))

    asyncio.run(all_engines())


async def serve(row: str, engines: list[str]) -> None:
    """A gateway that is counted. Prints its process and its port, and ends with SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if row == "plain":
        listener = socket.create_server(("127.0.0.1", 0))
        print(os.getpid(), listener.getsockname()[1], flush=True)
        urls = [engine + PATH for engine in engines]
        plain = asyncio.ensure_future(gateway("aiohttp+aiohttp", urls, listener))
        await stop.wait()
        os._exit(plain.done())  # This stack has no end of its own.
    # What the gateway does by the clock is no part of a request.
    settings = Settings(scrape_every=3_600.0)
    async with Gateway(Configuration(json.dumps({"endpoints": engines})), settings) as ours:
        if row == "round robin":
            ours.pools["default"].scheduler = RoundRobin(engines)  # type: ignore[assignment]
        print(os.getpid(), ours.url.rsplit(":", 1)[1], flush=True)
        await stop.wait()


def serve_all() -> None:
    """The process under valgrind. Forks a gateway for each line: all share its long start."""
    for line in iter(sys.stdin.readline, ""):
        row, *engines = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            asyncio.run(serve(row, engines))
            os._exit(0)
        os.waitpid(child, 0)
        print("ended", flush=True)


async def send(port: int, requests: int, kind: str, events: int) -> None:
    """Sends the requests over one connection, and checks each answer."""
    messages = [{"role": "user", "content": "x" * 2_000}]
    asked = {"model": "m", "stream": kind == "streamed", "messages": messages}
    body = json.dumps(asked).encode()
    expected = ANSWER if kind == "whole" else b"".join(stream_of(events))
    request = (
        f"POST {PATH} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer key\r\nuser-agent: bench\r\naccept: */*\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(requests):
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b" 200 " in head, head
        answer = b""
        if b"content-length:" in head:
            answer = await reader.readexactly(int(head.split(b"content-length:")[1].split()[0]))
        else:
            while size := int(await reader.readline(), 16):
                answer += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        assert answer == expected, answer
    writer.close()


class Counter:
    """Counts the instructions of gateways. Reports are written into the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        command = ["valgrind", *TOOL, f"--log-file={folder}/%p", sys.executable, __file__, "--serve"]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=environment, **pipes)

    def count(self, row: str, kind: str, events: int, requests: int) -> int:
        """The instructions of a gateway that serves so many requests, its start included."""
        fork = multiprocessing.get_context("fork")
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(ENGINES)]
        urls = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
        engines = fork.Process(target=run_engines, args=(events, listeners), daemon=True)
        engines.start()
        into, out = self._process.stdin, self._process.stdout
        assert into is not None and out is not None
        print(row, *urls, sep="\t", file=into, flush=True)
        process, port = map(int, out.readline().split())
        try:
            asyncio.run(send(port, requests, kind, events))
        finally:
            os.kill(process, signal.SIGTERM)
            out.readline()
            engines.kill()
            engines.join()
            for listener in listeners:
                listener.close()
        found = re.search(r"I\s+refs:\s+([\d,]+)", (self._folder / str(process)).read_text())
        assert found is not None, "cachegrind reports the instructions"
        return int(found[1].replace(",", ""))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--events", type=int, default=32)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--kinds", default="streamed,whole")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_all()
        return
    print(f"python {sys.version.split()[0]}: thousands of instructions for each request")
    with tempfile.TemporaryDirectory() as folder:
        counter = Counter(Path(folder))
        for kind in options.kinds.split(","):
            figures: dict[str, float] = {}
            for row in options.rows.split(","):
                few, many = (
                    counter.count(row, kind, options.events, requests)
                    for requests in (WARM, WARM + options.requests)
                )
                figures[row] = (many - few) / options.requests / 1e3
                ratio = figures[row] / figures.get("round robin", figures[row])
                print(f"{kind:10} {row:12} {figures[row]:8.0f} {ratio:6.2f}", flush=True)
        counter.close()


if __name__ == "__main__":
    main()
