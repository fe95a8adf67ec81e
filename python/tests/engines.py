"""Model servers for tests, each with one manner of response, on a free port of the loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
DONE = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
ERROR_EVENT = b'data: {"error":{"message":"the engine died","code":500}}\n\n'
CUT_EVENT = (
    b'data: {"error":{"message":"the engine failed before the end of the answer",'
    b'"type":"server_error","param":null,"code":"engine_failed"}}\n\n'
)
"""The last event of a stream that breaks off, as gateways add it."""
REFUSED_EVENT = b'data: {"error":{"message":"bad request","code":400}}\n\n'
PREFILLED = {
    "choices": [{"message": {"content": "x"}, "finish_reason": "length"}],
    "kv_transfer_params": {"remote_port": 7},
}
PAGE = (
    b'vllm:num_requests_running{engine="0"} 0\nvllm:num_requests_waiting{engine="0"} 0\n'
    b'vllm:kv_cache_usage_perc{engine="0"} 0.0\n'
    b'vllm:cache_config_info{engine="0",block_size="16",num_gpu_blocks="32768"} 1.0\n'
)


class Engine:
    """Responds by its ``manner``, which may change while the engine runs.

    ``good``: a stream of two tokens. A number: that status with an error body. ``empty``: 200 and
    nothing. ``breaks``: closes the connection after the first token; ``dies``: before it.
    ``error``: an error in the stream after the first token; ``fails``: before it. ``refuses``: a
    400 as the first event. ``prefill``: an answer with the parameters of a transfer.
    ``silent``: headers, then nothing. ``slow``: ``good``, but after its first token it waits for
    the ``gate``; ``late``: before it.

    ``GET /metrics`` returns a page as vLLM's, which is no request. With ``page = None`` it answers
    404.
    """

    def __init__(self, manner: str | int = "good", host: str = "127.0.0.1") -> None:
        self.manner = manner
        self._host = host
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.targets: list[str] = []
        """The paths and queries of the requests."""
        self.open = 0
        self.held = 0
        """Requests that wait for the gate."""
        self.gate = asyncio.Event()
        self.page: bytes | None = PAGE
        self.scrapes = 0
        """Metrics pages served so far."""
        self.url = ""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def asked(self) -> int:
        """Requests received so far."""
        return len(self.bodies)

    async def start(self) -> None:
        port = int(self.url.rsplit(":", 1)[1]) if self.url else 0
        self._server = await asyncio.start_server(self._serve, self._host, port)
        self.url = f"http://{self._host}:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Refuses new connections, and breaks open ones."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self._writers.add(writer)
        try:
            # Kept alive, as by real servers, until the client closes or the manner requires it.
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request. Returns whether the connection stays open for another."""
        first, *head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        if first.startswith("GET /metrics "):
            await self._show_page(writer)
            return True
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head if line)
        }
        self.headers.append(headers)
        self.targets.append(first.split(" ")[1])
        self.bodies.append(await reader.readexactly(int(headers.get("content-length", "0"))))
        manner = self.manner
        if headers.get("content-type") != "application/json":
            manner = 415
        if manner == "prefill":
            self._write(writer, 200, json.dumps(PREFILLED).encode())
            await writer.drain()
            return True
        if isinstance(manner, int):
            body = json.dumps({"error": {"message": f"status {manner}", "code": manner}}).encode()
            self._write(writer, manner, body)
            await writer.drain()
            return True
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
        )
        writer.write(b"\r\n")
        parts = {
            "good": [EVENT, EVENT, DONE],
            "empty": [],
            "breaks": [EVENT],
            "dies": [],
            "error": [EVENT, ERROR_EVENT],
            "fails": [ERROR_EVENT],
            "refuses": [REFUSED_EVENT],
            "silent": [],
            "slow": [EVENT, b"", EVENT, DONE],
            "late": [b"", EVENT, EVENT, DONE],
        }[manner]
        for part in parts:
            if not part:
                await writer.drain()
                await self._wait_at_gate()
                continue
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
        if manner == "silent":
            await reader.read()
        if manner in ("silent", "breaks", "dies"):
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    @staticmethod
    def _write(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        writer.write(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n" % status)
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))

    async def _wait_at_gate(self) -> None:
        self.held += 1
        try:
            await self.gate.wait()
        finally:
            self.held -= 1

    async def _show_page(self, writer: asyncio.StreamWriter) -> None:
        status, page = (b"404 Not Found", b"") if self.page is None else (b"200 OK", self.page)
        writer.write(b"HTTP/1.1 %s\r\ncontent-type: text/plain\r\n" % status)
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(page), page))
        await writer.drain()
        self.scrapes += self.page is not None


@asynccontextmanager
async def engines(*manners: str | int) -> AsyncIterator[list[Engine]]:
    """Runs engines of these manners."""
    started = [Engine(manner) for manner in manners]
    for engine in started:
        await engine.start()
    try:
        yield started
    finally:
        for engine in started:
            await engine.stop()
