"""An HTTP client for tests: one request for each connection. A broken response is a result."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Response:
    """A response, complete or not."""

    status: int = 0
    """0 if there was no response."""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    """Whether the body is complete."""


@dataclass
class Request:
    """A request in flight. ``begun`` is set with the first byte of the body."""

    task: asyncio.Task[Response]
    begun: asyncio.Event

    async def leave(self) -> None:
        """Closes the connection, at any point of the response."""
        self.task.cancel()
        await asyncio.wait((self.task,))


def start(url: str, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None) -> Request:
    """Sends a request, and reads the response in a task."""
    begun = asyncio.Event()
    return Request(asyncio.create_task(_ask(url, method, body, headers or {}, begun)), begun)


async def ask(url: str, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None) -> Response:
    """Sends a request, and reads the response."""
    return await start(url, method, body, headers).task


async def _ask(url: str, method: str, body: bytes, headers: dict[str, str], begun: asyncio.Event) -> Response:
    response = Response()
    writer = None
    try:
        place = urlsplit(url)
        path = place.path + (f"?{place.query}" if place.query else "")
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        lines = [f"{method} {path} HTTP/1.1", f"host: {place.netloc}", "connection: close", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        first, *head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        response.status = int(first.split()[1])
        response.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head if line)}
        if response.headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                response.body += await reader.readexactly(size)
                begun.set()
                await reader.readexactly(2)
            await reader.readuntil(b"\r\n")
        else:
            response.body = await reader.readexactly(int(response.headers.get("content-length", "0")))
            begun.set()
        response.whole = True
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        if writer is not None:
            writer.transport.abort()
    return response
