"""HTTP to engines: responses that ``Scheduler.forward`` reads, and pages of engines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any

import aiohttp
from yarl import URL

__all__ = ["Response", "Upstream"]


class Response:
    """An engine's response, as :class:`slotwise.aio.Response` has it."""

    __slots__ = ("_response", "headers", "status_code")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status_code: int = response.status
        self.headers: Mapping[str, str] = response.headers

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The chunks of the body, as they arrive."""
        return _Chunks(self._response.content)

    async def aclose(self) -> None:
        """Releases the connection. One whose body was not read to its end is closed."""
        self._response.close()


class _Chunks:
    """The chunks of a body. A class costs less for each chunk than a generator."""

    __slots__ = ("_content",)

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if chunk := await self._content.readany():
            return chunk
        raise StopAsyncIteration


class Upstream:
    """The connections to engines. Use it as a context manager."""

    def __init__(self, *, connect_timeout: float) -> None:
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None
        self._control: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Upstream:
        # Neither the number of connections nor the time of a stream is limited here: the scheduler
        # limits the first by endpoint, and its idle limits the second.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("accept-encoding", "user-agent"),
        )
        self._control = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._session, self._control):
            if session is not None:
                await session.close()

    @property
    def control(self) -> aiohttp.ClientSession:
        """The session of scrapes and checks. Its connections are never all in use by requests."""
        assert self._control is not None, "the upstream has been entered"
        return self._control

    async def post(
        self, engine: str, target: str, body: bytes, headers: list[tuple[str, str]]
    ) -> Response:
        """Sends a request. Returns when the head of the response has arrived.

        ``target`` is the path and the query as the client sent them.
        """
        assert self._session is not None, "the upstream has been entered"
        # A followed redirect would hide which engine has the request.
        response = await self._session.post(
            _url(engine, target), data=body, headers=headers, allow_redirects=False
        )
        return Response(response)

    async def get_json(self, engine: str, path: str, *, timeout: float) -> Any:
        """A page of an engine as JSON."""
        limit = aiohttp.ClientTimeout(total=timeout)
        async with self.control.get(_url(engine, path), timeout=limit) as response:
            response.raise_for_status()
            return await response.json(content_type=None)


@lru_cache(4_096)
def _url(engine: str, target: str) -> URL:
    return URL(engine + target, encoded=True)
