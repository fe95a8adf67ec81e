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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from . import _core
from .errors import IdleTimeoutError
from .idle_limit import IdleLimit
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


@dataclass(frozen=True)
class Call:
    """What ``send`` receives if ``forward`` has a ``connector`` or ``add_usage``."""

    url: str
    """The endpoint's name, which is its URL."""
    headers: list[tuple[str, str]]
    """Headers to add."""
    body: bytes
    """The body for this endpoint."""


Send = Callable[[str], Awaitable[Response]] | Callable[[Call], Awaitable[Response]]
_Ask = Callable[[_core.ExchangeCall], Awaitable[Response]]


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

    def expire(self) -> None:
        """Ends the reply, because the time of the whole request is over.

        Cancels the request at the engine. A stream ends with an error event of the client's API.
        Where none can follow, iterating raises :class:`TimeoutError`. Changes nothing after the
        end. For ``loop.call_later``: it may be called while a task iterates.
        """
        self._body._expire()

    async def aclose(self) -> None:
        """Cancels the request, and closes the connection to the engine."""
        await self._body.aclose()

    def __repr__(self) -> str:
        return f"<Reply {self.status} from {'the gateway' if self.lease is None else self.lease.endpoint_name!r}>"


async def forward(
    scheduler: Scheduler,
    send: Any,
    *,
    attempts: int,
    stages: dict[str, Any] | None,
    answers_as: str | None,
    add_usage: bool,
    idle_limit: float | None,
    options: dict[str, Any],
) -> Reply:
    """See :meth:`slotwise.aio.Scheduler.forward`."""
    exclude = options.pop("exclude", None)
    path = str(options.get("path") or "")
    drop_usage = False
    if add_usage:
        options["body"], drop_usage = _core.add_usage(options["body"], None, path)
    exchange = _core.Exchange(
        scheduler,
        path,
        attempts=attempts,
        exclude=exclude,
        answers_as=answers_as,
        drop_usage=drop_usage,
        idle_limit=idle_limit,
        **(stages or {}),
    )
    body = Body(exchange)

    def ask(call: _core.ExchangeCall) -> Awaitable[Response]:
        if stages is None and not add_usage:
            return send(call.url)  # type: ignore[no-any-return]
        sent = call.body(path, options["body"])
        return send(Call(call.url, call.headers, sent))  # type: ignore[no-any-return]

    try:
        while True:
            match exchange.poll():
                case None:
                    await body._read()
                case ("send", call):
                    await body._send(ask, call)
                case ("dispatch",):
                    decision = await scheduler._decide(exclude=exchange.excluded, **options)
                    exchange.handle_decision(decision)
                case ("reply", status, headers):
                    if exchange.has_lease:
                        body._lease = Lease(scheduler, exchange)
                        body._lease._streaming = True
                    return Reply(status, headers, body, body._lease)
                case ("prefill", call):
                    await body._prefill(ask, call)
                case _:
                    await body._close()
    except BaseException:
        await body.aclose()
        raise


class Body:
    """The chunks of a reply, beginning with the buffered ones.

    The end of the chunks ends the request. A stream that breaks off, or sends no token within the
    idle limit, ends with an error event of the client's API; ``Reply.lease.outcome`` has the cause.
    Where no event can follow, the error of the HTTP client or
    :class:`slotwise.IdleTimeoutError` is raised.

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
        self._loop = asyncio.get_running_loop()
        self._limit = IdleLimit(exchange.wait)
        # The request, and the whole answer of the prefilling endpoint.
        self._prefilling: tuple[int, asyncio.Task[tuple[int, bytes]]] | None = None
        # A chunk comes next, and no output.
        self._flows = False
        # The time of the request is over.
        self._expired = False
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            if self._flows and (chunk := await self._step()) is not None:
                return chunk
            return await self._next()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Cancels the request if it is in flight, and drops the unread chunks."""
        if self._closed:
            return
        self._closed = True
        self._exchange.handle_client_disconnected()
        await self._close()

    def __del__(self) -> None:
        if not self._closed:
            self._limit.close()
            self._exchange.handle_client_disconnected()

    def _expire(self) -> None:
        if self._closed or self._exchange.ended:
            return
        self._expired, self._flows = True, False
        self._error = self._silent()
        self._exchange.handle_close("expired")
        self._limit.expire()

    async def _next(self) -> bytes:
        while True:
            match self._exchange.poll():
                case None:
                    if self._exchange.ended:
                        raise StopAsyncIteration
                    flows = self._prefilling is None and self._chunks is not None
                    passed_on = await (self._step() if flows else self._read())
                    if passed_on is not None:
                        return passed_on
                case ("body", chunk):
                    return chunk
                case ("end",):
                    raise StopAsyncIteration
                case ("break",):
                    error, self._error = self._error, None
                    raise error or ConnectionError(f"{self._url} broke off")
                case _:
                    await self._close()

    async def _prefill(self, ask: _Ask, call: _core.ExchangeCall) -> None:
        """Sends the request to the prefilling endpoint."""
        await self._close()
        task = asyncio.ensure_future(_whole(ask(call)))
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._prefilling = (call.request_id, task)

    async def _send(self, ask: _Ask, call: _core.ExchangeCall) -> None:
        """Sends the request to the endpoint. Returns with the headers of its response."""
        if self._response is not None:
            await self._close_response()
        url = self._url = call.url
        self._error = None
        try:
            asked = ask(call)
            response = await (self._limited if self._prefilling is None else self._wait)(asked)
        except _SupersededError:
            return
        except Exception as error:
            _log.warning("%s cannot be reached: %r", url, error)
            timed_out = isinstance(error, TimeoutError)
            self._exchange.handle_unreachable("timeout" if timed_out else "unreachable")
            return
        self._response = response
        self._chunks = aiter(response.aiter_bytes())
        self._exchange.handle_head(response.status_code, response.headers)

    async def _read(self) -> bytes | None:
        """Reads on in the response. Returns a chunk that the client gets as it is."""
        if self._chunks is None:
            await self._await_prefill()
            return None
        if self._prefilling is None:
            return await self._step()
        try:
            chunk = await self._wait(anext(self._chunks))
        except _SupersededError:
            return None
        except BaseException as error:
            self._handle_end(error)
            return None
        return chunk if self._exchange.handle_chunk(chunk) else None

    async def _step(self) -> bytes | None:
        """:meth:`_read` while no prefill is awaited: one coroutine and one native call."""
        assert self._chunks is not None, "only an open response flows"
        limit = self._limit
        since = limit.start(self._loop)
        try:
            chunk = await anext(self._chunks)
        except BaseException as error:
            self._handle_end(error)
            return None
        finally:
            limit.end()
        # A chunk that is passed on leaves no output behind, so the next one may follow at once.
        self._flows = self._exchange.handle_chunk(chunk, since, self._loop.time())
        return chunk if self._flows else None

    def _handle_end(self, error: BaseException) -> None:
        """The response ended: with its body, or with this error. Raises errors of the task."""
        self._flows = False
        close: CloseReason = "broken"
        if isinstance(error, StopAsyncIteration):
            close = "clean"
        elif isinstance(error, asyncio.CancelledError) and self._limit.expired():
            close, self._error = "timed_out", self._silent()
        elif isinstance(error, Exception):
            close = "timed_out" if isinstance(error, IdleTimeoutError) else "broken"
            self._error = error
        else:
            raise error
        self._limit.close()
        self._exchange.handle_close(close)
        outcome = self._exchange.outcome
        if outcome is not None and outcome.may_retry(sent=False):
            reason = self._error or f"status {outcome.status}"
            _log.warning("%s did not answer: %s, %s", self._url, outcome.end, reason)

    async def _wait(self, step: Awaitable[_T]) -> _T:
        """Awaits the endpoint, and reports the end of the prefill meanwhile.

        Raises :class:`slotwise.IdleTimeoutError` after the idle limit.
        """
        if self._prefilling is None:
            return await self._limited(step)
        # A task raises no StopAsyncIteration.
        task = asyncio.ensure_future(_ended(step))
        try:
            while self._prefilling is not None and not task.done():
                _, prefill = self._prefilling
                both = asyncio.wait({task, prefill}, return_when=asyncio.FIRST_COMPLETED)
                await self._limited(both)
                if prefill.done():
                    self._end_prefill()
                    if self._exchange.ended or not self._exchange.has_lease:
                        raise _SupersededError
            ended = await self._limited(task)
        except BaseException:
            task.cancel()
            task.add_done_callback(_discard)
            raise
        if ended is None:
            raise StopAsyncIteration
        return ended

    async def _await_prefill(self) -> None:
        """Awaits the prefill, before which the endpoint is not asked."""
        assert self._prefilling is not None, "the exchange reads only what it has sent for"
        request, prefill = self._prefilling
        try:
            await self._limited(asyncio.wait({prefill}))
        except IdleTimeoutError:
            prefill.cancel()
            self._prefilling = None
            self._exchange.handle_prefill_failure(request, "timeout")
        else:
            self._end_prefill()

    def _end_prefill(self) -> None:
        """Reports a prefill that has ended."""
        assert self._prefilling is not None
        (request, prefill), self._prefilling = self._prefilling, None
        try:
            status, body = prefill.result()
        except (Exception, asyncio.CancelledError) as error:
            _log.warning("the prefill of request %s failed: %r", request, error)
            timed_out = isinstance(error, TimeoutError)
            self._exchange.handle_prefill_failure(
                request, "timeout" if timed_out else "unreachable"
            )
        else:
            self._exchange.handle_prefilled(request, status, body)

    async def _limited(self, step: Awaitable[_T]) -> _T:
        """Awaits the endpoint. Raises :class:`slotwise.IdleTimeoutError` after the idle limit."""
        self._exchange.wait(self._limit.start(self._loop))
        try:
            return await step
        except asyncio.CancelledError as error:
            if self._limit.expired():
                raise self._silent() from error
            raise
        finally:
            self._limit.end()
            self._exchange.end_wait(self._loop.time())

    def _silent(self) -> TimeoutError:
        """The error of an endpoint that has sent nothing within the limit."""
        if self._expired:
            return TimeoutError("the request took too long")
        return IdleTimeoutError(*self._exchange.idle_limit())

    async def _close(self) -> None:
        """Closes the connections to the endpoints."""
        if self._prefilling is not None:
            (_, prefill), self._prefilling = self._prefilling, None
            prefill.cancel()
        await self._close_response()

    async def _close_response(self) -> None:
        """Closes the connection to the endpoint that answers."""
        self._flows = False
        self._limit.close()
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            await response.aclose()


class _SupersededError(Exception):
    """The failed prefill has ended the wait for the other endpoint."""


async def _whole(sent: Awaitable[Response]) -> tuple[int, bytes]:
    """The status and the whole body of a prefilling endpoint's answer."""
    response = await sent
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _core.Exchange.PREFILL_ANSWER:
                raise ValueError("the answer to the prefill is too long")
        return response.status_code, bytes(body)
    finally:
        await response.aclose()


async def _ended(step: Awaitable[_T]) -> _T | None:
    """The result, or None at the end of an iterator."""
    try:
        return await step
    except StopAsyncIteration:
        return None


def _discard(task: asyncio.Task[Any]) -> None:
    """Closes a response that comes too late."""
    if not task.cancelled() and task.exception() is None and hasattr(task.result(), "aclose"):
        _late.add(late := asyncio.ensure_future(task.result().aclose()))
        late.add_done_callback(_late.discard)


_late: set[asyncio.Future[None]] = set()
