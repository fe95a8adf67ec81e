"""Serves one request, from its body to the reply. See :meth:`slotwise.aio.Scheduler.forward`.

This module is I/O around the native exchange, which Node and Rust share. The exchange decides which
endpoint is asked, when another one is asked, and what the client gets:

.. code-block:: text

    dispatch ──► send ──► look ahead to the first token ──► reply: the rest is passed on
       ▲          │ unreachable, refused, failed, broken off or timed out
       └──────────┘ another endpoint, while no byte has been sent to the client
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from . import _core
from .errors import IdleTimeoutError
from .lease import Lease
from .reports import CloseReason

if TYPE_CHECKING:
    from .aio import Scheduler

_T = TypeVar("_T")
_log = logging.getLogger("slotwise")


class Response(Protocol):
    """An engine's response, as HTTP clients return it.

    ``httpx.Response`` of a streamed request implements this protocol.
    """

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The chunks of the decoded body, as they arrive."""

    async def aclose(self) -> None:
        """Releases the connection, even if the body has not been read to its end."""


Send = Callable[[str], Awaitable[Response]]


class Reply:
    """The reply to a client: an engine's response, or a refusal. Iterate over it for the body."""

    def __init__(
        self, status: int, headers: list[tuple[str, str]], body: Body, lease: Lease | None
    ) -> None:
        self.status: int = status
        """The HTTP status."""
        self.headers: list[tuple[str, str]] = headers
        """The headers: ``content-type``, and when to retry if that is known."""
        self.lease: Lease | None = lease
        """The request's lease, if an engine answered it."""
        self._body = body

    def __aiter__(self) -> Body:
        return self._body

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self._body])

    async def aclose(self) -> None:
        """Cancels the request, and closes the connection to the engine."""
        await self._body.aclose()

    def __repr__(self) -> str:
        return f"<Reply {self.status} from {'the gateway' if self.lease is None else self.lease.endpoint_name!r}>"


async def forward(
    scheduler: Scheduler, send: Send, *, attempts: int, options: dict[str, Any]
) -> Reply:
    """See :meth:`slotwise.aio.Scheduler.forward`."""
    exclude = options.pop("exclude", None)
    path = str(options.get("path") or "")
    exchange = _core.Exchange(scheduler, path, attempts=attempts, exclude=exclude)
    body = Body(exchange)
    try:
        while True:
            match exchange.poll():
                case ("dispatch",):
                    decision = await scheduler._decide(exclude=exchange.excluded, **options)
                    exchange.handle_decision(decision)
                case ("send", url):
                    await body._send(send, url)
                case ("reply", status, headers):
                    if exchange.has_lease:
                        body._lease = Lease(scheduler, exchange)
                    return Reply(status, headers, body, body._lease)
                case ("abort",):
                    await body._close()
                case _:
                    await body._read()
    except BaseException:
        await body.aclose()
        raise


class Body:
    """The chunks of a reply, beginning with the buffered ones.

    The end of the chunks ends the request. If the connection to the engine breaks within the
    answer, the error of the HTTP client is raised. If the engine sends no token within the idle
    limit, :class:`slotwise.IdleTimeoutError` is raised.

    This is a class because a generator that was never started does not run its ``finally`` block.
    """

    def __init__(self, exchange: _core.Exchange) -> None:
        self._exchange = exchange
        # Ends no earlier than the body.
        self._lease: Lease | None = None
        self._url = ""
        self._response: Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._error: Exception | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._next()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Cancels the request if it is in flight, and drops the unread chunks."""
        self._exchange.handle_client_disconnected()
        await self._close()

    def __del__(self) -> None:
        self._exchange.handle_client_disconnected()

    async def _next(self) -> bytes:
        while True:
            match self._exchange.poll():
                case ("body", chunk):
                    return chunk
                case ("break",):
                    error, self._error = self._error, None
                    raise error or ConnectionError(f"{self._url} broke off")
                case ("abort",):
                    await self._close()
                case ("end",):
                    raise StopAsyncIteration
                case _ if self._exchange.ended:
                    raise StopAsyncIteration
                case _:
                    passed_on = await self._read()
                    if passed_on is not None:
                        return passed_on

    async def _send(self, send: Send, url: str) -> None:
        """Sends the request to the endpoint. Returns with the headers of its response."""
        await self._close()
        self._url, self._error = url, None
        try:
            response = await self._wait(send(url))
        except Exception as error:
            _log.warning("%s cannot be reached: %r", url, error)
            timed_out = isinstance(error, TimeoutError)
            self._exchange.handle_unreachable("timeout" if timed_out else "unreachable")
            return
        self._response = response
        self._chunks = aiter(response.aiter_bytes())
        self._exchange.handle_head(response.status_code, list(response.headers.items()))

    async def _read(self) -> bytes | None:
        """Reads on in the response. Returns a chunk that the client gets as it is."""
        close: CloseReason = "clean"
        try:
            assert self._chunks is not None, "the exchange reads only what it has sent for"
            chunk = await self._wait(anext(self._chunks))
        except StopAsyncIteration:
            pass
        except IdleTimeoutError as error:
            close, self._error = "timed_out", error
        except Exception as error:
            close, self._error = "broken", error
        else:
            return chunk if self._exchange.handle_chunk(chunk) else None
        self._exchange.handle_close(close)
        outcome = self._exchange.outcome
        if outcome is not None and outcome.may_retry(sent=False):
            reason = self._error or f"status {outcome.status}"
            _log.warning("%s did not answer: %s, %s", self._url, outcome.end, reason)
        return None

    async def _wait(self, step: Awaitable[_T]) -> _T:
        """Awaits the endpoint. Raises :class:`slotwise.IdleTimeoutError` after the idle limit."""
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(self._exchange.wait(loop.time()))
        try:
            async with limit:
                return await step
        except TimeoutError as error:
            if limit.expired():
                raise IdleTimeoutError(*self._exchange.idle_limit()) from error
            raise
        finally:
            self._exchange.end_wait(loop.time())

    async def _close(self) -> None:
        """Closes the connection to the endpoint."""
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            await response.aclose()
