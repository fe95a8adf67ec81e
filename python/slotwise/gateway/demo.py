"""Four engines of a demonstration, on the loopback. They need no model and no GPU."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web

from .demo_answers import answer_of, events_of
from .server import Listener

__all__ = ["MODEL", "DemoEngine", "demo_engines", "first_request"]

MODEL = "demo"
"""The only model."""
BLOCK = 64
"""Characters of a block of the prefix cache: 16 tokens."""
BLOCKS = 4_096
"""Blocks that the cache holds."""


class DemoEngine:
    """An engine that answers with the last message, one word at a time.

    It has a prefix cache: the part of a prompt that is cached takes no time.
    """

    def __init__(self, *, token_time: float = 0.01, block_time: float = 0.002) -> None:
        self._token_time = token_time
        self._block_time = block_time
        self._cached: dict[int, None] = {}
        self._running = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers a request."""
        if request.path == "/metrics":
            return web.Response(text=self._page())
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        body: dict[str, Any] = json.loads(await request.read())
        self._running += 1
        try:
            return await self._answer(request, body)
        finally:
            self._running -= 1

    async def _answer(
        self, request: web.BaseRequest, body: dict[str, Any]
    ) -> web.StreamResponse:
        blocks, cached = self._look_up(body)
        await asyncio.sleep((blocks - cached) * self._block_time)
        usage = (blocks * 16, cached * 16)
        if not body.get("stream"):
            return web.json_response(answer_of(request.path, body, *usage))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in events_of(request.path, body, *usage):
            await response.write(event)
            await asyncio.sleep(self._token_time)
        await response.write_eof()
        return response

    def _look_up(self, body: dict[str, Any]) -> tuple[int, int]:
        """Blocks of the prompt, and those of them that were cached. Caches all."""
        parts = [body.get(name) for name in ("system", "instructions", "messages", "input", "prompt")]
        text = json.dumps([part for part in parts if part is not None])
        ends = range(BLOCK, len(text) + 1, BLOCK)
        blocks = [hash(text[:end]) for end in ends]
        cached = sum(block in self._cached for block in blocks)
        for block in blocks:
            self._cached.pop(block, None)
            self._cached[block] = None
        while len(self._cached) > BLOCKS:
            del self._cached[next(iter(self._cached))]
        return max(1, len(blocks)), cached

    def _page(self) -> str:
        """A metrics page as vLLM's."""
        usage = len(self._cached) / BLOCKS
        return (
            f'vllm:num_requests_running{{engine="0"}} {self._running}\n'
            'vllm:num_requests_waiting{engine="0"} 0\n'
            f'vllm:kv_cache_usage_perc{{engine="0"}} {usage}\n'
            f'vllm:cache_config_info{{engine="0",block_size="16",num_gpu_blocks="{BLOCKS}"}} 1.0\n'
        )


@asynccontextmanager
async def demo_engines(count: int = 4) -> AsyncIterator[list[str]]:
    """Runs engines, and provides their addresses."""
    async with AsyncExitStack() as stack:
        urls = []
        for _ in range(count):
            listener = Listener(("127.0.0.1", 0), DemoEngine().handle, max_body=2**26)
            stack.push_async_callback(listener.close)
            host, port = await listener.start()
            urls.append(f"http://{host}:{port}")
        yield urls


def first_request(url: str) -> str:
    """The command that sends a first request."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]})
    return f"try: curl {url}/v1/chat/completions -d '{body}'"
