"""Requests to engines by httpx and by aiohttp."""

from __future__ import annotations

import asyncio

import aiohttp
import httpx
import pytest
from engines import PAGE, engines
from slotwise.engines import Get, aiohttp_get, http, httpx_get


@pytest.mark.parametrize("library", ["httpx", "aiohttp"])
def test_both_clients_return_status_and_body(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(get: Get) -> None:
        async with engines("good") as (engine,):
            assert await get(f"{engine.url}/metrics") == (200, PAGE)
            monkeypatch.setattr(http, "MOST_BYTES", len(PAGE) - 1)
            with pytest.raises(ValueError, match="more than"):
                await get(f"{engine.url}/metrics")
            monkeypatch.undo()
            engine.page = None
            assert (await get(f"{engine.url}/metrics"))[0] == 404
        with pytest.raises((httpx.TransportError, aiohttp.ClientConnectionError)):
            await get(f"{engine.url}/metrics")

    async def main() -> None:
        if library == "httpx":
            async with httpx.AsyncClient() as client:
                await check(httpx_get(client))
        else:
            async with aiohttp.ClientSession() as session:
                await check(aiohttp_get(session))

    asyncio.run(main())
