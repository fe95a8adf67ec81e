"""Exceptions, one class for each kind of error.

``code`` stays the same when a message changes: match on it or on the class, never on the text.
"""

from __future__ import annotations

from typing import Any

from ._core import Evicted, Rejected


class SlotwiseError(Exception):
    """The base class of all errors of slotwise."""

    code: str
    """The kind of error, the same in every language."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


class ConfigError(SlotwiseError, ValueError):
    """A field of the configuration is invalid."""


class AdapterError(SlotwiseError, ValueError):
    """A description of a LoRA adapter was rejected."""


class EndpointError(SlotwiseError, ValueError):
    """An endpoint was not added or changed."""


class UnknownEndpointError(SlotwiseError, LookupError):
    """The endpoint is not in the pool."""


class UnknownRequestError(SlotwiseError, LookupError):
    """The request is not in flight: it has ended, or its id was never assigned."""


class NotBegunError(SlotwiseError, RuntimeError):
    """A lease method that reads the answer was called before ``begin``."""


class CostFunctionError(SlotwiseError, RuntimeError):
    """A cost function recursed too deeply: it called ``pick``, or ``acquire`` without a wait."""


class ForkError(SlotwiseError, RuntimeError):
    """Another thread was using the scheduler when this process was forked.

    The state of the scheduler in this process may be inconsistent.
    """


class SlotwiseWarning(UserWarning):
    """An implausible value, such as milliseconds instead of seconds. Issued once per kind."""


class LegError(SlotwiseError, LookupError):
    """A request has no such stage on another endpoint, or the stage has ended."""


class RedirectError(SlotwiseError, ValueError):
    """A request cannot be redirected. It stays on its endpoint."""


class KvEventError(SlotwiseError, ValueError):
    """A KV event was rejected. No part of it was applied."""


class SnapshotError(SlotwiseError, ValueError):
    """A snapshot was rejected. The scheduler is unchanged."""


class PeerError(SlotwiseError, ValueError):
    """A message of another gateway was rejected. No part of it was applied."""


class WireError(SlotwiseError, ValueError):
    """Bytes are malformed. No part of them was applied."""

    offset: int
    """The position of the first malformed byte, from the start of the input."""

    def __init__(self, message: str, code: str, offset: int) -> None:
        super().__init__(message, code)
        self.offset = offset

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.code, self.offset)


class RejectedError(SlotwiseError):
    """A request was rejected or evicted."""

    reason: str
    """The reason of the :class:`slotwise.Rejected`, or of the :class:`slotwise.Evicted` if the
    request waited."""
    http_status: int
    """The recommended HTTP status."""
    retry_after: float | None
    """Seconds after which a retry may succeed, if known."""
    refusal: Rejected | Evicted
    """The decision."""

    def __init__(self, refusal: Rejected | Evicted) -> None:
        super().__init__(refusal.message, refusal.reason)
        self.reason = refusal.reason
        self.http_status = refusal.http_status
        self.retry_after = refusal.retry_after
        self.refusal = refusal

    def __reduce__(self) -> Any:
        raise TypeError(
            "a RejectedError cannot be pickled; pickle its reason, http_status and retry_after"
        )


class EvictedError(RejectedError):
    """A request waited in the queue and was evicted."""

    queue_time: float
    """Seconds that the request waited."""

    def __init__(self, evicted: Evicted) -> None:
        super().__init__(evicted)
        self.queue_time = evicted.queue_time


class IdleTimeoutError(SlotwiseError, TimeoutError):
    """An endpoint sent no data within the idle limit. The request has failed with
    ``"timeout"``."""

    seconds: float
    """Seconds that the lease waited."""
    begun: bool
    """Whether the answer had begun. If not, the request may be retried on another endpoint."""

    def __init__(self, seconds: float, begun: bool) -> None:
        what = "no further token" if begun else "no first token"
        super().__init__(f"{what} within {seconds:.3f} s", "idle_timeout")
        self.seconds = seconds
        self.begun = begun

    def __reduce__(self) -> Any:
        return type(self), (self.seconds, self.begun)
