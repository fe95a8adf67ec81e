"""Passes an answer's chunks on, and ends the lease with them. See :meth:`slotwise.aio.Lease.stream`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator
from types import EllipsisType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from .errors import IdleTimeoutError

if TYPE_CHECKING:
    from .lease import Lease

_Chunk = TypeVar("_Chunk")


class Stream(Generic[_Chunk]):
    """An asynchronous iterator that ends its lease. A class, since a generator that was never begun has no end either."""

    def __init__(
        self, lease: Lease, chunks: AsyncIterable[_Chunk], *, idle_timeout: float | None | EllipsisType = ...
    ) -> None:
        if not hasattr(type(chunks), "__aiter__"):
            hint = "an answer without a body is ended by finish() after begin(), or by complete()"
            if chunks is not None:
                hint = "pass an iterator over a response's body, say response.aiter_bytes()"
            raise TypeError(f"chunks must be an async iterable, not {type(chunks)}: {hint}")
        self._chunks = aiter(chunks)
        self._lease = lease
        self._begun = False
        self._reads = lease._reader is not None
        self._idle_timeout = idle_timeout
        self._left = self._limit(False)

    def __aiter__(self) -> AsyncIterator[_Chunk]:
        return self

    async def __anext__(self) -> _Chunk:
        try:
            chunk = await self._next()
        except IdleTimeoutError:
            raise
        except StopAsyncIteration:
            self._lease._close("clean")
            raise
        except Exception:
            self._lease._close("broken")
            raise
        except BaseException:
            self._lease._close("client_disconnected")
            raise
        try:
            came = True
            if self._reads:
                progress = self._lease.feed(chunk)  # type: ignore[arg-type]
                # Comments and empty events keep a connection open, but they are no tokens.
                came = progress.first_token or progress.tokens > 0 or not self._is_stream()
            elif not self._begun:
                self._lease.first_token()
        except BaseException:
            # The host's mistake, a chunk that is not bytes: no fault of the endpoint's.
            await self.aclose()
            raise
        if came:
            self._begun = True
            self._left = self._limit(True)
        return chunk

    async def aclose(self) -> None:
        """Abandons the stream, and what it reads from."""
        self._lease._close("client_disconnected")
        await self._close_chunks()

    async def _next(self) -> _Chunk:
        """The next chunk. Raises ``IdleTimeoutError`` when the endpoint has been waited for too long."""
        if math.isinf(self._left) or self._lease.ended:
            return await anext(self._chunks)
        loop = asyncio.get_running_loop()
        asked = loop.time()
        limit = asyncio.timeout(self._left)
        try:
            async with limit:
                chunk = await anext(self._chunks)
        except TimeoutError as error:
            if not limit.expired():
                raise  # the source has a time limit of its own
            self._lease._close("timed_out")
            await self._close_chunks()
            if self._lease.answer.complete:
                raise StopAsyncIteration from None  # only the connection did not end
            raise IdleTimeoutError(self._limit(self._begun), self._begun) from error
        self._left = max(self._left - (loop.time() - asked), 0.0)
        return chunk

    async def _close_chunks(self) -> None:
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()

    def _limit(self, started: bool) -> float:
        if self._idle_timeout is None:
            return math.inf
        if isinstance(self._idle_timeout, EllipsisType):
            return self._lease.dispatch.idle_limit(started)
        return self._idle_timeout

    def _is_stream(self) -> bool:
        return self._lease._reader is not None and self._lease._reader.is_stream

    def __del__(self) -> None:
        # Where the chunks were none, there is no lease to end.
        if hasattr(self, "_lease"):
            self._lease._close("client_disconnected")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream can be neither copied nor pickled: it is read once")
