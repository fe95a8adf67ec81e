"""Serves one request, from its body to the reply. See :meth:`slotwise.aio.Scheduler.forward`.

.. code-block:: text

    acquire ──► send ──► look ahead to the first token ──► reply: the rest is passed on
       ▲         │ unreachable, refused, failed, cut off or timed out
       └─────────┘ another endpoint, while no byte has been sent to the client
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from . import wire
from .errors import RejectedError
from .lease import Lease
from .reports import CloseReason, Refusal, RefusalShape
from .stream import Stream

if TYPE_CHECKING:
    from .aio import Scheduler

LOOK_AHEAD = 65_536
"""Bytes of a response that are buffered at most, until it is known whether to retry."""

PASSED_ON = ("content-type", "retry-after", "retry-after-ms")
"""Headers of an engine's response that are passed on to the client. The others belong to the
connection between gateway and engine."""

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


class Body:
    """The chunks of a reply, beginning with the buffered ones.

    This is a class because a generator that was never started does not run its ``finally`` block.
    """

    def __init__(
        self, held: list[bytes], rest: Stream[bytes] | None = None, response: Response | None = None
    ) -> None:
        self._held = held[::-1]
        self._rest = rest
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._held:
            return self._held.pop()
        if self._rest is None:
            raise StopAsyncIteration
        try:
            return await anext(self._rest)
        except BaseException:
            await self._close()
            raise

    async def aclose(self) -> None:
        """Abandons the unread chunks."""
        self._held.clear()
        if self._rest is not None:
            rest, self._rest = self._rest, None
            await rest.aclose()
        await self._close()

    async def _close(self) -> None:
        self._rest = None
        response, self._response = self._response, None
        await _close(response)


async def forward(
    scheduler: Scheduler, send: Send, *, attempts: int, options: dict[str, Any]
) -> Reply:
    """See :meth:`slotwise.aio.Scheduler.forward`."""
    tried: list[int] = list(options.pop("exclude", ()))
    shape: RefusalShape = (
        "anthropic" if str(options.get("path")).endswith("/messages") else "openai"
    )
    refused: Reply | None = None
    for _ in range(max(attempts, 1)):
        try:
            lease = await scheduler.acquire(exclude=tried, **options)
        except RejectedError as error:
            return refused or _refusal(wire.refusal(error, shape=shape))
        # The endpoint of this attempt, read before the lease ends.
        endpoint = lease.dispatch.endpoint_id
        reply, final = await _attempt(lease, send)
        if final and reply is not None:
            return reply
        refused = reply or refused
        tried.append(endpoint)
    return refused or _refusal(wire.refusal("no_endpoints", shape=shape, retry_after=1.0))


async def _attempt(lease: Lease, send: Send) -> tuple[Reply | None, bool]:
    """Sends the request to one endpoint. Returns its reply, if any, and whether that is final."""
    response: Response | None = None
    held: list[bytes] = []
    try:
        async with asyncio.timeout(lease.dispatch.idle_limit()):
            response = await send(lease.endpoint_name)
            lease.begin(response.status_code, response.headers.get("content-type", ""))
            chunks = aiter(response.aiter_bytes())
            close = await _look_ahead(lease, chunks, held)
    except Exception as error:
        _log.warning("%s cannot be reached: %r", lease.endpoint_name, error)
        lease.fail("timeout" if isinstance(error, TimeoutError) else "unreachable")
        await _close(response)
        return None, False
    except BaseException:
        lease.cancel()
        await _close(response)
        raise
    headers = [(name, response.headers[name]) for name in PASSED_ON if name in response.headers]
    if close is None:
        return Reply(
            response.status_code, headers, Body(held, lease.stream(chunks), response), lease
        ), True
    outcome = lease.finish(close)
    await response.aclose()
    if not outcome.may_retry(sent=False):
        return Reply(response.status_code, headers, Body(held), lease), True
    _log.warning(
        "%s did not answer: %s, status %d", lease.endpoint_name, outcome.end, response.status_code
    )
    # A failed response with a success status must not reach the client as an answer.
    whole = close == "clean" and not 200 <= response.status_code < 300
    return (Reply(response.status_code, headers, Body(held), lease) if whole else None), False


async def _look_ahead(
    lease: Lease, chunks: AsyncIterator[bytes], held: list[bytes]
) -> CloseReason | None:
    """Buffers chunks until the answer has begun.

    Returns how the connection ended, if it ended before that.
    """
    size = 0
    while not lease.answer.begun and size < LOOK_AHEAD:
        try:
            chunk = await anext(chunks)
        except StopAsyncIteration:
            return "clean"
        except Exception:
            return "broken"
        lease.feed(chunk)
        held.append(chunk)
        size += len(chunk)
    return None


async def _close(response: Response | None) -> None:
    if response is not None:
        await response.aclose()


def _refusal(refusal: Refusal) -> Reply:
    return Reply(refusal.status, list(refusal.headers), Body([refusal.body]), None)
