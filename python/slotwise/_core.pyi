"""The native part of ``slotwise``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, Self, final

from typing_extensions import Buffer, disjoint_base

from .config import Config, Endpoint, Role
from .configuration import Configuration
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
from .stats import Stats
from .values import (
    Allow,
    Blocks,
    CacheUse,
    PortMatch,
    Candidates,
    EvictReason,
    Explanation,
    Failure,
    GatewayReason,
    KvEvent,
    RejectReason,
    RemovedEndpoint,
    Stage,
    Connector,
    Usage,
)

__all__ = [
    "Answer",
    "AnswerFilter",
    "Dispatch",
    "Evicted",
    "Exchange",
    "ExchangeCall",
    "Ingress",
    "KvReport",
    "Lease",
    "Leg",
    "Machine",
    "ModelFilter",
    "Outcome",
    "PeerLink",
    "Progress",
    "Rejected",
    "ReplayRequest",
    "ResponseReader",
    "Scheduler",
    "__version__",
    "add_usage",
    "kv_transfer_body",
    "kv_transfer_params",
    "after_fork",
    "api_of_path",
    "attributes_of_dispatch",
    "attributes_of_refusal",
    "attributes_of_usage",
    "block_hashes",
    "call_policy",
    "default_config",
    "default_options",
    "forwarded_headers",
    "outcome_of_status",
    "prices_for_service_level",
    "read_headers",
    "read_kv_batch",
    "read_kv_frames",
    "read_metrics",
    "read_orca",
    "read_request",
    "refusal",
    "replay_request",
    "response_headers",
    "seed_of_peers",
    "rewrite_model",
]

__version__: Final[str]

def default_config() -> str:
    """The default configuration as JSON."""

def default_options() -> str:
    """The defaults of options that are off in the default configuration, as JSON."""

def prices_for_service_level(*, ttft: float, tpot: float) -> str:
    """The prices that follow from a service level in seconds, as JSON."""

@final
class Dispatch:
    """The request is dispatched to this endpoint now. Its load is already reserved there."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("request_id", "endpoint_id", "endpoint_name")

    @property
    def request_id(self) -> int:
        """The request's id."""
    @property
    def endpoint_id(self) -> int:
        """The id of its endpoint."""
    @property
    def endpoint_name(self) -> str:
        """The name of its endpoint."""
    @property
    def alternatives(self) -> tuple[int, ...]:
        """Ids of other eligible endpoints, best first. See ``Scheduler.redirect``."""
    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt: counted, or estimated from text."""
    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that are expected in the endpoint's cache."""
    @property
    def best_cached_tokens(self) -> int:
        """The maximum of ``cached_tokens`` over all endpoints of the pool."""
    @property
    def cost(self) -> float:
        """The cost of the endpoint for this request, in seconds."""
    @property
    def score(self) -> float | None:
        """The weighted sum of the endpoint's scores, if a scheduling profile chose it."""
    @property
    def first_token_in(self) -> float:
        """Predicted seconds to the first token. Response headers may arrive long before it."""
    @property
    def predicted_ttft(self) -> float:
        """Predicted seconds to the first token from now on, with the engine's overheads."""
    @property
    def predicted_tpot(self) -> float:
        """Predicted mean seconds per output token after the first."""
    @property
    def streams(self) -> bool:
        """Whether the answer comes as a stream. A whole answer comes at its end, also its
        headers. Unless the host sets it, ``True`` for a request without a body."""
    def idle_limit(self, started: bool = False) -> float:
        """The longest time in seconds to wait for data from the endpoint.

        Until the first token, 30 s or ten times ``first_token_in``, whichever is longer; then 60 s.
        For a whole answer, 600 s instead of 30 s.
        """
    @property
    def queue_time(self) -> float:
        """Seconds that the request waited for the decision."""
    @property
    def prefill(self) -> Leg | None:
        """The endpoint that computes the prompt first, if that pays."""
    @property
    def encode(self) -> Leg | None:
        """The endpoint that encodes the media first."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Leg:
    """A stage of a request on an endpoint of its own, which is reserved for it."""

    __match_args__: ClassVar[tuple[str, str]] = ("endpoint_id", "endpoint_name")

    @property
    def endpoint_id(self) -> int:
        """The id of the endpoint."""
    @property
    def endpoint_name(self) -> str:
        """The name of the endpoint."""
    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that are expected in the endpoint's cache."""
    @property
    def cost(self) -> float:
        """The cost of the endpoint for this stage, in seconds."""
    @property
    def done_in(self) -> float:
        """Predicted seconds to the end of the stage."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Rejected:
    """The request is rejected. Nothing was reserved."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("reason", "http_status", "retry_after")

    @property
    def reason(self) -> RejectReason:
        """The reason."""
    @property
    def http_status(self) -> int:
        """The recommended HTTP status."""
    @property
    def retry_after(self) -> float | None:
        """Seconds after which a retry may succeed, if known."""
    @property
    def message(self) -> str:
        """The reason, and when to retry."""
    @property
    def sentence(self) -> str:
        """The reason, in one sentence for the client. ``not_served`` names the requested model and
        the served ones."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...

@final
class Evicted:
    """A request waited in the queue and is not dispatched. Nothing is reserved."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("request_id", "reason", "retry_after")

    @property
    def request_id(self) -> int:
        """The request's id."""
    @property
    def reason(self) -> EvictReason:
        """The reason."""
    @property
    def http_status(self) -> int:
        """The recommended HTTP status."""
    @property
    def retry_after(self) -> float | None:
        """Seconds after which a retry may succeed, if known."""
    @property
    def queue_time(self) -> float:
        """Seconds that the request waited."""
    @property
    def message(self) -> str:
        """The reason, and how long the request waited."""
    @property
    def sentence(self) -> str:
        """The reason, in one sentence for the client."""
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
        """Creates a scheduler with no endpoints.

        ``clock`` returns seconds, never goes back, and defaults to ``time.monotonic``. Each method
        with a ``now`` parameter calls it if ``now`` is omitted. An exception of the clock
        propagates, and the scheduler is unchanged.

        ``cost`` is called once for each decision with the eligible endpoints, and returns the cost
        of each in seconds. If it raises, or returns another shape, the built-in cost decides and
        the error goes to ``sys.unraisablehook``.

        Raises ``ConfigError``, ``TypeError`` or ``ValueError``, which name the field.
        """

    @property
    def config(self) -> Config:
        """The configuration."""
    def endpoint(self, endpoint_id: int) -> Endpoint | None:
        """The endpoint's description, or ``None`` if the endpoint is not in the pool."""
    def endpoint_named(self, name: str) -> int | None:
        """The id of the endpoint with that name, or ``None``."""
    def endpoint_names(self) -> dict[int, str]:
        """The names of the endpoints by their ids, in **O(endpoints)**."""
    @property
    def membership(self) -> int:
        """A number that changes when an endpoint joins or leaves the pool, or gets another name.

        Code that follows the endpoints need not list them while the number stays.
        """
    def endpoint_of(self, request_id: int) -> int | None:
        """The endpoint of a request in flight. That endpoint may have left the pool."""
    def in_flight_on(self, endpoint_id: int) -> int:
        """The number of requests in flight on the endpoint: 0 means that it is drained.

        Raises ``UnknownEndpointError``.
        """
    @property
    def accepting_endpoints(self) -> int:
        """The number of endpoints in the pool that are not draining."""
    def add_endpoint(
        self, endpoint: Endpoint | Mapping[str, Any] | str, *, now: float | None = None
    ) -> int:
        """Adds an endpoint, given by its description or its name, and returns its id.

        Raises ``EndpointError`` if the name is taken or the pool is full.
        """
    def update_endpoint(
        self,
        endpoint_id: int,
        description: Endpoint | Mapping[str, Any] | str,
        *,
        now: float | None = None,
    ) -> None:
        """Replaces the description of an endpoint. Its requests in flight stay.

        Raises ``EndpointError`` if the endpoint is unknown or another one has that name.
        """
    def remove_endpoint(self, endpoint_id: int, *, now: float | None = None) -> RemovedEndpoint:
        """Removes an endpoint from the pool, and returns its requests in flight.

        Raises ``UnknownEndpointError``.
        """
    def reconfigure(
        self, config: Config | Mapping[str, Any], *, now: float | None = None
    ) -> None:
        """Changes the configuration of the running scheduler.

        Queued requests, reservations, cache contents, sessions and learned values stay. Omitted
        fields have their defaults, except ``seed``, which stays.

        Raises ``ConfigError`` for an invalid field, and for one that cannot change: ``seed``,
        ``max_endpoints``, ``max_models``, ``max_adapters``, ``max_threads``, ``index``,
        ``flow.fairness``, ``flow.order`` and ``flow.session_admission``. Nothing changes then.
        """
    def apply(
        self, configuration: Configuration, pool: str, *, now: float | None = None
    ) -> list[int]:
        """Changes the running pool to that of this name in a configuration. Returns the ids of its
        endpoints, in the configuration's order.

        New endpoints are added, changed ones updated, and a changed scheduler is reconfigured.
        Endpoints that left the configuration drain until ``remove_idle``; those that come back
        before stay. Endpoints that were added beside the configuration are not touched. A seed of 0
        leaves the running one.

        Raises ``ConfigError`` for a field that cannot change, and for an unknown pool. Nothing
        changes then.
        """
    def remove_idle(self, *, now: float | None = None) -> list[int]:
        """Removes the endpoints that left the configuration and have no request in flight. Returns
        their ids. Call it after the ends of requests."""
    def drain_endpoint(self, endpoint_id: int, *, now: float | None = None) -> None:
        """Stops new requests to the endpoint; requests in flight continue.

        Raises ``UnknownEndpointError``.
        """
    def resume_endpoint(self, endpoint_id: int, *, now: float | None = None) -> None:
        """Returns a draining endpoint to service. Raises ``UnknownEndpointError``."""
    def handle_load(
        self,
        endpoint_id: int,
        *,
        waiting: int | None = None,
        running: int | None = None,
        kv_usage: float | None = None,
        sleeping: bool | None = None,
        sampled_at: float | None = None,
        now: float | None = None,
    ) -> None:
        """Handles a load report of an endpoint. Omit fields that the report does not contain.

        A report without any field is ignored. An endpoint whose engine is ``sleeping`` receives no
        requests until a report shows that the engine is awake. Raises ``UnknownEndpointError``.
        """
    def handle_loads(
        self,
        endpoint_ids: Sequence[int],
        *,
        waiting: Sequence[int | None] | None = None,
        running: Sequence[int | None] | None = None,
        kv_usage: Sequence[float | None] | None = None,
        sleeping: Sequence[bool | None] | None = None,
        sampled_at: Sequence[float | None] | None = None,
        now: float | None = None,
    ) -> list[int]:
        """Handles load reports of several endpoints, as from a scrape of the whole pool.

        Each keyword has a value for each endpoint, in the same order. The effect is that of as many
        calls of ``handle_load``. Returns the ids that are not in the pool: these endpoints left
        after the scrape began, and the other reports count.
        """
    def handle_probe(self, endpoint_id: int, passed: bool, *, now: float | None = None) -> None:
        """Handles the result of a probe: of a scrape of the metrics page, or of a health check.

        A failed probe backs the endpoint off. After a passed probe, the next request may try an
        endpoint that was unreachable. Raises ``UnknownEndpointError``.
        """
    def handle_adapters(
        self, endpoint_id: int, active: Sequence[str], *, slots: int = 0, now: float | None = None
    ) -> None:
        """Handles an endpoint's report of the LoRA adapters in use.

        ``slots`` is the number of adapters that fit at once; 0 leaves it unchanged.

        Raises ``UnknownEndpointError``.
        """
    def describe_adapter(
        self,
        name: str,
        *,
        rank: int = 0,
        load_time: float | None = None,
        slots: int = 0,
        slowdown: float | None = None,
    ) -> None:
        """Describes a LoRA adapter before it is loaded, and replaces an earlier description.

        ``rank`` scales the load times of the endpoints, which hold for rank 16; 0 means 16.
        ``load_time`` in seconds replaces them. ``slots`` is the number of slots that the adapter
        takes; 0 means one. ``slowdown`` is the prefill time of its requests over that of requests
        without an adapter, at least 1. A name only removes the description.

        Raises ``AdapterError``.
        """
    def handle_metrics_page(
        self,
        endpoint_id: int,
        page: Buffer,
        *,
        engine: Engine | Literal["custom"] | None = None,
        fields: Mapping[MetricField, str | Sequence[str]] | None = None,
        adapters: str | None = None,
        rank_label: str | None = None,
        now: float | None = None,
    ) -> None:
        """Handles a metrics page of an endpoint: applies its load and its LoRA adapters.

        The keywords are those of ``wire.read_metrics``.

        Raises ``WireError`` or ``UnknownEndpointError``; then no part of the page is applied. A
        malformed page counts in ``EndpointStats.report_errors``. So does a page that is not a
        metrics page (``not_metrics``), or has no known metric (``nothing_known``).
        """
    def handle_orca(self, endpoint_id: int, header: str | Buffer, *, now: float | None = None) -> None:
        """Handles the response header ``endpoint-load-metrics``.

        Raises ``WireError`` or ``UnknownEndpointError``, as ``handle_metrics_page`` does.
        """
    def handle_kv_frames(
        self,
        endpoint_id: int,
        frames: Sequence[Buffer],
        *,
        replay: bool = False,
        rank: int = 0,
        now: float | None = None,
    ) -> KvReport:
        """Handles a message from an engine's ZMQ socket for KV events.

        The message comes from the SUB socket or, with ``replay``, from the DEALER of a replay.

        Each data parallel ``rank`` is a separate publisher. A removal or clear by one rank applies
        to the whole endpoint, so add ranks with separate caches as separate endpoints.

        If the report has an ``ask``, open a new DEALER and send
        ``[b"", wire.replay_request(ask)]``. Pass on its messages until ``replay_from`` returns
        ``None``, or call ``abandon_replay``.

        Raises ``WireError`` if the frames are not those of a batch, or ``UnknownEndpointError``.
        The report counts batches that are malformed.
        """
    def abandon_replay(self, endpoint_id: int, *, rank: int = 0, now: float | None = None) -> KvReport:
        """Ends a replay that failed: missing batches are lost, and held batches are applied.

        Raises ``UnknownEndpointError``.
        """
    def poll_replay(self) -> ReplayRequest | None:
        """The next request for a replay, or ``None``: for hosts that request replays in one place.

        It is the ``ask`` of the latest report, at most one for each publisher. A request that is
        out of date is dropped.
        """
    def replay_from(self, endpoint_id: int, *, rank: int = 0) -> int | None:
        """The first batch of the awaited replay, or ``None``."""
    def handle_trtllm_events(
        self,
        endpoint_id: int,
        body: Buffer,
        *,
        block_size: int | None = None,
        rank: int = 0,
        now: float | None = None,
    ) -> KvReport:
        """Handles a response of TensorRT-LLM's ``/kv_cache_events``.

        ``block_size`` defaults to the endpoint's. Raises ``WireError`` or
        ``UnknownEndpointError``.
        """
    def handle_kv_event(self, endpoint_id: int, event: KvEvent, *, now: float | None = None) -> None:
        """Handles one KV event of an engine.

        From the first stored event that is applied, the endpoint's cache is tracked by events.
        Raises ``KvEventError``; then no part of the event is applied.
        """
    def snapshot(self) -> bytes:
        """Serializes the contents of the endpoints' caches, as tracked.

        Loads, speeds and requests in flight are not included: they are measured again. Equal
        schedulers produce equal bytes, in every language.
        """
    def restore(self, snapshot: Buffer, *, now: float | None = None) -> int:
        """Restores the caches of endpoints from a snapshot, and returns the number of endpoints.

        An endpoint is restored if its name and its block size match. Add the endpoints first, and
        restore before the first ``pick``.

        Raises ``SnapshotError``; then the scheduler is unchanged.
        """
    def pick_many(
        self, requests: Sequence[Mapping[str, Any]], *, now: float | None = None
    ) -> list[Dispatch | Rejected]:
        """Decides about several requests in their order, all at one time.

        A request is a ``dict`` of the arguments of ``pick``, except ``now``. The decisions are the
        same as from as many calls of ``pick``: each counts the ones before it, so a burst spreads
        over the pool. An invalid request raises, and the requests before it are cancelled.
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
        slo_ttft: float | None = None,
        slo_tpot: float | None = None,
        expected_output_tokens: int | None = None,
        role: Role = "unified",
        multimodal: bool = False,
        streams: bool | None = None,
        labels: dict[str, str] | None = None,
        plugin_headers: dict[str, str] | None = None,
        exclude: Sequence[int] | None = None,
        subset: Sequence[int] | Sequence[str] | str | None = None,
        subset_ports: PortMatch = "exact",
        now: float | None = None,
    ) -> Dispatch | Rejected:
        """Chooses the endpoint with the lowest cost for the request, and reserves its load there.

        Decides immediately and never queues.

        The ``prompt`` is text (``str``, ``bytes`` or another buffer of bytes), token ids (a buffer
        of wider integers, a list or a tuple) or ``Blocks``. A higher ``priority`` is more
        important, and a request with a negative one may be shed. ``deadline`` is the latest useful
        time of the first token, on the clock of ``now``. ``slo_ttft`` and ``slo_tpot`` are service
        levels in seconds: a request of negative priority is rejected unless the prediction meets
        them. ``plugin_headers`` are those that plugins of ``Config.profile`` may read, with names
        in lower case; ``headers`` do not reach plugins. ``exclude`` lists endpoints that must not
        receive the request, such as those that a retry has tried. ``subset`` lists the only
        endpoints that may: their ids, or addresses as in the header
        ``x-gateway-destination-endpoint-subset``, whose value applies otherwise. An empty subset
        allows none. With ``subset_ports="ignored"`` an address allows all ports of its host.

        Instead of a prompt, pass the ``body`` as the client sent it, with its ``path``, which
        defaults to ``/v1/chat/completions``. The ``headers`` are pairs or a mapping. They may carry
        the flow, priority, session, time to live, and time to the first token. Keywords take
        precedence over headers, and headers over the body. ``priority_order`` is that of the body.
        Priority, flow, session, time to live and deadline from a body or headers count only if
        ``allow`` names them.

        ``cache_use`` is the engine's use of its cache for the request, by default that of the body,
        or ``"read"``. With ``"unreported"``, cached tokens of the answer are no evidence of
        evictions. With ``"unread"``, no cached tokens are expected either.

        ``streams`` states whether the answer comes as a stream, by default as the body requests it,
        and ``True`` without a body. The first token of a whole answer is not seen, so its prefill
        ends by the clock.

        ``continues`` is the id of the answer that the request continues, by default that of the
        body. The request goes to the endpoint that produced the answer. If that endpoint accepts no
        requests, the request is rejected as ``thread_not_found``.

        Raises ``WireError`` for a malformed body, and ``ValueError`` for an unknown path; then
        nothing is reserved.
        """
    def pick_mirror(
        self,
        prompt: str | Buffer | Blocks | Sequence[int] | None = None,
        *,
        limit: float = 0.5,
        **options: Any,
    ) -> Dispatch | None:
        """Dispatches a copy of a request that another pool serves, or returns ``None``.

        A copy takes room only while no request is queued here and the pool's saturation is below
        ``limit``: 1 is a full pool, and 0.5 leaves half of it to requests of its own. A copy has
        the lowest priority, never waits, and charges no flow. Its end is reported as that of any
        request. The other keywords are those of ``pick``.
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
        slo_ttft: float | None = None,
        slo_tpot: float | None = None,
        expected_output_tokens: int | None = None,
        role: Role = "unified",
        multimodal: bool = False,
        streams: bool | None = None,
        labels: dict[str, str] | None = None,
        plugin_headers: dict[str, str] | None = None,
        exclude: Sequence[int] | None = None,
        subset: Sequence[int] | Sequence[str] | str | None = None,
        subset_ports: PortMatch = "exact",
        ttl: float | None = None,
        weight: float | None = None,
        now: float | None = None,
    ) -> int | Rejected:
        """Submits a request to flow control. Returns its id, or the rejection.

        ``poll_decision`` returns the outcome: call it until it returns ``None``, now, after each
        input, and at ``next_timeout``.

        ``flow`` names the unit of fairness, such as a tenant. ``weight`` is the flow's share
        relative to other flows of the same priority. ``ttl`` is the longest time in seconds that
        the request may wait. It defaults to ``FlowConfig.ttl``; infinity sets no limit. The
        ``cost`` function is not called. The other arguments are those of ``pick``.
        """
    def poll_decision(self, *, now: float | None = None) -> Dispatch | Evicted | None:
        """The next decision about a submitted request: dispatched and reserved, or evicted.

        ``None`` if no decision is due before the next input or ``next_timeout``.
        """
    def next_timeout(self) -> float | None:
        """The time at which to call ``poll_decision`` even without an input, or ``None``.

        The time is on the clock of ``now``.
        """
    def preemption_candidates(self, most: int = 64) -> list[int]:
        """Submitted requests of negative priority in flight while higher priorities wait.

        Ordered by ascending priority, then newest first; at most ``most``. To free capacity, abort
        them at the engine and call ``cancel`` for each.
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
        slo_ttft: float | None = None,
        slo_tpot: float | None = None,
        expected_output_tokens: int | None = None,
        role: Role = "unified",
        multimodal: bool = False,
        streams: bool | None = None,
        labels: dict[str, str] | None = None,
        plugin_headers: dict[str, str] | None = None,
        exclude: Sequence[int] | None = None,
        subset: Sequence[int] | Sequence[str] | str | None = None,
        subset_ports: PortMatch = "exact",
        now: float | None = None,
    ) -> Explanation:
        """The decision that ``pick`` would make, and why, without any change. Prints as a table."""
    def handle_first_token(self, request_id: int, *, now: float | None = None) -> None:
        """The first token of a request arrived. Raises ``UnknownRequestError``."""
    def handle_tokens(self, request_id: int, tokens: int, *, now: float | None = None) -> None:
        """The answer of a request grew by ``tokens``. Optional. Raises ``UnknownRequestError``."""
    def handle_answer(self, request_id: int, answer: str, *, now: float | None = None) -> None:
        """The answer to a request has this id. Requests that continue it go to the same endpoint.

        Leases report the id themselves.

        Raises ``UnknownRequestError``.
        """
    def complete(
        self,
        request_id: int,
        *,
        prompt_tokens: int | None = None,
        cached_tokens: int | None = None,
        completion_tokens: int | None = None,
        now: float | None = None,
    ) -> None:
        """Completes a request: releases its reservation, and learns from its usage.

        Raises ``UnknownRequestError``.
        """
    def fail(self, request_id: int, failure: Failure = "engine", *, now: float | None = None) -> None:
        """A request failed because of the endpoint. Raises ``UnknownRequestError``."""
    def cancel(self, request_id: int, *, now: float | None = None) -> bool:
        """The client disconnected. Returns whether the request was in flight or waiting."""
    def complete_leg(
        self,
        request_id: int,
        stage: Stage = "prefill",
        *,
        prompt_tokens: int | None = None,
        cached_tokens: int | None = None,
        now: float | None = None,
    ) -> None:
        """A stage before the answer ended: its endpoint is released, the request stays in flight.

        Raises ``LegError`` if the request has no such stage on another endpoint, or the stage has
        ended.
        """
    def fail_leg(
        self,
        request_id: int,
        stage: Stage = "prefill",
        failure: Failure = "engine",
        *,
        now: float | None = None,
    ) -> None:
        """A stage before the answer failed: only its endpoint is released.

        After a failed prefill, the endpoint of the answer is reserved for the whole prompt. Raises
        ``LegError``.
        """
    def redirect_leg(
        self,
        request_id: int,
        stage: Stage = "prefill",
        failure: Failure = "engine",
        *,
        now: float | None = None,
    ) -> int | None:
        """A stage before the answer failed: its next best endpoint is reserved instead.

        Returns the id of that endpoint. Without one, this is ``fail_leg`` and returns ``None``.
        Raises ``LegError``.
        """
    def leg_of(self, request_id: int, stage: Stage = "prefill") -> int | None:
        """The id of the endpoint of a stage, while that stage has not ended."""
    def redirect(
        self,
        request_id: int,
        endpoint_id: int,
        failure: Failure = "unreachable",
        *,
        now: float | None = None,
    ) -> None:
        """A request without a first token was sent to another endpoint than the decided one.

        Counts as a failure of the first endpoint. Raises ``RedirectError``.
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

        With ``names="reference"``, the text also has the metrics of the Gateway API's inference
        extension, for a pool of this name. Endpoints past ``max_endpoints`` are aggregated as
        ``other``.
        """
    # For ``slotwise.aio``.
    def _on_wakeup(self, wakeup: Callable[[bool], None]) -> None: ...
    def _watch_drained(self, endpoint_id: int) -> None: ...
    def _unwatch_drained(self, endpoint_id: int) -> None: ...
    def _poll_drained(self) -> int | None: ...
    def __reduce__(self) -> Any:
        """Raises ``TypeError``: a scheduler represents requests in flight."""

@disjoint_base
class Lease:
    """The native part of ``slotwise.aio.Lease``."""

    def __new__(cls, scheduler: Scheduler, origin: Dispatch | Exchange) -> Self:
        """The lease of a dispatch, or that of an exchange, which shares its state.

        Raises ``RuntimeError`` if no endpoint has the exchange's request.
        """
    @property
    def dispatch(self) -> Dispatch:
        """The decision."""
    @property
    def request_id(self) -> int:
        """The request's id."""
    @property
    def endpoint_id(self) -> int:
        """The id of the request's current or last endpoint. A redirect changes it."""
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

        A second call starts again, with the next endpoint's response. After the end, the call has
        no effect.
        """
    def feed(self, chunk: Buffer) -> Progress:
        """Reads a chunk of the response's body, decoded and unchanged, and reports its tokens to
        the scheduler.

        A lease that has ended ignores the chunk. Raises ``NotBegunError``, which is also a
        ``RuntimeError``, before ``begin``.
        """
    def finish(self, close: CloseReason = "clean") -> Outcome:
        """Ends the lease by the outcome of the answer, unless it has ended. Returns the outcome.

        Raises ``NotBegunError`` before ``begin``: without a response, use ``fail`` or ``cancel``.
        """
    def first_token(self) -> None:
        """Reports the first token. A second call, or one after the end, has no effect."""
    def tokens(self, tokens: int) -> None:
        """Reports that the answer grew by ``tokens``. Has no effect after the end."""
    def redirect(self, endpoint_id: int, failure: Failure = "unreachable") -> None:
        """Moves the request to another endpoint, usually the first of ``dispatch.alternatives``.

        Counts as a failure of the first endpoint. Raises ``RedirectError`` after the first token
        and after the end.
        """
    def fail(self, failure: Failure = "engine") -> bool:
        """Ends the request as failed because of the endpoint. Returns whether this call ended
        it."""
    def cancel(self) -> bool:
        """Ends the request because its client disconnected. Returns whether this call ended it."""
    # For ``slotwise.aio``.
    def _complete(self, reported: Usage) -> tuple[bool, list[str]]: ...
    def _close(self, close: CloseReason) -> None: ...
    def _pass(self, chunk: Any, since: float, until: float) -> None: ...
    def _set_idle_limit(self, limit: float | None = None) -> None: ...
    def _wait(self, now: float) -> float | None: ...
    def _end_wait(self, now: float) -> None: ...
    def _idle_limit(self) -> tuple[float, bool]: ...

@final
class ReplayRequest:
    """A publisher has to be asked to send batches again: ``wire.replay_request(start)``."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("endpoint_id", "rank", "start")

    @property
    def endpoint_id(self) -> int:
        """The id of the endpoint."""
    @property
    def rank(self) -> int:
        """Its data-parallel rank."""
    @property
    def start(self) -> int:
        """The first batch that is requested."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class ExchangeCall:
    """What an endpoint is sent, in a disaggregated pool and elsewhere."""

    @property
    def request_id(self) -> int:
        """The request."""
    @property
    def url(self) -> str:
        """The endpoint's name: in most pools its base URL."""
    @property
    def headers(self) -> list[tuple[str, str]]:
        """Headers to add."""
    def body(self, path: str, body: Buffer) -> bytes:
        """The body for this endpoint, from the client's. Raises ``WireError``."""

@final
class Exchange:
    """The native part of ``slotwise.aio.Scheduler.forward``: a client's request, over several
    attempts.

    Poll the outputs until ``None``, act on each, and report the result by a ``handle_*`` method.
    The manual's page "A gateway" has the table of outputs.
    """

    PREFILL_ANSWER: int
    """Bytes of a prefilling endpoint's answer that are read at most."""

    def __new__(
        cls,
        scheduler: Scheduler,
        path: str = "",
        *,
        attempts: int = 3,
        exclude: Sequence[int] | None = None,
        connector: Connector = "sidecar",
        bootstrap_port: int = ...,
        room_salt: int = 0,
        primary_port: int = 0,
        answers_as: str | None = None,
        drop_usage: bool = False,
        idle_limit: float | None = None,
    ) -> Self:
        """An exchange that asks at most ``attempts`` endpoints, and none of ``exclude``.

        ``path`` selects the format of refusals, ``connector`` the calls of disaggregated requests.
        ``answers_as`` is the name of the model in answers. With ``drop_usage``, streams lose the
        usage that only the gateway has requested.
        """
    def poll(
        self,
    ) -> (
        tuple[Literal["dispatch", "abort", "end", "break"]]
        | tuple[Literal["prefill", "send"], ExchangeCall]
        | tuple[Literal["reply"], int, list[tuple[str, str]]]
        | tuple[Literal["body"], bytes]
        | None
    ):
        """The next output: its name and its values. ``None`` until the next input."""
    def handle_decision(self, decision: Dispatch | Rejected | Evicted) -> None:
        """The request was dispatched or refused. A dispatch that comes too late is cancelled."""
    def handle_refusal(
        self,
        reason: RejectReason
        | EvictReason
        | GatewayReason
        | Rejected
        | Evicted,
    ) -> None:
        """The request is refused, and no further endpoint is asked."""
    def handle_prefilled(self, request_id: int, status: int, body: Buffer) -> None:
        """The prefilling endpoint has answered with this status and this whole body."""
    def handle_prefill_failure(self, request_id: int, failure: Failure = "unreachable") -> None:
        """The prefilling endpoint returned no whole answer."""
    def handle_unreachable(self, failure: Failure = "unreachable") -> None:
        """The endpoint returned no headers."""
    def handle_head(
        self,
        status: int,
        headers: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str],
    ) -> None:
        """The endpoint responds with this status and these headers."""
    def handle_chunk(
        self, chunk: Buffer, since: float | None = None, until: float | None = None
    ) -> bool:
        """A chunk of the response's body. Returns whether the host sends it to the client; if not,
        it is held back, or comes as an output.

        With both times, the host has waited for it meanwhile: see ``wait`` and ``end_wait``.
        """
    def handle_close(self, close: CloseReason = "clean") -> None:
        """The connection to the endpoint ended."""
    def handle_client_disconnected(self) -> None:
        """The client disconnected. Cancels the request if it is in flight."""
    def wait(self, now: float) -> float | None:
        """Starts to wait for the endpoint at ``now``, on the host's clock. Returns the longest time
        to wait in seconds; ``None`` for no limit."""
    def end_wait(self, now: float) -> None:
        """Stops waiting, at ``now`` on the same clock."""
    def idle_limit(self) -> tuple[float, bool]:
        """The current idle limit in seconds, and whether the first token has arrived."""
    @property
    def excluded(self) -> list[int]:
        """Endpoints to exclude from the next decision."""
    @property
    def has_lease(self) -> bool:
        """Whether an endpoint has the request, or answered it."""
    @property
    def ended(self) -> bool:
        """Whether no input has an effect any more."""
    @property
    def outcome(self) -> Outcome | None:
        """How the latest answer ended; ``None`` before its end."""

@final
class Answer:
    """A live view of the part of an answer that has been read."""

    @property
    def begun(self) -> bool:
        """Whether a stream has delivered a payload that is not an error. After that, the request
        is never retried."""
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
        """Why the engine stopped, if reported."""
    @property
    def outcome(self) -> Outcome | None:
        """How the answer ended; ``None`` before ``Lease.finish``."""
    @property
    def complete(self) -> bool:
        """Whether the response has ended and is complete, be it an answer or a refusal."""

@final
class Progress:
    """The content of one or more chunks of an answer."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("first_token", "tokens", "ended")

    def __new__(
        cls, *, first_token: bool = False, tokens: int = 0, ended: bool = False
    ) -> Self: ...
    @property
    def first_token(self) -> bool:
        """Whether they contain the first token. Always false for a body that is not a stream."""
    @property
    def tokens(self) -> int:
        """Tokens in them."""
    @property
    def ended(self) -> bool:
        """Whether the answer has ended."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Outcome:
    """How an answer ended."""

    __match_args__: ClassVar[tuple[str, str, str]] = ("end", "retry", "finish_reason")

    @property
    def end(self) -> End:
        """The kind of end."""
    @property
    def retry(self) -> Retry:
        """Whether the request may be retried on another endpoint."""
    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the engine stopped, if reported."""
    @property
    def usage(self) -> Usage:
        """The usage that the engine reported."""
    @property
    def tokens(self) -> int:
        """Tokens of the answer."""
    @property
    def exact(self) -> bool:
        """Whether ``tokens`` is exact. If not, each chunk with content counts as one token."""
    @property
    def status(self) -> int:
        """The HTTP status of the response, or of the error in its stream. 0 without a response."""
    @property
    def unreadable(self) -> int:
        """Malformed payloads. They are ignored."""
    @property
    def problem(self) -> ErrorKind | None:
        """The error of the first malformed payload."""
    @property
    def complete(self) -> bool:
        """Whether the response is complete, be it an answer or a refusal."""
    @property
    def settlement(self) -> Disposition:
        """The call of the scheduler that ends the request."""
    @property
    def failure(self) -> Failure | None:
        """The kind of failure, if the settlement is ``fail``."""
    def may_retry(self, sent: bool) -> bool:
        """Whether the request may be retried on another endpoint.

        ``sent`` is whether any byte of this answer was sent to the client.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class ResponseReader:
    """Reads a response in chunks of any size, and reports how it ended. No content is kept.

    Supports the streams and bodies of the OpenAI and Anthropic APIs, and of SGLang's ``generate``.
    Each ``aio.Lease`` contains a reader.
    """

    def __new__(cls, status: int, content_type: str) -> Self:
        """Creates a reader for a response with this status and ``Content-Type``."""
    def feed(self, chunk: Buffer) -> Progress:
        """Reads the next chunk of the body. Has no effect after the end."""
    def finish(self, close: CloseReason = "clean") -> Outcome:
        """Ends the body. Only the first call counts: later calls return the same outcome."""
    @property
    def is_stream(self) -> bool:
        """Whether the body is read as a stream of events."""
    @property
    def begun(self) -> bool:
        """Whether a stream has delivered a payload that is not an error. After that, the request
        is never retried."""
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
        """Why the engine stopped, if reported."""
    @property
    def outcome(self) -> Outcome | None:
        """How the answer ended, after ``finish``."""

@final
class ModelFilter:
    """Replaces the engine's model name in a response by the name that the client requested.

    The length of the body changes: do not pass ``Content-Length`` on.
    """

    def __new__(cls, content_type: str, name: str) -> Self:
        """Creates a filter for a body of this ``Content-Type``."""
    def feed(self, chunk: Buffer) -> bytes:
        """Returns the bytes to send to the client for this chunk."""

@final
class AnswerFilter:
    """Passes a response through as if the client's own request had been sent to the engine.

    ``model`` is the client's name for the model. With ``drop_usage``, usage that only the gateway
    requested is removed from a stream: the chunk without choices, and ``"usage":null`` in the
    others. An incomplete event is buffered. Do not pass ``Content-Length`` on.
    """

    def __new__(
        cls, content_type: str, *, model: str | None = None, drop_usage: bool = False
    ) -> Self:
        """Creates a filter for a body of this ``Content-Type``."""
    def feed(self, chunk: Buffer) -> bytes:
        """Returns the bytes to send to the client after this chunk."""
    def finish(self) -> bytes:
        """Ends the body, and returns the buffered bytes."""

@final
class KvReport:
    """The result of handling a message about an engine's KV cache."""

    @property
    def ask(self) -> int | None:
        """The first batch of a replay to request, or ``None``."""
    @property
    def cleared(self) -> bool:
        """Whether the tracked cache was cleared: the publisher restarted, or its replay does not
        reach back far enough."""
    @property
    def batches(self) -> int:
        """Batches applied."""
    @property
    def dropped(self) -> int:
        """Duplicate batches, which are dropped."""
    @property
    def held(self) -> int:
        """Batches that are held until the replay ends."""
    @property
    def lost(self) -> int:
        """Batches that are lost for good."""
    @property
    def unreadable(self) -> int:
        """Malformed batches. No part of them was applied."""
    @property
    def error(self) -> ErrorKind | None:
        """The error of the last malformed batch, with the offset in its payload."""
    @property
    def stored_blocks(self) -> int:
        """Blocks recorded as stored."""
    @property
    def removed_blocks(self) -> int:
        """Blocks reported as removed."""
    @property
    def clears(self) -> int:
        """Events that cleared the cache."""
    @property
    def unknown_parents(self) -> int:
        """Stored events whose parent block is unknown."""
    @property
    def refused(self) -> int:
        """Events that were refused for other reasons."""
    @property
    def refusal(self) -> str | None:
        """The code of the last refused event: see ``KvEventError``."""
    @property
    def skipped_events(self) -> SkippedEvents:
        """Counts of the content that was skipped."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

def api_of_path(path: str) -> Api | None:
    """The API that is served at this path, which may have a prefix."""

def outcome_of_status(status: int) -> Outcome:
    """The outcome of a response with this status, regardless of its body."""

def replay_request(start: int) -> bytes:
    """The frame that requests a replay from this batch on. Send it after an empty frame."""

def kv_transfer_body(
    body: Buffer,
    transfer: str,
    api: str | None = None,
    path: str | None = None,
    parameters: str | None = None,
    host: str = "",
    port: int = ...,
    room: int = 0,
) -> bytes:
    """See ``slotwise.wire.kv_transfer_body``."""

def kv_transfer_params(answer: Buffer) -> str | None:
    """See ``slotwise.wire.kv_transfer_params``."""

def add_usage(body: Buffer, api: str | None = None, path: str | None = None) -> tuple[bytes, bool]:
    """See ``slotwise.wire.add_usage``."""

def rewrite_model(body: Buffer, model: str) -> bytes:
    """Replaces the model in a body. All other bytes stay the same. Raises ``WireError``."""

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
    """vLLM's names for the full blocks of a prompt, 32 bytes each, or 16 with XXH3; events with
    integer names have the last 8.

    ``seed`` is ``PYTHONHASHSEED``, and defaults to vLLM's own; with XXH3, an unset one is random.
    ``tagged`` selects the block keys of vLLM 0.31 and later, which tag their additional fields.
    """

# For ``slotwise.wire``: reports are JSON.

def read_metrics(
    page: Buffer,
    engine: str | None,
    fields: Mapping[MetricField, str | Sequence[str]] | None,
    adapters: str | None,
    rank_label: str | None,
) -> str:
    """The report of a metrics page."""

def read_orca(value: str | Buffer) -> str:
    """The report of an ORCA header."""

def read_kv_frames(frames: Sequence[Buffer]) -> tuple[bytes, int, bytes] | None:
    """Topic, number and payload of a message; ``None`` is the end of a replay."""

def read_kv_batch(payload: Buffer) -> tuple[float, str]:
    """The time at which a batch was sent, and its events."""

def read_request(
    body: Buffer, api: str | None = None, path: str | None = None
) -> tuple[str, bytes | list[int]]:
    """The contents of a body, and its prompt."""

def read_headers(pairs: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str]) -> str:
    """The contents of headers."""

def forwarded_headers(
    pairs: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str],
    add: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str],
    credentials: bool,
) -> list[tuple[str, str]]:
    """See ``slotwise.wire.forwarded_headers``."""

def response_headers(
    pairs: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str],
    add: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str],
) -> list[tuple[str, str]]:
    """See ``slotwise.wire.response_headers``."""

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
    """The attributes of a usage."""

def attributes_of_refusal(reason: str | Rejected | Evicted) -> str:
    """The attributes of a refusal."""

def call_policy(function: str, arguments: str) -> str: ...
@final
class Ingress:
    """See ``slotwise.ingress.Ingress``. A refusal is text: JSON for ``RefusedError``."""

    def __new__(cls, arguments: str) -> Self:
        """An ingress from JSON: its ``config``, ``seed``, ``allow`` and ``session_headers``."""
    def set_config(self, arguments: str) -> None:
        """Replaces the configuration by the ``config`` of a JSON object."""
    def identify(
        self, headers: Iterable[tuple[str, str]] | Mapping[str, str], client: str | None = None
    ) -> tuple[str, bool, str | None, int | None, float | None] | str:
        """The fields of a ``Caller``, or the refusal."""
    def admit(
        self,
        now: float,
        model: str,
        path: str,
        method: str,
        headers: Iterable[tuple[str, str]] | Mapping[str, str],
        client: str | None,
        session: str | None,
        objective: str | None,
        prompt_tokens: int,
        output_tokens: int,
    ) -> tuple[Any, ...] | str:
        """The number and the other fields of an ``Admitted``, or the refusal."""
    def settle(
        self, now: float, number: int, prompt_tokens: int | None, completion_tokens: int | None
    ) -> bool:
        """Whether the request had not ended."""
    def cancel(self, now: float, number: int) -> bool:
        """Whether the request had not ended."""
    def models(self, key: str | None) -> list[str]:
        """The models that a caller may request, by the name of its key."""

@disjoint_base
class PeerLink:
    """A scheduler's messages to and from the other gateways of its pool."""

    def __new__(
        cls, scheduler: Scheduler, config: str, key: Buffer, incarnation: int
    ) -> Self: ...
    def export_delta(self, *, now: float | None = None) -> bytes | None:
        """The next message for all peers, if one is due. Call it until it returns ``None``."""

    def apply_delta(
        self, message: Buffer, *, now: float | None = None
    ) -> Literal["new", "beacon", "repeated", "old", "own"]:
        """Applies a message of a peer, and returns what it was.

        Raises :class:`slotwise.PeerError` if it cannot be trusted or read.
        """

    def _exchange_usage(self, gates: Ingress | Machine, *, now: float | None = None) -> None: ...
    def next_timeout(self, *, now: float | None = None) -> float | None:
        """When to call :meth:`export_delta` again, unless something happens before."""

    def _load(
        self, endpoint_id: int, *, now: float | None = None
    ) -> tuple[int, int, float, int, float, int | None]: ...
    @property
    def alive(self) -> list[str]:
        """Names of the peers whose claims count."""

    @property
    def is_complete(self) -> bool:
        """Whether all messages of these peers have arrived, as far as is known."""

    def metrics_text(self, *, now: float | None = None) -> str:
        """Metrics of the link as OpenMetrics text: peers, messages, bytes, and what is held."""

    def _stats(self) -> str: ...

def seed_of_peers(key: Buffer) -> int:
    """The seed that gateways with this key share."""

@final
class Machine:
    """A machine over JSON, by its kind."""

    def __new__(cls, kind: str, arguments: str) -> Machine: ...
    def call(self, name: str, arguments: str) -> str:
        """Calls the machine; arguments and result are JSON."""

def after_fork() -> None:
    """Called in each child process, right after the fork."""
