"""Passes the chunks of an answer on, and ends the lease when they end.

See :meth:`slotwise.aio.Lease.stream`.
"""

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
    """An asynchronous iterator that ends its lease.

    This is a class because a generator that was never started does not run its ``finally`` block.
    """

    def __init__(
        self,
        lease: Lease,
        chunks: AsyncIterable[_Chunk],
        *,
        idle_timeout: float | None | EllipsisType = ...,
    ) -> None:
        if not hasattr(type(chunks), "__aiter__"):
            hint = "an answer without a body is ended by finish() after begin(), or by complete()"
            if chunks is not None:
                hint = "pass an iterator over a response's body, say response.aiter_bytes()"
            raise TypeError(f"chunks must be an async iterable, not {type(chunks)}: {hint}")
        self._chunks = aiter(chunks)
        self._lease = lease
        limit = math.inf if idle_timeout is None else idle_timeout
        lease._set_idle_limit(None if isinstance(limit, EllipsisType) else limit)

    def __aiter__(self) -> AsyncIterator[_Chunk]:
        return self

    async def __anext__(self) -> _Chunk:
        chunk = await self._next()
        try:
            self._lease._pass(chunk)
        except BaseException:
            # The chunk is not bytes: an error of the host, not of the endpoint.
            await self.aclose()
            raise
        return chunk

    async def aclose(self) -> None:
        """Abandons the stream: cancels the request, and closes the source of the chunks."""
        self._lease._close("client_disconnected")
        await self._close_chunks()

    async def _next(self) -> _Chunk:
        """The next chunk. Raises ``IdleTimeoutError`` when the idle limit expires."""
        loop = asyncio.get_running_loop()
        left = self._lease._wait(loop.time())
        limit = None if left is None else asyncio.timeout(left)
        try:
            if limit is None:
                return await anext(self._chunks)
            async with limit:
                return await anext(self._chunks)
        except StopAsyncIteration:
            self._lease._close("clean")
            raise
        except Exception as error:
            if limit is None or not limit.expired() or not isinstance(error, TimeoutError):
                self._lease._close("broken")
                raise
            await self._time_out(error)
        except BaseException:
            self._lease._close("client_disconnected")
            raise
        finally:
            self._lease._end_wait(loop.time())
        raise StopAsyncIteration

    async def _time_out(self, error: TimeoutError) -> None:
        """Ends the lease. Raises unless the answer is complete and only its connection is open."""
        limit, begun = self._lease._idle_limit()
        self._lease._close("timed_out")
        await self._close_chunks()
        if not self._lease.answer.complete:
            raise IdleTimeoutError(limit, begun) from error

    async def _close_chunks(self) -> None:
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()

    def __del__(self) -> None:
        # The lease is absent if the constructor rejected the chunks.
        if hasattr(self, "_lease"):
            self._lease._close("client_disconnected")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream can be neither copied nor pickled: it is read once")
