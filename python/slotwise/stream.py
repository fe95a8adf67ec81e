"""Passes the chunks of an answer on, and ends the lease when they end.

See :meth:`slotwise.aio.Lease.stream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from .errors import IdleTimeoutError
from .idle_limit import IdleLimit

if TYPE_CHECKING:
    from .lease import Lease
    from .reports import CloseReason

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
        idle_limit: float | None = None,
    ) -> None:
        if not hasattr(type(chunks), "__aiter__"):
            hint = "an answer without a body is ended by finish() after begin(), or by complete()"
            if chunks is not None:
                hint = "pass an iterator over a response's body, say response.aiter_bytes()"
            raise TypeError(f"chunks must be an async iterable, not {type(chunks)}: {hint}")
        self._chunks = aiter(chunks)
        self._lease = lease
        self._limit = IdleLimit(lease._wait)
        lease._set_idle_limit(idle_limit)

    def __aiter__(self) -> AsyncIterator[_Chunk]:
        return self

    async def __anext__(self) -> _Chunk:
        # One coroutine for each chunk: another one takes as long as all that the lease does.
        loop, limit = asyncio.get_running_loop(), self._limit
        since = limit.start(loop)
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._close("clean")
            raise
        except asyncio.CancelledError as error:
            if not limit.expired():
                self._close("client_disconnected")
                raise
            await self._time_out(error)
        except BaseException as error:
            self._close("broken" if isinstance(error, Exception) else "client_disconnected")
            raise
        else:
            try:
                self._lease._pass(chunk, since, loop.time())
            except BaseException:
                # The chunk is not bytes: an error of the host, not of the endpoint.
                await self.aclose()
                raise
            return chunk
        finally:
            limit.end()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Abandons the stream: cancels the request, and closes the source of the chunks."""
        self._close("client_disconnected")
        await self._close_chunks()

    def _close(self, close: CloseReason) -> None:
        """Ends the lease, unless it has ended."""
        self._limit.close()
        self._lease._close(close)

    async def _time_out(self, error: asyncio.CancelledError) -> None:
        """Ends the lease. Raises unless the answer is complete and only its connection is open."""
        limit, begun = self._lease._idle_limit()
        self._close("timed_out")
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
            self._close("client_disconnected")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream can be neither copied nor pickled: it is read once")
