"""CPU time of three HTTP stacks that forward the same streams, with the same round robin.

    pip install aiohttp starlette uvicorn httptools httpx
    python bench/http_stacks.py [--requests 2000] [--streams 50] [--events 32]

The gateway of each stack is a process of its own, and reports its CPU time by ``getrusage``. So
the machine's other load changes the figures little. Engine and client are two more processes.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import resource
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"token"}}]}\n\n'
PATH = "/v1/chat/completions"
BODY = json.dumps({"model": "m", "stream": True, "messages": [{"content": "x" * 2_000}]}).encode()
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
ENGINES = 4
STACKS = ("starlette+httpx", "starlette+aiohttp", "aiohttp+aiohttp")


async def engine(events: int, listener: socket.socket) -> None:
    """Serves streams of so many events."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if head.startswith(b"get "):  # a metrics page, which these engines have not
                    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    continue
                await reader.readexactly(int(head.split(b"content-length:")[1].split()[0]))
                writer.write(HEAD)
                for _ in range(events):
                    writer.write(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
                    await asyncio.sleep(0)
                writer.write(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, sock=listener) as server:
        await server.serve_forever()


def run_engines(events: int, listeners: list[socket.socket]) -> None:
    """The process of the engines."""

    async def main() -> None:
        await asyncio.gather(*(engine(events, one) for one in listeners))

    asyncio.run(main())


def starlette(open_stream: Callable[[bytes], Awaitable[Any]], listener: socket.socket) -> Any:
    """A gateway of Starlette and uvicorn."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse

    async def serve(request: Request) -> StreamingResponse:
        chunks = await open_stream(await request.body())
        return StreamingResponse(chunks, media_type="text/event-stream")

    app = Starlette()
    app.add_route(PATH, serve, ["POST"])
    config = uvicorn.Config(app, log_level="warning", access_log=False, http="httptools")
    return uvicorn.Server(config).serve(sockets=[listener])


async def gateway(stack: str, engines: list[str], listener: socket.socket) -> None:
    """Forwards each request to the next engine."""
    turns = itertools.cycle(engines)
    if stack == "starlette+httpx":
        import httpx

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        client = httpx.AsyncClient(timeout=None, limits=limits)

        async def by_httpx(body: bytes) -> Any:
            headers = {"content-type": "application/json"}
            request = client.build_request("POST", next(turns), content=body, headers=headers)
            return (await client.send(request, stream=True)).aiter_bytes()

        await starlette(by_httpx, listener)
        return

    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    session = aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def by_aiohttp(body: bytes) -> Any:
        headers = {"content-type": "application/json"}
        answer = await session.post(next(turns), data=body, headers=headers)
        return answer.content.iter_any()

    if stack == "starlette+aiohttp":
        await starlette(by_aiohttp, listener)
        return

    from aiohttp import web

    async def serve(request: web.Request) -> web.StreamResponse:
        chunks = await by_aiohttp(await request.read())
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        async for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_post(PATH, serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    await asyncio.Event().wait()


def run_gateway(stack: str, engines: list[str], listener: socket.socket, pipe: Connection) -> None:
    """The process of a gateway. Sends its CPU time in seconds when asked."""

    async def main() -> None:
        report_cpu(pipe)
        await gateway(stack, engines, listener)

    asyncio.run(main())


def report_cpu(pipe: Connection) -> None:
    """Answers each message on the pipe with the CPU time of this process."""

    def report() -> None:
        pipe.recv()
        used = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send(used.ru_utime + used.ru_stime)

    asyncio.get_running_loop().add_reader(pipe.fileno(), report)


async def load(
    ports: list[int], requests: int, streams: int, events: int, body: bytes = BODY
) -> list[float]:
    """Sends the requests over so many connections, and checks each answer.

    Returns the time to the first byte of each body, in seconds.
    """
    request = (
        f"POST {PATH} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
    left, turns = itertools.count(), itertools.cycle(ports)
    times: list[float] = []

    async def stream() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", next(turns))
        while next(left) < requests:
            sent = time.perf_counter()
            writer.write(request)
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            got = 0
            while size := int(await reader.readline(), 16):
                if not got:
                    times.append(time.perf_counter() - sent)
                got += size
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
            assert got == events * len(EVENT), got
        writer.close()

    await asyncio.gather(*(stream() for _ in range(streams)))
    return times


def measure(stack: str, options: argparse.Namespace) -> float:
    """The CPU time of the gateway for one request, in microseconds."""
    fork = multiprocessing.get_context("fork")
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in range(ENGINES + 1)]
    ports = [listener.getsockname()[1] for listener in listeners]
    urls = [f"http://127.0.0.1:{port}{PATH}" for port in ports[1:]]
    here, there = fork.Pipe()

    processes = [
        fork.Process(target=run_engines, args=(options.events, listeners[1:]), daemon=True),
        fork.Process(target=run_gateway, args=(stack, urls, listeners[0], there), daemon=True),
    ]
    for process in processes:
        process.start()

    def cpu() -> float:
        here.send(None)
        seconds: float = here.recv()
        return seconds

    asyncio.run(load(ports[:1], options.requests // 4, options.streams, options.events))
    before = cpu()
    asyncio.run(load(ports[:1], options.requests, options.streams, options.events))
    spent = cpu() - before
    for process in processes:
        process.kill()
        process.join()
    return spent / options.requests * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--events", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"python {sys.version.split()[0]}, CPU us per request: median of {options.rounds}")
    rounds = [[measure(stack, options) for stack in STACKS] for _ in range(options.rounds)]
    for stack, figures in zip(STACKS, zip(*rounds, strict=True), strict=True):
        print(f"{stack:20} {statistics.median(figures):8.0f}  {[round(one) for one in figures]}")


if __name__ == "__main__":
    main()
