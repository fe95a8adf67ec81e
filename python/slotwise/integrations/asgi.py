"""Middleware that chooses the endpoint in front of an ASGI application that proxies.

.. code-block:: python

    app = SlotwiseMiddleware(proxy, scheduler)

The application sends the request to ``scope["slotwise.lease"].endpoint_name``. Its request headers
also have the name, as ``x-gateway-destination-endpoint``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .. import wire
from ..aio import ClientDisconnectedError, Lease, Scheduler, watch_disconnect
from ..errors import RejectedError, WireError
from ..reports import Refusal

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

DESTINATION = b"x-gateway-destination-endpoint"


class SlotwiseMiddleware:
    """Acquires a lease for each request of a known API, and ends it with the response.

    ``options`` are keywords of :meth:`slotwise.aio.Scheduler.acquire`. Other requests pass through.
    A body of more than ``max_body`` bytes is answered with 413.
    """

    def __init__(
        self, app: App, scheduler: Scheduler, *, max_body: int = 32 * 2**20, **options: Any
    ) -> None:
        self.app: App = app
        self.scheduler: Scheduler = scheduler
        self._max_body, self._options = max_body, options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or wire.api_of_path(scope["path"]) is None:
            await self.app(scope, receive, send)
            return
        try:
            body = await _read(receive, self._max_body)
            async with watch_disconnect(receive):
                lease = await self.scheduler.acquire(
                    body=body, path=scope["path"], headers=scope["headers"], **self._options
                )
        except ClientDisconnectedError:
            return
        except RejectedError as error:
            refusal = refusal_of(error, scope["path"])
            await _answer(send, refusal.status, refusal.headers, refusal.body)
            return
        except (WireError, _TooLargeError) as error:
            status = 413 if isinstance(error, _TooLargeError) else 400
            await _answer(send, status, [("content-type", "text/plain")], str(error).encode())
            return
        # A client must not choose its endpoint.
        headers = [pair for pair in scope["headers"] if pair[0].lower() != DESTINATION]
        headers.append((DESTINATION, lease.endpoint_name.encode("latin-1", "replace")))
        inner = {**scope, "headers": headers, "slotwise.lease": lease}
        exchange = _Exchange(lease, body, receive, send)
        async with lease:
            await self.app(inner, exchange.receive, exchange.send)


def refusal_of(error: RejectedError, path: str) -> Refusal:
    """The response to a refused request, in the shape of the API of this path."""
    messages = wire.api_of_path(path) == "messages"
    return wire.refusal(error, shape="anthropic" if messages else "openai")


class _Exchange:
    """Replays the request's body, and reads the response on its way to the client."""

    def __init__(self, lease: Lease, body: bytes, receive: Receive, send: Send) -> None:
        self._lease, self._receive, self._send = lease, receive, send
        self._body: bytes | None = body
        self._begun = False

    async def receive(self) -> Message:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._lease.cancel()
        return message

    async def send(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self._lease.cancel()
            raise
        if message["type"] == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._pass(message.get("body", b""), message.get("more_body", False))

    def _begin(self, status: int, headers: Any) -> None:
        found = {bytes(name).lower(): bytes(value) for name, value in headers}
        # Tokens and usage of a compressed answer cannot be read.
        if b"content-encoding" not in found or status >= 400:
            self._begun = True
            self._lease.begin(status, found.get(b"content-type", b"").decode("latin-1"))

    def _pass(self, chunk: bytes, more: bool) -> None:
        if self._begun:
            self._lease.feed(chunk)
        elif chunk:
            self._lease.first_token()
        if not more and self._begun:
            self._lease.finish()
        elif not more:
            self._lease.complete()


class _TooLargeError(Exception):
    """The body is larger than the limit."""


async def _read(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        body += message.get("body", b"")
        if len(body) > most:
            raise _TooLargeError(f"the body has more than {most} bytes")
        if not message.get("more_body", False):
            return bytes(body)


async def _answer(send: Send, status: int, headers: Any, body: bytes) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
