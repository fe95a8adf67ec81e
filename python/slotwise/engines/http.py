"""``GET`` requests to engines, by any HTTP client.

A client of its own keeps these requests apart from those of clients: a pool whose connections are
all in use would make healthy engines look dead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp
    import httpx

Get = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Requests a URL, and returns the status and the body. Raises if there is no response.

It follows no redirect and need not limit the time.
"""

MOST_BYTES = 1 << 24
"""Bytes of a body above which a response is an error."""


def httpx_get(client: httpx.AsyncClient) -> Get:
    """Requests by a client of ``httpx``."""

    async def get(url: str) -> tuple[int, bytes]:
        async with client.stream("GET", url, follow_redirects=False) as response:
            return response.status_code, await _limited(response.aiter_bytes())

    return get


def aiohttp_get(session: aiohttp.ClientSession) -> Get:
    """Requests by a session of ``aiohttp``."""

    async def get(url: str) -> tuple[int, bytes]:
        async with session.get(url, allow_redirects=False) as response:
            return response.status, await _limited(response.content.iter_any())

    return get


async def _limited(chunks: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MOST_BYTES:
            raise ValueError(f"the body has more than {MOST_BYTES} bytes")
    return bytes(body)
