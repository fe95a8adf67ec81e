"""The native part of ``slotwise``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Self, final

from typing_extensions import Buffer, disjoint_base

from .values import (
    Blocks,
    Candidates,
    Config,
    Endpoint,
    EvictReason,
    Explanation,
    Failure,
    KvEvent,
    RejectReason,
    RemovedEndpoint,
    Role,
    Stats,
)

__all__ = ["Dispatch", "Evicted", "Rejected", "Scheduler", "__version__", "default_config", "default_options"]

__version__: Final[str]

def default_config() -> str:
    """The default configuration as JSON."""

def default_options() -> str:
    """The defaults of what the default configuration does without, as JSON."""

@final
class Dispatch:
    """The request goes now, and to this endpoint. Its load is already counted there."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("request", "endpoint", "name")

    @property
    def request(self) -> int:
        """The name of the request from now on."""
    @property
    def endpoint(self) -> int:
        """Where it goes."""
    @property
    def name(self) -> str:
        """That endpoint's name."""
    @property
    def alternatives(self) -> tuple[int, ...]:
        """Where it could go instead, best first. See ``Scheduler.redirect``."""
    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt: counted, or estimated from text."""
    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that the endpoint is expected to find in its cache."""
    @property
    def best_cached_tokens(self) -> int:
        """The most that any endpoint of the pool is expected to find."""
    @property
    def cost(self) -> float:
        """What the endpoint costs this request, in seconds."""
    @property
    def queued(self) -> float:
        """How many seconds the request waited for the decision."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Rejected:
    """The request does not go. Nothing was reserved."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("reason", "http_status", "retry_after")

    @property
    def reason(self) -> RejectReason:
        """Why."""
    @property
    def http_status(self) -> int:
        """The HTTP status that says it best."""
    @property
    def retry_after(self) -> float | None:
        """Seconds after which another try may be worth it, if that can be told."""
    @property
    def message(self) -> str:
        """All of it in a sentence."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Evicted:
    """A request that waited does not go. Nothing is reserved."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("request", "reason", "retry_after")

    @property
    def request(self) -> int:
        """The request."""
    @property
    def reason(self) -> EvictReason:
        """Why."""
    @property
    def http_status(self) -> int:
        """The HTTP status that says it best."""
    @property
    def retry_after(self) -> float | None:
        """Seconds after which another try may be worth it, if that can be told."""
    @property
    def queued(self) -> float:
        """How many seconds it waited."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@disjoint_base
class Scheduler:
    """Decides where requests go, and keeps account of all that follows from it.

    ``now`` is seconds on the clock of ``time.monotonic()``, and the time of the call unless given; it never goes back. What
    is refused leaves everything as it was. Methods may be called from any thread.
    """

    def __new__(
        cls,
        config: Config | Mapping[str, Any] | None = None,
        *,
        scorer: Callable[[Candidates], Iterable[float]] | None = None,
    ) -> Self:
        """A scheduler with no endpoints.

        ``scorer`` is called once for each decision with the endpoints that could have the request, and returns what each
        costs in seconds. If it raises, or returns something else, the built-in cost decides and the error goes to
        ``sys.unraisablehook``.

        Raises ``ConfigError``, ``TypeError`` or ``ValueError``, which name the field.
        """

    @property
    def config(self) -> Config:
        """The configuration."""
    def endpoint(self, endpoint: int) -> Endpoint | None:
        """How the endpoint was described, if it is in the pool."""
    def endpoint_named(self, name: str) -> int | None:
        """The endpoint of that name."""
    def endpoint_of(self, request: int) -> int | None:
        """The endpoint that a request in flight is on. It may have left the pool."""
    def add_endpoint(
        self, endpoint: Endpoint | Mapping[str, Any] | str, *, now: float | None = None
    ) -> int:
        """Takes an endpoint into the pool, described or only named, and returns its id.

        Raises ``EndpointError`` when the name is taken or the pool is full.
        """
    def update_endpoint(
        self,
        endpoint: int,
        description: Endpoint | Mapping[str, Any] | str,
        *,
        now: float | None = None,
    ) -> None:
        """Describes an endpoint anew. What is in flight there stays.

        Raises ``EndpointError`` when there is no such endpoint or another has that name.
        """
    def remove_endpoint(self, endpoint: int, *, now: float | None = None) -> RemovedEndpoint:
        """Takes an endpoint out of the pool, and says which requests are still on it.

        Raises ``UnknownEndpointError``.
        """
    def drain_endpoint(self, endpoint: int, *, now: float | None = None) -> None:
        """Sends no new requests to the endpoint; those in flight go on. Raises ``UnknownEndpointError``."""
    def resume_endpoint(self, endpoint: int, *, now: float | None = None) -> None:
        """Takes a draining endpoint back into service. Raises ``UnknownEndpointError``."""
    def handle_load(
        self,
        endpoint: int,
        *,
        waiting: int | None = None,
        running: int | None = None,
        kv_usage: float | None = None,
        sampled_at: float | None = None,
        now: float | None = None,
    ) -> None:
        """An endpoint reported its load. Leave out what it does not say. Raises ``UnknownEndpointError``."""
    def handle_adapters(
        self, endpoint: int, active: Sequence[str], *, slots: int = 0, now: float | None = None
    ) -> None:
        """An endpoint reported the LoRA adapters in use and, unless it is zero, how many fit side by side.

        Raises ``UnknownEndpointError``.
        """
    def handle_kv_event(self, endpoint: int, event: KvEvent, *, now: float | None = None) -> None:
        """An engine published a change of its KV cache. With the first event its endpoint becomes precise.

        Raises ``KvEventError``, and nothing of the event was applied.
        """
    def snapshot(self) -> bytes:
        """What endpoints hold in their caches. Loads, speeds and requests in flight are not in it: they are measured anew.

        Equal schedulers give equal bytes, in every language.
        """
    def restore(self, snapshot: Buffer, *, now: float | None = None) -> int:
        """Takes what a snapshot says for what the endpoints hold: those of the same name, whose blocks are as long as they were.

        Returns how many these are. Add the endpoints first, and restore before the first ``pick``.

        Raises ``SnapshotError``, and nothing has changed.
        """
    def pick(
        self,
        prompt: str | Buffer | Blocks | Sequence[int],
        *,
        model: str = "",
        adapter: str | None = None,
        cache_salt: str | None = None,
        priority: int = 0,
        flow: str = "",
        session: str | None = None,
        deadline: float | None = None,
        expected_output: int = 0,
        role: Role = "unified",
        labels: dict[str, str] | None = None,
        now: float | None = None,
    ) -> Dispatch | Rejected:
        """Chooses the endpoint that costs this request the least, and reserves it there in the same call.

        The prompt is text (``str``, ``bytes`` or another buffer of bytes), token ids (a buffer of wider integers, a list or
        a tuple) or ``Blocks``. A higher ``priority`` is more important, and a negative one may be shed. ``deadline`` is the
        latest useful time of the first token, on the clock of ``now``.
        """
    def submit(
        self,
        prompt: str | Buffer | Blocks | Sequence[int],
        *,
        model: str = "",
        adapter: str | None = None,
        cache_salt: str | None = None,
        priority: int = 0,
        flow: str = "",
        session: str | None = None,
        deadline: float | None = None,
        expected_output: int = 0,
        role: Role = "unified",
        labels: dict[str, str] | None = None,
        ttl: float | None = None,
        weight: float = 1.0,
        now: float | None = None,
    ) -> int | Rejected:
        """Hands a request to flow control, and returns its name, or why it need not wait at all.

        What becomes of it says ``poll_decision``: call it until it returns ``None``, now, after each input, and at
        ``next_timeout``. ``flow`` is who asks, the unit of fairness, and ``weight`` what that flow may have, compared with others
        of the same priority. ``ttl`` is how long the request may wait: ``FlowConfig.ttl`` unless given, infinity without a
        limit. A ``scorer`` is not asked.
        """
    def poll_decision(self, *, now: float | None = None) -> Dispatch | Evicted | None:
        """The next decision about a request that was submitted: it goes, and is reserved, or it waits no longer.

        ``None`` when there is nothing to decide before the next input or ``next_timeout``.
        """
    def next_timeout(self) -> float | None:
        """When ``poll_decision`` has something to decide although nothing has happened, on the clock of ``now``."""
    def victims(self, most: int = 64) -> list[int]:
        """Submitted requests of negative priority that are in flight while others of higher priority wait.

        The least important first, and of those the newest. Whoever wants to make room aborts them, and says so with ``cancel``.
        """
    def explain(
        self,
        prompt: str | Buffer | Blocks | Sequence[int],
        *,
        model: str = "",
        adapter: str | None = None,
        cache_salt: str | None = None,
        priority: int = 0,
        flow: str = "",
        session: str | None = None,
        deadline: float | None = None,
        expected_output: int = 0,
        role: Role = "unified",
        labels: dict[str, str] | None = None,
        now: float | None = None,
    ) -> Explanation:
        """What ``pick`` would decide and why, without doing it. ``print`` shows it as a table."""
    def handle_first_token(self, request: int, *, now: float | None = None) -> None:
        """The first token of a request arrived. Raises ``UnknownRequestError``."""
    def handle_tokens(self, request: int, tokens: int, *, now: float | None = None) -> None:
        """The answer of a request grew by ``tokens``. Optional. Raises ``UnknownRequestError``."""
    def complete(
        self,
        request: int,
        *,
        prompt_tokens: int | None = None,
        cached_tokens: int | None = None,
        completion_tokens: int | None = None,
        now: float | None = None,
    ) -> None:
        """A request is done: releases what it reserved, and learns from what it used. Raises ``UnknownRequestError``."""
    def fail(self, request: int, failure: Failure = "engine", *, now: float | None = None) -> None:
        """A request failed through no fault of the client's. Raises ``UnknownRequestError``."""
    def cancel(self, request: int, *, now: float | None = None) -> bool:
        """The client went away. Returns whether the request was in flight, or waited."""
    def redirect(self, request: int, endpoint: int, *, now: float | None = None) -> None:
        """A request without a first token went to another endpoint than was decided. Raises ``RedirectError``."""
    def stats(self) -> Stats:
        """Counters and gauges."""
    def __reduce__(self) -> Any:
        """Raises ``TypeError``: a live scheduler stands for requests in flight."""
