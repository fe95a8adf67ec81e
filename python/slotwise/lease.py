"""A request in flight, and its answer. See :mod:`slotwise.aio`."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterable, AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from ._core import Dispatch, Outcome, Progress, ResponseReader
from .errors import UnknownRequestError
from .reports import Close, FinishReason
from .values import Failure, Usage

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .aio import Scheduler

_Chunk = TypeVar("_Chunk")
_Told = TypeVar("_Told")


class Lease:
    """A request in flight. The first of its ends counts; those after it do nothing."""

    def __init__(self, scheduler: Scheduler, dispatch: Dispatch) -> None:
        self._scheduler = scheduler
        self._streaming = False
        self._reader: ResponseReader | None = None
        self.dispatch: Dispatch = dispatch
        """The decision."""
        self.usage: Usage = Usage()
        """What the engine said that the request used. Set it before the end."""
        self.ended: bool = False
        """Whether the request is over, as far as this lease was told."""

    @property
    def request(self) -> int:
        """The name of the request."""
        return self.dispatch.request

    @property
    def endpoint(self) -> int | None:
        """Where the request is, also after a redirection; ``None`` when it is over."""
        return self._scheduler.endpoint_of(self.request)

    @property
    def name(self) -> str:
        """The name of the endpoint that was decided on."""
        return self.dispatch.name

    @property
    def answer(self) -> Answer:
        """What has been read of the answer, from :meth:`begin` on."""
        return Answer(self._reader)

    def begin(self, status: int, content_type: str) -> None:
        """The endpoint responds, with this status and ``Content-Type``. Called again, another response is read from its beginning."""
        if not self.ended:
            self._reader = ResponseReader(status, content_type)

    def feed(self, chunk: Buffer) -> Progress:
        """Reads on in the answer, decoded and unchanged: its first token and all others count. A lease that has ended reads nothing.

        Raises ``RuntimeError`` before :meth:`begin`.
        """
        if self.ended:
            return Progress()
        return self._scheduler._feed(self.request, self._begun(), chunk)

    def finish(self, close: Close = "clean") -> Outcome:
        """Nothing more comes of the answer: ends the lease as the answer ended, and says how.

        Raises ``RuntimeError`` before :meth:`begin`: without any answer, the lease ends by :meth:`fail` or :meth:`cancel`.
        """
        reader = self._begun()
        if self.ended:
            return reader.finish(close)
        return self._end(lambda: self._scheduler._finish(self.request, reader, close))

    def _begun(self) -> ResponseReader:
        if self._reader is None:
            raise RuntimeError("the answer has not begun: call begin() first")
        return self._reader

    def first_token(self) -> None:
        """The first token arrived."""
        if not self.ended:
            self._scheduler.handle_first_token(self.request)

    def tokens(self, tokens: int) -> None:
        """The answer grew by ``tokens``."""
        if not self.ended:
            self._scheduler.handle_tokens(self.request, tokens)

    def redirect(self, endpoint: int) -> None:
        """The request went to another endpoint, say the first of ``dispatch.alternatives``."""
        self._scheduler.redirect(self.request, endpoint)

    def complete(self, usage: Usage | None = None) -> None:
        """The answer is complete."""
        if not self.ended:
            used = usage or self.usage
            self._end(
                lambda: self._scheduler.complete(
                    self.request,
                    prompt_tokens=used.prompt_tokens,
                    cached_tokens=used.cached_tokens,
                    completion_tokens=used.completion_tokens,
                )
            )

    def fail(self, failure: Failure = "engine") -> None:
        """The request failed."""
        if not self.ended:
            self._end(lambda: self._scheduler.fail(self.request, failure))

    def cancel(self) -> None:
        """The client went away."""
        if not self.ended:
            self._end(lambda: self._scheduler.cancel(self.request))

    def stream(self, chunks: AsyncIterable[_Chunk]) -> Stream[_Chunk]:
        """Passes chunks on. The lease ends when they end, fail or are abandoned.

        After :meth:`begin`, they are read by :meth:`feed`, and the lease ends by :meth:`finish`. Otherwise the first one is the
        first token, and the lease is complete when they end.
        """
        self._streaming = True
        return Stream(self, chunks)

    def _end(self, tell: Callable[[], _Told]) -> _Told:
        """An end that raises is none, unless the request is over already."""
        try:
            told = tell()
        except UnknownRequestError:
            self.ended = True
            raise
        self.ended = True
        return told

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
            self._close("client_left")

    def _close(self, close: Close) -> None:
        """Ends the lease by the answer if it has begun, or else by what happened to whoever reads it."""
        if self._reader is not None:
            self.finish(close)
        elif close == "clean":
            self.complete()
        elif close == "broken":
            self.fail()
        else:
            self.cancel()

    def __del__(self) -> None:
        if not self.ended:
            if not self._streaming:
                warnings.warn(f"{self!r} was never ended: it is cancelled now", ResourceWarning, source=self)
            self.cancel()

    def __repr__(self) -> str:
        state = "ended" if self.ended else "in flight"
        return f"<Lease of request {self.request} on {self.name!r}, {state}>"


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


class Stream(Generic[_Chunk]):
    """An asynchronous iterator that ends its lease. A class, since a generator that nobody began has no end either."""

    def __init__(self, lease: Lease, chunks: AsyncIterable[_Chunk]) -> None:
        self._lease = lease
        self._chunks = aiter(chunks)
        self._begun = False
        self._reads = lease._reader is not None

    def __aiter__(self) -> AsyncIterator[_Chunk]:
        return self

    async def __anext__(self) -> _Chunk:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._lease._close("clean")
            raise
        except Exception:
            self._lease._close("broken")
            raise
        except BaseException:
            self._lease._close("client_left")
            raise
        if self._reads:
            self._lease.feed(chunk)  # type: ignore[arg-type]
        elif not self._begun:
            self._begun = True
            self._lease.first_token()
        return chunk

    async def aclose(self) -> None:
        """Abandons the stream, and what it reads from."""
        self._lease._close("client_left")
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()

    def __del__(self) -> None:
        try:
            self._lease._close("client_left")
        except UnknownRequestError:
            pass  # it was ended behind the lease's back
