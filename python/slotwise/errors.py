"""Exceptions, one class for each kind of error.

``code`` stays the same when a message changes: match on it or on the class, never on the text.
"""

from __future__ import annotations

from typing import Any

from ._core import Evicted, Rejected


class SlotwiseError(Exception):
    """What all of slotwise's errors have in common."""

    code: str
    """The kind of error, the same in every language."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


class ConfigError(SlotwiseError, ValueError):
    """A field of the configuration cannot be used."""


class EndpointError(SlotwiseError, ValueError):
    """An endpoint was not added or changed."""


class UnknownEndpointError(SlotwiseError, LookupError):
    """There is no such endpoint, or no longer."""


class UnknownRequestError(SlotwiseError, LookupError):
    """There is no such request in flight: it is over, or never was."""


class NotBegunError(SlotwiseError, RuntimeError):
    """A lease was asked for an answer that has not begun."""


class CostFunctionError(SlotwiseError, RuntimeError):
    """A cost function called what calls it: ``pick``, or ``acquire`` where the request does not
    wait."""


class ForkError(SlotwiseError, RuntimeError):
    """Another thread was using the scheduler when this process was forked: its state here is not
    whole."""


class SlotwiseWarning(UserWarning):
    """A value that cannot be meant, say milliseconds in place of seconds. Each kind is given
    once."""


class RedirectError(SlotwiseError, ValueError):
    """The request stays where it is."""


class KvEventError(SlotwiseError, ValueError):
    """A KV event was not applied. Nothing of it was."""


class SnapshotError(SlotwiseError, ValueError):
    """A snapshot was not restored. Nothing has changed."""


class WireError(SlotwiseError, ValueError):
    """Bytes could not be read. Nothing of them was applied."""

    offset: int
    """Of the first byte that is not as it should be, counted from the beginning of what was
    given."""

    def __init__(self, message: str, code: str, offset: int) -> None:
        super().__init__(message, code)
        self.offset = offset

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.code, self.offset)


class RejectedError(SlotwiseError):
    """A request that was awaited does not go."""

    reason: str
    """Why: one of the reasons of :class:`slotwise.Rejected`, or of :class:`slotwise.Evicted` if it
    has waited."""
    http_status: int
    """The recommended HTTP status."""
    retry_after: float | None
    """Seconds after which another try may be worth it, if that is known."""
    refusal: Rejected | Evicted
    """The decision."""

    def __init__(self, refusal: Rejected | Evicted) -> None:
        super().__init__(refusal.message, refusal.reason)
        self.reason = refusal.reason
        self.http_status = refusal.http_status
        self.retry_after = refusal.retry_after
        self.refusal = refusal

    def __reduce__(self) -> Any:
        raise TypeError("a RejectedError cannot be pickled; pickle its reason, http_status and retry_after")


class EvictedError(RejectedError):
    """A request that was awaited has waited, and does not go."""

    queue_time: float
    """How many seconds it waited."""

    def __init__(self, evicted: Evicted) -> None:
        super().__init__(evicted)
        self.queue_time = evicted.queue_time


class IdleTimeoutError(SlotwiseError, TimeoutError):
    """An endpoint sent nothing of an answer for too long. The request has failed with
    ``"timeout"``."""

    seconds: float
    """How long the lease waited."""
    begun: bool
    """Whether anything of the answer had come: if not, another endpoint may be asked."""

    def __init__(self, seconds: float, begun: bool) -> None:
        what = "no further token" if begun else "no first token"
        super().__init__(f"{what} within {seconds:.3f} s", "idle_timeout")
        self.seconds = seconds
        self.begun = begun

    def __reduce__(self) -> Any:
        return type(self), (self.seconds, self.begun)
