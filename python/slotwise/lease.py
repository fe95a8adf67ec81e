"""A request in flight. See :mod:`slotwise.aio`."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterable
from types import EllipsisType, TracebackType
from typing import Any, NoReturn, Self, TypeVar

from . import _core
from .idle_limit import limit_of
from .stream import Stream
from .values import Usage
from .warn_once import warn_once

_Chunk = TypeVar("_Chunk")


class Lease(_core.Lease):
    """A request in flight. A lease ends once: only the first call to ``complete``, ``fail``,
    ``cancel`` or ``finish`` takes effect.

    The chapter "Leases" of the manual has a table of each call's effect in each state. Leases in
    Node behave the same. A lease that is never ended is cancelled when it is garbage collected,
    with a ``ResourceWarning``.
    """

    usage: Usage = Usage()
    """The usage that :meth:`complete` reports if it is called without one."""

    _streaming: bool = False
    """Whether the end of a stream ends the lease."""

    def complete(self, usage: Usage | None = None) -> bool:
        """Completes the request. Returns whether this call ended the lease.

        Implausible counts are dropped, with one :class:`slotwise.SlotwiseWarning` per field.
        """
        given = self.usage if usage is None else usage
        ended, implausible = self._complete(given)
        for name in implausible:
            value = getattr(given, name)
            warn_once(
                f"usage.{name}",
                f"usage.{name} must be a number of tokens, not {value!r}: it is left out",
            )
        return ended

    def stream(
        self, chunks: AsyncIterable[_Chunk], *, idle_timeout: float | None | EllipsisType = ...
    ) -> Stream[_Chunk]:
        """Passes chunks on. The lease ends when the chunks end, fail or are abandoned.

        After ``begin``, each chunk is read as by ``feed``, and the lease ends as by ``finish``.
        Without ``begin``, the first chunk is the first token, and the end of the chunks completes
        the request.

        ``idle_timeout`` is the longest time in seconds to wait for the first token, and then for
        each further one. It defaults to :meth:`Dispatch.idle_limit`; ``None`` sets no limit. When
        it expires, the request fails with ``"timeout"``, ``chunks`` are closed, and
        :class:`slotwise.IdleTimeoutError` is raised: some engines stop without closing their
        streams. Only time spent waiting for the endpoint counts, on the event loop's clock.
        """
        stream = Stream(self, chunks, idle_limit=limit_of(idle_timeout))
        self._streaming = True
        return stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            if not self._streaming:
                self._close("clean")
        elif issubclass(kind, Exception):
            self._close("broken")
        else:
            self._close("client_disconnected")

    def __del__(self) -> None:
        if not self.ended:
            was = repr(self)
            # First, since the warning may be an error.
            self.cancel()
            if not self._streaming:
                warnings.warn(
                    f"{was} was never ended: it is cancelled now", ResourceWarning, source=self
                )

    def __copy__(self) -> Self:
        """Returns the lease itself: each request in flight has exactly one lease."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a lease cannot be pickled: its request is in flight on this process's connections"
        )

    def __repr__(self) -> str:
        state = "ended" if self.ended else "in flight"
        return f"<Lease of request {self.request_id} on {self.endpoint_name!r}, {state}>"
