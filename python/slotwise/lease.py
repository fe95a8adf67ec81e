"""A request in flight, and its answer. See :mod:`slotwise.aio`."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterable, Callable
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from ._core import Dispatch, Outcome, Progress, ResponseReader
from .errors import NotBegunError, RedirectError, UnknownRequestError
from .reports import CloseReason, FinishReason
from .stream import Stream
from .values import Failure, Usage
from .warn_once import warn_once

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .aio import Scheduler

_Chunk = TypeVar("_Chunk")
_Answer = TypeVar("_Answer")


class Lease:
    """A request in flight. It ends once: the first end counts, and those after it do nothing.

    The chapter "Leases" of the manual has the table of what each call does in each state. Leases in Node are the same. A lease
    that is never ended is cancelled when it is garbage collected, with a ``ResourceWarning``.
    """

    def __init__(self, scheduler: Scheduler, dispatch: Dispatch) -> None:
        self._scheduler = scheduler
        self._streaming = False
        self._reader: ResponseReader | None = None
        self._outcome: Outcome | None = None
        self._endpoint, self._name = dispatch.endpoint_id, dispatch.endpoint_name
        self.dispatch: Dispatch = dispatch
        """The decision."""
        self.usage: Usage = Usage()
        """What the engine said that the request used, for a :meth:`complete` that is not told. Set it before the end."""
        self.ended: bool = False
        """Whether it has ended."""

    @property
    def request_id(self) -> int:
        """The number of the request."""
        return self.dispatch.request_id

    @property
    def endpoint_id(self) -> int:
        """The endpoint that has the request, or had it last. A redirect changes it."""
        self._locate()
        return self._endpoint

    @property
    def endpoint_name(self) -> str:
        """The name of that endpoint."""
        self._locate()
        return self._name

    @property
    def answer(self) -> Answer:
        """What has been read of the answer, from :meth:`begin` on."""
        return Answer(self._reader)

    @property
    def outcome(self) -> Outcome | None:
        """How the answer ended; ``None`` before :meth:`finish`."""
        return self._outcome

    def begin(self, status: int, content_type: str) -> None:
        """The endpoint responds, with this status and ``Content-Type``. Called again, with the next endpoint's answer, it begins
        anew. After the end it does nothing."""
        reader = ResponseReader(status, content_type)
        if not self.ended:
            self._reader = reader

    def feed(self, chunk: Buffer) -> Progress:
        """Reads on in the answer, decoded and unchanged: its first token and all others count. A lease that has ended reads nothing.

        Raises :class:`slotwise.NotBegunError`, which is also a ``RuntimeError``, before :meth:`begin`.
        """
        if self.ended:
            return Progress()
        reader = self._begun()
        return self._tell(lambda: self._scheduler._feed(self.request_id, reader, chunk)) or Progress()

    def finish(self, close: CloseReason = "clean") -> Outcome:
        """Nothing more comes of the answer: ends the lease as the answer ended, unless it has ended, and returns how the answer
        ended.

        Raises :class:`slotwise.NotBegunError` before :meth:`begin`: without any answer, the lease ends by :meth:`fail` or
        :meth:`cancel`.
        """
        reader = self._begun()
        if self._outcome is None:

            def settle() -> None:
                self._outcome = self._scheduler._finish(self.request_id, reader, close)

            self._end(settle)
            self._outcome = self._outcome or reader.finish(close)
        return self._outcome

    def _begun(self) -> ResponseReader:
        if self._reader is None:
            raise NotBegunError("the answer has not begun: call begin() first", "not_begun")
        return self._reader

    def first_token(self) -> None:
        """The first token arrived. Called again, or after the end, it does nothing."""
        if not self.ended:
            self._tell(lambda: self._scheduler.handle_first_token(self.request_id))

    def tokens(self, tokens: int) -> None:
        """The answer grew by ``tokens``. After the end it does nothing."""
        if not self.ended:
            self._tell(lambda: self._scheduler.handle_tokens(self.request_id, tokens))

    def redirect(self, endpoint: int, failure: Failure = "unreachable") -> None:
        """The request went to another endpoint, say the first of ``dispatch.alternatives``: a failure of the first one.

        Raises :class:`slotwise.RedirectError` after the first token and after the end.
        """
        try:
            self._scheduler.redirect(self.request_id, endpoint, failure)
        except RedirectError as error:
            self.ended = self.ended or error.code == "unknown_request"
            raise
        self._locate()

    def complete(self, usage: Usage | None = None) -> bool:
        """The answer is complete. Returns whether this call ended the lease, as the other ends do.

        Numbers that no engine can mean are left out, with one :class:`slotwise.SlotwiseWarning`.
        """
        if self.ended:
            return False
        used, impossible = _possible(self.usage if usage is None else usage)
        ended = self._end(lambda: self._scheduler.complete(self.request_id, **used))
        for name, value in impossible:
            warn_once(f"usage.{name}", f"usage.{name} must be a number of tokens, not {value!r}: it is left out")
        return ended

    def fail(self, failure: Failure = "engine") -> bool:
        """The request failed, through no fault of the client's."""
        return self._end(lambda: self._scheduler.fail(self.request_id, failure))

    def cancel(self) -> bool:
        """The client went away."""
        return self._end(lambda: self._scheduler.cancel(self.request_id))

    def stream(
        self, chunks: AsyncIterable[_Chunk], *, idle_timeout: float | None | EllipsisType = ...
    ) -> Stream[_Chunk]:
        """Passes chunks on. The lease ends when they end, fail or are abandoned.

        After :meth:`begin`, they are read by :meth:`feed`, and the lease ends by :meth:`finish`. Otherwise the first one is the
        first token, and the lease is complete when they end.

        ``idle_timeout`` is the longest time in seconds to wait for the first token, and then for each further one. Unless given,
        it is :meth:`Dispatch.idle_limit`; ``None`` waits without a limit. After it, the lease fails with ``"timeout"``, ``chunks``
        are closed, and :class:`slotwise.IdleTimeoutError` is raised: some engines stop without closing their streams. Only time
        spent waiting for the endpoint counts, on the event loop's clock.
        """
        if isinstance(idle_timeout, (int, float)) and not idle_timeout > 0:
            raise ValueError(f"idle_timeout must be seconds above 0, or None, and not {idle_timeout}")
        stream = Stream(self, chunks, idle_timeout=idle_timeout)
        self._streaming = True
        return stream

    def _locate(self) -> None:
        """Where the request is now; where it was, once it is over."""
        endpoint = None if self.ended else self._scheduler.endpoint_of(self.request_id)
        if endpoint is not None and endpoint != self._endpoint:
            described = self._scheduler.endpoint(endpoint)
            self._endpoint, self._name = endpoint, "" if described is None else described.name

    def _tell(self, call: Callable[[], _Answer]) -> _Answer | None:
        """Tells the scheduler something of the request; ``None`` if it was ended behind the lease's back."""
        try:
            return call()
        except UnknownRequestError:
            self.ended = True
            return None

    def _end(self, end: Callable[[], bool | None]) -> bool:
        """Ends it unless it has ended: whether this call did. An end that raises is none."""
        if self.ended:
            return False
        was = self._tell(end)
        behind, self.ended = self.ended, True
        return not behind and was is not False

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

    def _close(self, close: CloseReason) -> None:
        """Ends the lease by the answer if it has begun, or else by what happened to its reader."""
        if self.ended:
            return
        if self._reader is not None:
            self.finish(close)
        elif close == "clean":
            self.complete()
        elif close == "broken":
            self.fail()
        elif close == "timed_out":
            self.fail("timeout")
        else:
            self.cancel()

    def __del__(self) -> None:
        if not getattr(self, "ended", True):
            was = repr(self)
            # First, since the warning may be an error.
            self.cancel()
            if not self._streaming:
                warnings.warn(f"{was} was never ended: it is cancelled now", ResourceWarning, source=self)

    def __copy__(self) -> Self:
        """The lease itself: a request in flight has one end, and so one lease."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a lease cannot be pickled: its request is in flight on this process's connections")

    def __repr__(self) -> str:
        state = "ended" if self.ended else "in flight"
        return f"<Lease of request {self.request_id} on {self.endpoint_name!r}, {state}>"


def _possible(usage: Usage) -> tuple[dict[str, int], list[tuple[str, Any]]]:
    """What of a usage can be, and what cannot. Its numbers come from engines, so they cost no request its end."""
    if not isinstance(usage, Usage):
        raise TypeError(f"usage must be a slotwise.Usage, not {type(usage)}")
    used: dict[str, int] = {}
    impossible: list[tuple[str, Any]] = []
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens"):
        value: Any = getattr(usage, name)
        if isinstance(value, int) and 0 <= value < 2**32:
            used[name] = value
        elif isinstance(value, int | float):
            impossible.append((name, value))
        elif value is not None:
            raise TypeError(f"usage.{name} must be an int, not {type(value)}")
    return used, impossible


class Answer:
    """What has been read of an answer."""

    def __init__(self, reader: ResponseReader | None) -> None:
        self._reader = reader

    @property
    def begun(self) -> bool:
        """Whether a stream has brought anything but an error: from there on, the request is never retried."""
        return self._reader is not None and self._reader.begun

    @property
    def tokens(self) -> int:
        """Tokens of the answer so far."""
        return 0 if self._reader is None else self._reader.tokens

    @property
    def exact(self) -> bool:
        """Whether they are exact."""
        return self._reader is not None and self._reader.exact

    @property
    def usage(self) -> Usage:
        """What the engine has said so far that the request used."""
        return Usage() if self._reader is None else self._reader.usage

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the engine stopped, as far as it has said so."""
        return None if self._reader is None else self._reader.finish_reason

    @property
    def outcome(self) -> Outcome | None:
        """How the answer ended, after :meth:`Lease.finish`."""
        return None if self._reader is None else self._reader.outcome

    @property
    def complete(self) -> bool:
        """Whether it has ended, and the client has all that it will ever get: an answer or a refusal."""
        return self.outcome is not None and self.outcome.complete
