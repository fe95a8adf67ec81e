"""The native part of ``slotwise``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Self, final

from typing_extensions import Buffer, disjoint_base

from .config import Config, Endpoint, Role
from .reports import (
    Api,
    CloseReason,
    End,
    Engine,
    FinishReason,
    HashAlgorithm,
    SkippedEvents,
    MetricField,
    PriorityOrder,
    ErrorKind,
    RefusalShape,
    Retry,
    Disposition,
)
from .values import (
    Allow,
    Blocks,
    CacheUse,
    Candidates,
    EvictReason,
    Explanation,
    Failure,
    KvEvent,
    RejectReason,
    RemovedEndpoint,
    Stats,
    Usage,
)

__all__ = [
    "Answer",
    "AnswerFilter",
    "Dispatch",
    "Evicted",
    "KvReport",
    "Lease",
    "ModelFilter",
    "Outcome",
    "Progress",
    "Rejected",
    "ResponseReader",
    "Scheduler",
    "__version__",
    "add_usage",
    "after_fork",
    "api_of_path",
    "attributes_of_dispatch",
    "attributes_of_refusal",
    "attributes_of_usage",
    "block_hashes",
    "default_config",
    "default_options",
    "outcome_of_status",
    "read_headers",
    "read_kv_batch",
    "read_kv_frames",
    "read_metrics",
    "read_orca",
    "read_request",
    "refusal",
    "replay_request",
    "rewrite_model",
]

__version__: Final[str]

def default_config() -> str:
    """The default configuration as JSON."""

def default_options() -> str:
    """The defaults of what the default configuration does without, as JSON."""

@final
class Dispatch:
    """The request goes now, and to this endpoint. Its load is already counted there."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("request_id", "endpoint_id", "endpoint_name")

    @property
    def request_id(self) -> int:
        """The request's id."""
    @property
    def endpoint_id(self) -> int:
        """Where it goes."""
    @property
    def endpoint_name(self) -> str:
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
    def first_token_in(self) -> float:
        """Predicted seconds to the first token. Response headers may come long before it."""
    def idle_limit(self, started: bool = False) -> float:
        """The longest time in seconds in which the endpoint may send nothing.

        Until the first token, 30 s or ten times ``first_token_in``, whichever is longer; then 60 s.
        """
    @property
    def queue_time(self) -> float:
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
        """The recommended HTTP status."""
    @property
    def retry_after(self) -> float | None:
        """Seconds after which another try may be worth it, if that is known."""
    @property
    def message(self) -> str:
        """Why, and when to retry."""
    @property
    def sentence(self) -> str:
        """Why, in one sentence for the client. ``not_served`` names the model that was asked for
        and those served."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Evicted:
    """A request that waited does not go. Nothing is reserved."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("request_id", "reason", "retry_after")

    @property
    def request_id(self) -> int:
        """The request."""
    @property
    def reason(self) -> EvictReason:
        """Why."""
    @property
    def http_status(self) -> int:
        """The recommended HTTP status."""
    @property
    def retry_after(self) -> float | None:
        """Seconds after which another try may be worth it, if that is known."""
    @property
    def queue_time(self) -> float:
        """How many seconds it waited."""
    @property
    def message(self) -> str:
        """Why, and how long it waited."""
    @property
    def sentence(self) -> str:
        """Why, in one sentence for the client."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@disjoint_base
class Scheduler:
    """Decides where requests go, and accounts for their load.

    There are four kinds of methods. Inputs (``add_endpoint``, ``handle_*`` and the other calls that
    take ``now``) report what happened. ``pick`` and ``submit`` ask for a decision. Outputs
    (``poll_decision``, ``next_timeout``) return what the host does next. Queries (``explain``,
    ``stats``, ``endpoint`` and the like) change nothing.

    **After each input, call ``poll_decision`` until it returns ``None``; then wait for the next
    input or until ``next_timeout``.** ``slotwise.aio.Scheduler`` does this for its host. A host
    that only calls ``pick`` need not poll.

    Each dispatched request ends with exactly one of ``complete``, ``fail`` or ``cancel``. ``now``
    is seconds on the scheduler's clock, and defaults to that clock; it never goes back. A call that
    raises changes nothing. Methods may be called from any thread.
    """

    def __new__(
        cls,
        config: Config | Mapping[str, Any] | None = None,
        *,
        cost: Callable[[Candidates], Iterable[float]] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> Self:
        """A scheduler with no endpoints.

        ``clock`` returns seconds and never goes back: ``time.monotonic`` unless given. It is called
        by each method that takes ``now`` and is not given it. What the clock raises, that method
        raises, and nothing has changed.

        ``cost`` is called once for each decision with the endpoints that could have the request,
        and returns what each costs in seconds. If it raises, or returns something else, the
        built-in cost decides and the error goes to ``sys.unraisablehook``.

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
    def in_flight_on(self, endpoint: int) -> int:
        """How many requests are in flight on the endpoint: 0 means that it is drained.

        Raises ``UnknownEndpointError``.
        """
    @property
    def accepting_endpoints(self) -> int:
        """How many endpoints take new requests: all of the pool but those that drain."""
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
        """Sends no new requests to the endpoint; those in flight go on. Raises
        ``UnknownEndpointError``."""
    def resume_endpoint(self, endpoint: int, *, now: float | None = None) -> None:
        """Takes a draining endpoint back into service. Raises ``UnknownEndpointError``."""
    def handle_load(
        self,
        endpoint: int,
        *,
        waiting: int | None = None,
        running: int | None = None,
        kv_usage: float | None = None,
        sleeping: bool | None = None,
        sampled_at: float | None = None,
        now: float | None = None,
    ) -> None:
        """An endpoint reported its load. Leave out what it does not say: a report of nothing is
        none. Raises ``UnknownEndpointError``.

        An endpoint whose engine is ``sleeping`` gets no requests until a report shows that it is
        not.
        """
    def handle_probe(self, endpoint: int, passed: bool, *, now: float | None = None) -> None:
        """A probe passed or failed: the endpoint's page of metrics could be read, or its health
        check answered.

        A failed one backs the endpoint off. One that passed lets the next request try an endpoint
        that could not be reached. Raises ``UnknownEndpointError``.
        """
    def handle_adapters(
        self, endpoint: int, active: Sequence[str], *, slots: int = 0, now: float | None = None
    ) -> None:
        """An endpoint reported the LoRA adapters in use and, unless it is zero, how many fit side
        by side.

        Raises ``UnknownEndpointError``.
        """
    def handle_metrics_page(
        self,
        endpoint: int,
        page: Buffer,
        *,
        engine: Engine | Literal["custom"] | None = None,
        fields: Mapping[MetricField, str | Sequence[str]] | None = None,
        adapters: str | None = None,
        rank_label: str | None = None,
        now: float | None = None,
    ) -> None:
        """An endpoint was scraped: takes load and LoRA adapters out of its metrics page. The
        keywords are those of ``wire.read_metrics``.

        Raises ``WireError`` or ``UnknownEndpointError``, and nothing of the page was taken: it is
        no report, and counts in ``EndpointStats.report_errors``. So is a page that is none
        (``not_metrics``) or of which nothing is known (``nothing_known``).
        """
    def handle_orca(self, endpoint: int, header: str | Buffer, *, now: float | None = None) -> None:
        """An answer had the header ``endpoint-load-metrics``. Raises ``WireError`` or
        ``UnknownEndpointError``, as ``handle_metrics_page`` does.
        """
    def handle_kv_frames(
        self,
        endpoint: int,
        frames: Sequence[Buffer],
        *,
        replay: bool = False,
        rank: int = 0,
        now: float | None = None,
    ) -> KvReport:
        """A message came from an engine's ZMQ socket for KV events: from SUB, or with ``replay``
        from the DEALER of a replay.

        Each data parallel ``rank`` is a publisher of its own; what one removes or clears is gone
        for the endpoint, so make ranks with caches of their own endpoints of their own. Where the
        report has an ``ask``, open a fresh DEALER, send ``[b"", wire.replay_request(ask)]`` and
        hand in what comes until ``replay_from`` is ``None``; or call ``abandon_replay``.

        Raises ``WireError`` if the frames are not those of a batch, or ``UnknownEndpointError``. A
        batch that cannot be read is in the report.
        """
    def abandon_replay(self, endpoint: int, *, rank: int = 0, now: float | None = None) -> KvReport:
        """A replay does not come, or does not end: what is missing is lost, and what was held is
        applied.

        Raises ``UnknownEndpointError``.
        """
    def replay_from(self, endpoint: int, *, rank: int = 0) -> int | None:
        """The batch from which on a replay is awaited."""
    def handle_trtllm_events(
        self, endpoint: int, body: Buffer, *, block_size: int | None = None, rank: int = 0, now: float | None = None
    ) -> KvReport:
        """TensorRT-LLM answered at ``/kv_cache_events``; blocks have the endpoint's size unless
        given. Raises ``WireError`` or ``UnknownEndpointError``."""
    def handle_kv_event(self, endpoint: int, event: KvEvent, *, now: float | None = None) -> None:
        """An engine published a change of its KV cache. With the first stored event that is
        applied, its endpoint becomes precise.

        Raises ``KvEventError``, and nothing of the event was applied.
        """
    def snapshot(self) -> bytes:
        """What endpoints hold in their caches. Loads, speeds and requests in flight are not in it:
        they are measured anew.

        Equal schedulers give equal bytes, in every language.
        """
    def restore(self, snapshot: Buffer, *, now: float | None = None) -> int:
        """Takes what a snapshot contains for what the endpoints hold: those of the same name, whose
        blocks are as long as they were.

        Returns how many these are. Add the endpoints first, and restore before the first ``pick``.

        Raises ``SnapshotError``, and nothing has changed.
        """
    def pick(
        self,
        prompt: str | Buffer | Blocks | Sequence[int] | None = None,
        *,
        body: Buffer | None = None,
        path: str | None = None,
        headers: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str] | None = None,
        priority_order: PriorityOrder = "low_first",
        allow: Allow | None = None,
        model: str | None = None,
        adapter: str | None = None,
        cache_salt: str | None = None,
        cache_use: CacheUse | None = None,
        continues: str | None = None,
        priority: int | None = None,
        flow: str | None = None,
        session: str | None = None,
        deadline: float | None = None,
        expected_output_tokens: int | None = None,
        role: Role = "unified",
        labels: dict[str, str] | None = None,
        exclude: Sequence[int] | None = None,
        now: float | None = None,
    ) -> Dispatch | Rejected:
        """Chooses the endpoint that costs this request the least, and reserves it there in the same
        call.

        The prompt is text (``str``, ``bytes`` or another buffer of bytes), token ids (a buffer of
        wider integers, a list or a tuple) or ``Blocks``. A higher ``priority`` is more important,
        and a negative one may be shed. ``deadline`` is the latest useful time of the first token,
        on the clock of ``now``. ``exclude`` lists endpoints that must not have the request, even if
        no other can: those that a retry has tried.

        Or else the request's ``body`` is given as the client sent it, and the ``path`` that it was
        sent to: ``/v1/chat/completions`` unless given. The ``headers`` are pairs, or a mapping: who
        asks, priority, session, time to live, and the time to the first token. What is given as a
        keyword wins over the headers, and these over the body. ``priority_order`` is that of the
        body. Priority, flow, session, time to live and deadline of a body or its headers count only
        if ``allow`` names them.

        ``cache_use`` says what the engine does with its cache for the request: ``"read"`` unless
        the body contains otherwise. With ``"unreported"``, cached tokens of its answer are no
        evidence of evictions. With ``"unread"``, nothing is expected in the cache either.
        ``continues`` is the id of the answer that the request goes on from, as the body contains
        unless given: it goes to the endpoint that gave it, and is rejected as ``thread_not_found``
        if that takes no more requests.

        Raises ``WireError``, and nothing was reserved; ``ValueError`` for a path that is not known.
        """
    def submit(
        self,
        prompt: str | Buffer | Blocks | Sequence[int] | None = None,
        *,
        body: Buffer | None = None,
        path: str | None = None,
        headers: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str] | None = None,
        priority_order: PriorityOrder = "low_first",
        allow: Allow | None = None,
        model: str | None = None,
        adapter: str | None = None,
        cache_salt: str | None = None,
        cache_use: CacheUse | None = None,
        continues: str | None = None,
        priority: int | None = None,
        flow: str | None = None,
        session: str | None = None,
        deadline: float | None = None,
        expected_output_tokens: int | None = None,
        role: Role = "unified",
        labels: dict[str, str] | None = None,
        exclude: Sequence[int] | None = None,
        ttl: float | None = None,
        weight: float | None = None,
        now: float | None = None,
    ) -> int | Rejected:
        """Hands a request to flow control, and returns its name, or why it need not wait at all.

        ``poll_decision`` returns the outcome: call it until it returns ``None``, now, after
        each input, and at ``next_timeout``. ``flow`` is who asks, the unit of fairness, and
        ``weight`` what that flow may have, compared with others of the same priority. ``ttl`` is
        how long the request may wait: ``FlowConfig.ttl`` unless given, infinity without a limit. A
        ``cost`` function is not called. The other arguments are those of ``pick``.
        """
    def poll_decision(self, *, now: float | None = None) -> Dispatch | Evicted | None:
        """The next decision about a request that was submitted: it goes, and is reserved, or it
        waits no longer.

        ``None`` when there is nothing to decide before the next input or ``next_timeout``.
        """
    def next_timeout(self) -> float | None:
        """When ``poll_decision`` has something to decide although nothing has happened, on the
        clock of ``now``."""
    def preemption_candidates(self, most: int = 64) -> list[int]:
        """Submitted requests of negative priority that are in flight while others of higher
        priority wait.

        The least important first, and of those the newest. Whoever wants to make room aborts them,
        and says so with ``cancel``.
        """
    def explain(
        self,
        prompt: str | Buffer | Blocks | Sequence[int] | None = None,
        *,
        body: Buffer | None = None,
        path: str | None = None,
        headers: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str] | None = None,
        priority_order: PriorityOrder = "low_first",
        allow: Allow | None = None,
        model: str | None = None,
        adapter: str | None = None,
        cache_salt: str | None = None,
        cache_use: CacheUse | None = None,
        continues: str | None = None,
        priority: int | None = None,
        flow: str | None = None,
        session: str | None = None,
        deadline: float | None = None,
        expected_output_tokens: int | None = None,
        role: Role = "unified",
        labels: dict[str, str] | None = None,
        exclude: Sequence[int] | None = None,
        now: float | None = None,
    ) -> Explanation:
        """What ``pick`` would decide and why, without doing it. ``print`` shows it as a table."""
    def handle_first_token(self, request: int, *, now: float | None = None) -> None:
        """The first token of a request arrived. Raises ``UnknownRequestError``."""
    def handle_tokens(self, request: int, tokens: int, *, now: float | None = None) -> None:
        """The answer of a request grew by ``tokens``. Optional. Raises ``UnknownRequestError``."""
    def handle_answer(self, request: int, answer: str, *, now: float | None = None) -> None:
        """The answer to a request has this id: requests that go on from it go to the same endpoint.
        Leases report it themselves.

        Raises ``UnknownRequestError``.
        """
    def complete(
        self,
        request: int,
        *,
        prompt_tokens: int | None = None,
        cached_tokens: int | None = None,
        completion_tokens: int | None = None,
        now: float | None = None,
    ) -> None:
        """A request is done: releases what it reserved, and learns from what it used. Raises
        ``UnknownRequestError``."""
    def fail(self, request: int, failure: Failure = "engine", *, now: float | None = None) -> None:
        """A request failed through no fault of the client's. Raises ``UnknownRequestError``."""
    def cancel(self, request: int, *, now: float | None = None) -> bool:
        """The client went away. Returns whether the request was in flight, or waited."""
    def redirect(
        self, request: int, endpoint: int, failure: Failure = "unreachable", *, now: float | None = None
    ) -> None:
        """A request without a first token went to another endpoint than was decided. Counts as a
        failure of the first one.

        Raises ``RedirectError``.
        """
    def stats(self) -> Stats:
        """Counters and gauges."""
    def metrics_text(
        self,
        *,
        names: Literal["slotwise", "reference"] = "slotwise",
        pool: str = "",
        max_endpoints: int = 1_000,
    ) -> str:
        """The statistics as OpenMetrics text.

        With ``names="reference"``, those of the Gateway API's inference extension are there too,
        for a pool of this name. Endpoints past ``max_endpoints`` are one, called ``other``.
        """
    # What ``slotwise.aio`` calls.
    def _on_wakeup(self, wakeup: Callable[[bool], None]) -> None: ...
    def _watch_drained(self, endpoint: int) -> None: ...
    def _unwatch_drained(self, endpoint: int) -> None: ...
    def _poll_drained(self) -> int | None: ...
    def __reduce__(self) -> Any:
        """Raises ``TypeError``: a live scheduler stands for requests in flight."""

@disjoint_base
class Lease:
    """The native part of ``slotwise.aio.Lease``."""

    def __new__(cls, scheduler: Scheduler, dispatch: Dispatch) -> Self: ...
    @property
    def dispatch(self) -> Dispatch:
        """The decision."""
    @property
    def request_id(self) -> int:
        """The request's id."""
    @property
    def endpoint_id(self) -> int:
        """The endpoint that the request is on, or was on last. A redirect changes it."""
    @property
    def endpoint_name(self) -> str:
        """The name of that endpoint."""
    @property
    def ended(self) -> bool:
        """Whether the lease has ended."""
    @property
    def answer(self) -> Answer:
        """A live view of the answer read so far."""
    @property
    def outcome(self) -> Outcome | None:
        """How the answer ended; ``None`` before ``finish``."""
    def begin(self, status: int, content_type: str) -> None:
        """Starts to read a response with this status and ``Content-Type``.

        A second call starts anew, with the next endpoint's response. After the end it does nothing.
        """
    def feed(self, chunk: Buffer) -> Progress:
        """Reads a chunk of the response's body, decoded and unchanged, and reports its tokens to
        the scheduler.

        A lease that has ended reads nothing. Raises ``NotBegunError``, which is also a
        ``RuntimeError``, before ``begin``.
        """
    def finish(self, close: CloseReason = "clean") -> Outcome:
        """Ends the lease as the answer ended, unless it has ended, and returns how the answer
        ended.

        Raises ``NotBegunError`` before ``begin``: without a response, use ``fail`` or ``cancel``.
        """
    def first_token(self) -> None:
        """Reports the first token. A second call, or one after the end, does nothing."""
    def tokens(self, tokens: int) -> None:
        """Reports that the answer grew by ``tokens``. After the end it does nothing."""
    def redirect(self, endpoint: int, failure: Failure = "unreachable") -> None:
        """Moves the request to another endpoint, usually the first of ``dispatch.alternatives``.

        Counts as a failure of the first endpoint. Raises ``RedirectError`` after the first token
        and after the end.
        """
    def fail(self, failure: Failure = "engine") -> bool:
        """Ends the request as failed, through no fault of the client's. Returns whether this call
        ended it."""
    def cancel(self) -> bool:
        """Ends the request because its client disconnected. Returns whether this call ended it."""
    # What ``slotwise.aio`` calls.
    def _complete(self, reported: Usage) -> tuple[bool, list[str]]: ...
    def _close(self, close: CloseReason) -> None: ...
    def _pass(self, chunk: Any) -> None: ...
    def _set_idle_limit(self, limit: float | None = None) -> None: ...
    def _wait(self, now: float) -> float | None: ...
    def _end_wait(self, now: float) -> None: ...
    def _idle_limit(self) -> tuple[float, bool]: ...

@final
class Answer:
    """A live view of what has been read of an answer."""

    @property
    def begun(self) -> bool:
        """Whether a stream has brought any payload but an error. The request is never retried after
        that."""
    @property
    def tokens(self) -> int:
        """Tokens of the answer so far."""
    @property
    def exact(self) -> bool:
        """Whether ``tokens`` is exact."""
    @property
    def usage(self) -> Usage:
        """The usage that the engine has reported so far."""
    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the engine stopped, if it has reported that."""
    @property
    def outcome(self) -> Outcome | None:
        """How the answer ended; ``None`` before ``Lease.finish``."""
    @property
    def complete(self) -> bool:
        """Whether the answer has ended and the client has all of it, be it an answer or a
        refusal."""

@final
class Progress:
    """What one or more chunks of an answer brought."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("first_token", "tokens", "ended")

    def __new__(cls, *, first_token: bool = False, tokens: int = 0, ended: bool = False) -> Self: ...
    @property
    def first_token(self) -> bool:
        """The first token came with them. Never said of a body that is no stream."""
    @property
    def tokens(self) -> int:
        """Tokens that came with them."""
    @property
    def ended(self) -> bool:
        """The answer is at its end."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Outcome:
    """How an answer ended."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("end", "retry", "finish_reason")

    @property
    def end(self) -> End:
        """How it ended."""
    @property
    def retry(self) -> Retry:
        """Whether another endpoint may be asked."""
    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the engine stopped, if it said so."""
    @property
    def usage(self) -> Usage:
        """What the engine reported that the request used."""
    @property
    def tokens(self) -> int:
        """Tokens of the answer."""
    @property
    def exact(self) -> bool:
        """Whether they are exact: if not, each chunk with content counts as one."""
    @property
    def status(self) -> int:
        """The HTTP status that says how it ended: that of the response, or of the error in it. 0 if
        nothing came."""
    @property
    def unreadable(self) -> int:
        """Payloads that could not be read, and so count for nothing."""
    @property
    def problem(self) -> ErrorKind | None:
        """What was wrong with the first of them."""
    @property
    def complete(self) -> bool:
        """Whether the client has all that it will ever get, be it an answer or a refusal."""
    @property
    def settlement(self) -> Disposition:
        """The call of the scheduler that ends the request."""
    @property
    def failure(self) -> Failure | None:
        """How it failed, if the settlement is ``fail``."""
    def may_retry(self, sent: bool) -> bool:
        """Whether another endpoint may be asked, when something or nothing of this answer was
        ``sent`` to the client."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class ResponseReader:
    """Reads a response as it comes, in chunks of any size, and tells how it ended. Nothing of the
    answer is kept.

    It knows the streams and bodies of OpenAI's and Anthropic's APIs and of SGLang's ``generate``.
    An ``aio.Lease`` has one inside.
    """

    def __new__(cls, status: int, content_type: str) -> Self:
        """Before the body of a response with this status and ``Content-Type``."""
    def feed(self, chunk: Buffer) -> Progress:
        """Reads on. After the end, nothing counts."""
    def finish(self, close: CloseReason = "clean") -> Outcome:
        """Nothing more comes. The first end counts: later calls return the same."""
    @property
    def is_stream(self) -> bool:
        """Whether the body is read as a stream of events."""
    @property
    def begun(self) -> bool:
        """Whether a stream has brought anything but an error: from there on, the request is never
        retried."""
    @property
    def tokens(self) -> int:
        """Tokens of the answer so far."""
    @property
    def exact(self) -> bool:
        """Whether they are exact."""
    @property
    def usage(self) -> Usage:
        """What the engine has said so far that the request used."""
    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the engine stopped, as far as it has said so."""
    @property
    def outcome(self) -> Outcome | None:
        """How the answer ended, after ``finish``."""

@final
class ModelFilter:
    """Puts the name by which the client asked for the model into a response, in the place of the
    engine's.

    The length of the body changes: ``Content-Length`` must not be passed on.
    """

    def __new__(cls, content_type: str, name: str) -> Self:
        """Before a body of this ``Content-Type``."""
    def feed(self, chunk: Buffer) -> bytes:
        """What the client is to get of this chunk."""

@final
class AnswerFilter:
    """Passes a response through as if the client's own request had been sent to the engine.

    ``model`` is the client's name for the model. With ``drop_usage``, a stream loses the usage that
    the gateway asked for and its client did not: the chunk without choices, and ``"usage":null`` in
    the others. One event is held back until it is whole. ``Content-Length`` must not be passed on.
    """

    def __new__(cls, content_type: str, *, model: str | None = None, drop_usage: bool = False) -> Self:
        """Before a body of this ``Content-Type``."""
    def feed(self, chunk: Buffer) -> bytes:
        """What the client is to get by now."""
    def finish(self) -> bytes:
        """Nothing more comes: what was held back."""

@final
class KvReport:
    """What came of a message about an engine's KV cache."""

    @property
    def ask(self) -> int | None:
        """Ask for a replay from this batch on."""
    @property
    def cleared(self) -> bool:
        """The view of the endpoint's cache was cleared: the publisher began anew, or its replay
        does not go back far enough."""
    @property
    def batches(self) -> int:
        """Batches applied."""
    @property
    def dropped(self) -> int:
        """Batches dropped, as they were seen before."""
    @property
    def held(self) -> int:
        """Batches held, until the replay ends."""
    @property
    def lost(self) -> int:
        """Batches that are lost for good."""
    @property
    def unreadable(self) -> int:
        """Batches that could not be read. Nothing of them was applied."""
    @property
    def error(self) -> ErrorKind | None:
        """Why the last of them could not be read; the offset is that in its payload."""
    @property
    def stored_blocks(self) -> int:
        """Blocks that were taken as stored."""
    @property
    def removed_blocks(self) -> int:
        """Blocks said to be removed."""
    @property
    def clears(self) -> int:
        """Events that cleared the cache."""
    @property
    def unknown_parents(self) -> int:
        """Stored events whose parent block is not known."""
    @property
    def refused(self) -> int:
        """Events that were refused for other reasons."""
    @property
    def refusal(self) -> str | None:
        """The code of the last of these reasons: see ``KvEventError``."""
    @property
    def skipped_events(self) -> SkippedEvents:
        """What was not among the events."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

def api_of_path(path: str) -> Api | None:
    """The API that is served under this path, or under one that ends with it."""

def outcome_of_status(status: int) -> Outcome:
    """How a response with this status ended, whatever its body contains."""

def replay_request(start: int) -> bytes:
    """The frame that asks for a replay from this batch on, behind an empty one."""

def add_usage(body: Buffer, api: str | None = None, path: str | None = None) -> tuple[bytes, bool]:
    """See ``slotwise.wire.add_usage``."""

def rewrite_model(body: Buffer, model: str) -> bytes:
    """The body with another model, and otherwise the same, byte for byte. Raises ``WireError``."""

def block_hashes(
    tokens: Buffer | Sequence[int],
    *,
    block_size: int,
    algorithm: HashAlgorithm = "sha256",
    seed: str | None = None,
    tagged: bool = True,
    adapter: str | None = None,
    adapter_path: str | None = None,
    cache_salt: str | None = None,
) -> list[bytes]:
    """vLLM's names for the full blocks of a prompt, 32 bytes each; events with integer names have
    the last 8.

    ``seed`` is ``PYTHONHASHSEED``, and vLLM's own unless given. ``tagged`` is how vLLM 0.31 and
    later write down what else is in a block's key.
    """

# As ``slotwise.wire`` calls them: reports are JSON.

def read_metrics(
    page: Buffer,
    engine: str | None,
    fields: Mapping[MetricField, str | Sequence[str]] | None,
    adapters: str | None,
    rank_label: str | None,
) -> str:
    """What a page reports."""

def read_orca(value: str | Buffer) -> str:
    """What an ORCA header contains."""

def read_kv_frames(frames: Sequence[Buffer]) -> tuple[bytes, int, bytes] | None:
    """Topic, number and payload of a message; ``None`` is the end of a replay."""

def read_kv_batch(payload: Buffer) -> tuple[float, str]:
    """When a batch was sent, and what is in it."""

def read_request(
    body: Buffer, api: str | None = None, path: str | None = None
) -> tuple[str, bytes | list[int]]:
    """The contents of a body, and its prompt."""

def read_headers(pairs: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str]) -> str:
    """The contents of headers."""

def refusal(
    reason: str | Rejected | Evicted,
    *,
    retry_after: float | None = None,
    message: str | None = None,
    shape: RefusalShape = "openai",
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body."""

def attributes_of_dispatch(
    dispatch: Dispatch,
    model: str,
    adapter: str | None,
    session: str | None,
    flow: str,
    priority: int,
) -> str:
    """The attributes of a dispatch."""

def attributes_of_usage(
    prompt_tokens: int | None, cached_tokens: int | None, completion_tokens: int | None
) -> str:
    """The attributes of what an engine reported that a request used."""

def attributes_of_refusal(reason: str | Rejected | Evicted) -> str:
    """The attributes of a refusal."""

def after_fork() -> None:
    """Called in each child process before anything else runs there."""
