"""Engines without a model, for loads: streams that are paced, with a prefill and a prefix cache.

Each engine prefills one prompt at a time. The part of a prompt that its cache holds takes no time.
"""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass

from http_stacks import EVENT, HEAD

DONE = b"data: [DONE]\n\n"
BLOCK = 64
"""Bytes of a block: 16 tokens."""
USED = 140
"""Blocks that a running request is reported to use. Cached blocks that no request uses are free."""


@dataclass(frozen=True)
class Pace:
    """How fast engines are, and how much they remember."""

    events: int = 32
    """Tokens of each answer, one an event."""
    token: float = 0.0
    """Seconds between two tokens."""
    block: float = 0.0
    """Seconds of prefill for each block that is not cached."""
    cache: int = 0
    """Blocks that the cache holds."""


class Engine:
    """One engine."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._cached: dict[int, None] = {}
        self._prefilling = asyncio.Lock()
        self._running = self._waiting = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves the requests of a connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if not head.startswith(b"post "):
                    page = self._page(head.split(b" ", 2)[1].decode())
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n" % page[0])
                    writer.write(b"content-length: %d\r\n\r\n%s" % (len(page[1]), page[1]))
                    continue
                body = await reader.readexactly(int(head.split(b"content-length:")[1].split()[0]))
                await self._answer(body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        pace = self._pace
        if pace.block:
            self._waiting += 1
            async with self._prefilling:
                self._waiting -= 1
                await asyncio.sleep(self._uncached(body) * pace.block)
        self._running += 1
        try:
            writer.write(HEAD)
            for number in range(pace.events):
                if number or not pace.token:
                    await asyncio.sleep(pace.token)
                if writer.is_closing():
                    raise ConnectionResetError("the gateway has left")
                writer.write(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
            writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(DONE), DONE))
            await writer.drain()
        finally:
            self._running -= 1

    def _uncached(self, body: bytes) -> int:
        """Blocks of the prompt that were not cached. All are cached afterwards."""
        text = "".join(str(message["content"]) for message in json.loads(body)["messages"])
        blocks = [hash(text[:end]) for end in range(BLOCK, len(text) + 1, BLOCK)]
        missing = sum(block not in self._cached for block in blocks)
        for block in blocks:
            self._cached.pop(block, None)
            self._cached[block] = None
        while len(self._cached) > self._pace.cache:
            del self._cached[next(iter(self._cached))]
        return missing

    def _page(self, path: str) -> tuple[bytes, bytes]:
        """The pages that gateways read of an engine."""
        if path != "/metrics":
            model = {"id": "m", "object": "model", "owned_by": "vllm"}
            return b"application/json", json.dumps({"object": "list", "data": [model]}).encode()
        blocks = self._pace.cache or 4_096
        used = min(1.0, self._running * USED / blocks)
        text = (
            f'vllm:num_requests_running{{engine="0"}} {self._running}\n'
            f'vllm:num_requests_waiting{{engine="0"}} {self._waiting}\n'
            f'vllm:kv_cache_usage_perc{{engine="0"}} {used}\n'
            f'vllm:cache_config_info{{engine="0",block_size="16",num_gpu_blocks="{blocks}"}} 1.0\n'
        )
        return b"text/plain", text.encode()


def run(pace: Pace, listeners: list[socket.socket]) -> None:
    """The process of the engines."""

    async def main() -> None:
        servers = [
            await asyncio.start_server(Engine(pace).serve, sock=listener) for listener in listeners
        ]
        await asyncio.gather(*(server.serve_forever() for server in servers))

    asyncio.run(main())
