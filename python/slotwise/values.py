"""Immutable values that go in and come out while a scheduler runs. Durations, waits and costs are
seconds.

They are dataclasses: they compare, print, match, copy and pickle. What they are made of is defined
in the core. What a scheduler starts from is in :mod:`slotwise.config`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from .config import Endpoint, endpoint_of

Tier: TypeAlias = Literal["gpu", "cpu", "disk"]
"""Where an engine keeps a block: in the accelerator's memory, in the host's, or on disk (or in
storage over the network)."""

Failure: TypeAlias = Literal["unreachable", "engine", "timeout"]
"""How a request failed: it never arrived, the engine failed it, or the gateway gave up waiting."""

CacheUse: TypeAlias = Literal["read", "unreported", "unread"]
"""What an engine does with its cache for a request: it looks for the prompt and reports what it
found; it looks, and what it reports is about something else; or it does not look."""

Allow: TypeAlias = (
    Collection[Literal["priority", "flow", "session", "ttl", "deadline"]]
    | Mapping[
        Literal["priority", "flow", "session", "ttl", "deadline", "session_headers"],
        bool | tuple[int, int] | tuple[float, float] | Sequence[str] | None,
    ]
)
"""What clients may say of their own requests, in bodies and headers: names, or a mapping from names
to ``True`` or a range.

``{"priority": (-10, 0), "ttl": (0.0, 30.0), "session_headers": ["x-claude-code-session-id"]}``.
What is beyond a range counts as its nearest end. Without a range, a priority is within -100 and
100, and a TTL or a deadline is at most an hour."""

RejectReason: TypeAlias = Literal[
    "no_endpoints", "not_served", "too_large", "deadline_unreachable", "saturated", "shed", "queue_full", "name_too_long", "thread_not_found"
]
"""Why a request does not go."""

EvictReason: TypeAlias = Literal[
    "ttl_expired", "no_endpoints", "deadline_unreachable", "displaced", "too_large", "thread_not_found"
]
"""Why a request that waited does not go: it has waited for as long as it may, with endpoints or
without any; no endpoint could answer before its deadline; something more important has its place;
or it fits nowhere."""

Exclusion: TypeAlias = Literal[
    "elsewhere",
    "not_served",
    "excluded",
    "draining",
    "sleeping",
    "too_large",
    "too_late",
    "backed_off",
    "ramping",
    "session_limit",
    "full",
]
"""Why one endpoint cannot have a request."""

BackoffCause: TypeAlias = Literal["unreachable", "failed", "unanswered", "late", "probe"]
"""Why an endpoint is backed off."""

HealthState: TypeAlias = Literal["serving", "backed_off", "trial", "ramping"]
"""What requests an endpoint takes: all, none, one at a time, or as many as its window allows."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A prompt as ready hashes of its full blocks."""

    hashes: Any
    """A buffer, list or tuple of 64-bit integers. Each stands for its block and everything before
    it."""
    block_size: int
    """Tokens in a block."""
    tokens: int
    """The prompt's length in tokens."""


@dataclass(frozen=True, slots=True)
class BlockStored:
    """An engine computed blocks, each the child of the one before it.

    With token ids, the blocks match prompts of token ids. Without them, the engine's names must be
    the hashes of :class:`Blocks`.
    """

    kind: ClassVar[Literal["stored"]] = "stored"

    blocks: Any
    """The engine's 64-bit names for them: a buffer, list or tuple."""
    block_size: int
    """Tokens in a block."""
    parent: int | None = field(default=None, kw_only=True)
    """The engine's name for the block before the first; ``None`` at the beginning of a prompt."""
    tokens: Any = field(default=None, kw_only=True)
    """Token ids of all the blocks."""
    lookahead: Any = field(default=(), kw_only=True)
    """Token ids behind the last block that its hash covers as well."""
    tier: Tier = field(default="gpu", kw_only=True)
    """Where they are kept."""
    model: str | None = field(default=None, kw_only=True)
    """The base model; ``None`` means the endpoint's, whatever requests call it."""
    adapter: str | None = field(default=None, kw_only=True)
    """The LoRA adapter."""
    cache_salt: str | None = field(default=None, kw_only=True)
    """The cache salt."""


@dataclass(frozen=True, slots=True)
class BlockRemoved:
    """Blocks are gone. Names that mean nothing are ignored: engines announce removals twice."""

    kind: ClassVar[Literal["removed"]] = "removed"

    blocks: Any
    """The engine's 64-bit names for them: a buffer, list or tuple."""
    tier: Tier = field(default="gpu", kw_only=True)
    """Where they are gone from. They may still be in another tier."""


@dataclass(frozen=True, slots=True)
class AllBlocksCleared:
    """Everything is gone."""

    kind: ClassVar[Literal["cleared"]] = "cleared"


KvEvent: TypeAlias = BlockStored | BlockRemoved | AllBlocksCleared
"""One change of an engine's KV cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedEndpoint:
    """What left the pool."""

    endpoint: Endpoint
    """How it was described."""
    in_flight: tuple[int, ...]
    """Requests that are still on it. They end as if it were there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a request used, as the engine counted it."""

    prompt_tokens: int | None = None
    """Tokens of the prompt."""
    cached_tokens: int | None = None
    """Those of them that were found in the cache."""
    completion_tokens: int | None = None
    """Tokens of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTerms:
    """A cost, term by term, in seconds."""

    queue: float
    """Booked prefill before its turn."""
    kv_admission_wait: float
    """Waiting for room in the KV cache."""
    prefill: float
    """Its own prefill."""
    cache_eviction: float
    """What others must compute again because of it."""
    kv: float
    """Room in the KV cache."""
    decode: float
    """Running answers that stand still meanwhile."""
    adapter: float
    """Loading its LoRA adapter."""
    failure_backoff: float
    """What is left of the time that requests are held off after failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One endpoint, as a request sees it."""

    endpoint_id: int
    """The endpoint."""
    name: str
    """Its name."""
    excluded: Exclusion | None
    """Why it cannot have the request, if so."""
    cached_tokens: int
    """Prompt tokens that it is expected to find in its cache."""
    first_token_in: float
    """Predicted seconds to the first token."""
    terms: CostTerms
    """The cost, term by term."""
    cost: float
    """Their sum, in seconds."""
    backoff: BackoffCause | None
    """Why it is backed off, if it is."""
    backoff_remaining: float
    """For how many seconds from now on, before a trial."""
    kv_refusal: str | None = None
    """Why its KV events are not used: the code of the last refusal, while the endpoint is not
    precise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What ``pick`` would decide, and what every endpoint would cost. ``str()`` is a table."""

    endpoint_id: int | None
    """Where the request would go, if it would."""
    reason: RejectReason | None
    """Why it would not go, if so."""
    retry_after: float | None
    """When it may be worth another try, if it would not go and that is known."""
    prompt_tokens: int
    """Tokens of the prompt: counted, or estimated from text."""
    best_cached_tokens: int
    """The most that any endpoint of the pool is expected to find in its cache."""
    candidates: tuple[Candidate, ...]
    """Every endpoint: first those that could have the request, best first."""
    table: str = field(repr=False, compare=False)
    """All of it as a table."""

    def __str__(self) -> str:
        return self.table


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAdmissionStats:
    """The session guard at a glance."""

    active: int
    """Sessions whose contexts count."""
    remembered: int
    """Sessions that would be recognised, with those."""
    idle_time: float
    """Seconds that a session stays active with nothing in flight."""
    share: float
    """Share of a cache that active contexts may fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStats:
    """What one endpoint has done and holds now."""

    id: int
    """Its id."""
    name: str
    """Its name."""
    draining: bool
    """Whether it gets no new requests."""
    kv_events: bool
    """Whether its engine publishes KV events, and they are used."""
    kv_stored_events: int
    """Stored events of its engine that were applied."""
    kv_refused_events: int
    """Stored events of its engine that were refused."""
    kv_refusal: str | None
    """Why the last one was refused, unless a later one was applied: a code as that of
    ``KvEventError``."""
    block_size: int
    """Tokens in one of its cache blocks: as described, until KV events show another length."""
    hash_mismatch: bool
    """Whether its engine calls blocks by other names than the rest of the pool, which costs memory.
    For vLLM, set ``PYTHONHASHSEED`` to the same number everywhere."""
    dispatched: int
    """Requests dispatched to it."""
    completed: int
    """Requests that completed there."""
    failed: int
    """Requests that failed there."""
    cancelled: int
    """Requests that were cancelled there."""
    prefilling: int
    """Our requests before their first token."""
    running: int
    """Our requests past their first token."""
    queued_prefill: float
    """Predicted seconds of prefill of the pending ones."""
    kv_tokens: int
    """Tokens of our prompts and answers in flight."""
    kv_cache_tokens: int
    """Tokens that fit."""
    external_waiting: float
    """Requests of others that wait there, as far as reports show."""
    external_running: float
    """Requests of others that run there, as far as reports show."""
    report_age: float | None
    """How many seconds old the last load report is; ``None`` if there was none."""
    report_errors: int
    """Reports that could not be read, or said nothing that is known."""
    report_error: str | None
    """Why, if the last report could not be read: a code as that of ``WireError``."""
    sleeping: bool
    """Whether its engine sleeps, as its reports show: it gets no requests."""
    slowdown: float
    """Seconds that it takes for a second of described work."""
    health: HealthState
    """What requests it takes."""
    backoff: BackoffCause | None
    """Why it is backed off, if it is."""
    backoff_remaining: float
    """How many seconds requests are held off after failures."""
    failures: int
    """Backoffs in a row since it last served."""
    backoffs: int
    """Times that it was backed off."""
    unanswered: int
    """Of the cancelled requests: before their first token."""
    late: int
    """First tokens that came much later than predicted."""
    residual: float
    """Seconds that it counts as busy with requests that ended before their first token."""
    estimated_tokens: int
    """Tokens that it is assumed to hold in its cache."""
    stored_tokens: int
    """Tokens that its engine reports it holds."""
    warm_tokens: int
    """Tokens of either that were used lately."""
    session_tokens: int
    """Tokens of the contexts of its active sessions, if there is a session guard."""
    adapters: tuple[str, ...]
    """Adapters that are thought to be loaded, least recently used first."""
    adapter_loads: int
    """Adapters that our requests made it load."""
    wait: float
    """Seconds that a new request would wait for its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Durations that were observed, in buckets with fixed bounds."""

    bounds: tuple[float, ...]
    """The upper bound of each bucket but the last, in seconds, rising."""
    counts: tuple[int, ...]
    """Durations in each bucket; the last one has what is above all bounds."""
    sum: float
    """All durations together, in seconds."""
    count: int
    """The number of durations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandStats:
    """One band of the waiting room."""

    priority: int
    """Its priority."""
    queued: int
    """Requests of it that wait."""
    queued_bytes: int
    """Their bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a scheduler has done since it began, and what it holds now."""

    dispatched: int
    """Requests sent to an endpoint."""
    completed: int
    """Requests that completed."""
    failed: int
    """Requests that failed."""
    unreachable: int
    """Those of them that never reached the endpoint."""
    cancelled: int
    """Requests that were cancelled."""
    redirected: int
    """Requests that went to another endpoint than was decided."""
    rejected: Mapping[RejectReason, int]
    """Requests that were rejected, by reason."""
    evicted: Mapping[EvictReason, int]
    """Requests that waited and were evicted, by reason."""
    queued: int
    """Requests that wait for a decision."""
    queued_bytes: int
    """Their bytes."""
    undelivered: int
    """Evictions that ``poll_decision`` has not returned yet. They take up room in the queue."""
    bands: tuple[BandStats, ...]
    """What waits by priority, highest first: the bands of which something waits."""
    queue_time_total: float
    """How many seconds dispatched requests had waited for their decisions, all together."""
    queue_time: Histogram
    """The same by length: 0 for what was picked and never waited."""
    time_to_first_token: Histogram
    """From a request's dispatch to its first token, as the gateway sees it."""
    session_admission: SessionAdmissionStats | None
    """The session guard, if there is one."""
    in_flight: int
    """Requests in flight."""
    prompt_tokens: int
    """Prompt tokens of dispatched requests."""
    predicted_cached_tokens: int
    """Prompt tokens that were expected in the cache of the chosen endpoint."""
    checked_cached_tokens: int
    """Of completed requests whose engine reported how many cached tokens it found: what had been
    expected."""
    reported_cached_tokens: int
    """Of the same requests: what the engine found."""
    corrections: int
    """Times that what an endpoint is assumed to hold was corrected."""
    reuse_probability: float
    """The measured probability that a cached token is wanted again."""
    index_entries: int
    """Pairs of an endpoint and a block that it holds in the prefix index."""
    index_bytes: int
    """Bytes that the prefix index has allocated for them."""
    endpoints: tuple[EndpointStats, ...]
    """Every endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The endpoints that could have a request, best first, as columns for a cost function.

    Columns are read-only buffers: ``numpy.frombuffer(candidates.cost)`` copies nothing.
    """

    prompt_tokens: int
    """Tokens of the prompt: counted, or estimated from text."""
    names: tuple[str, ...]
    """The endpoints' names."""
    endpoints: memoryview
    """Their ids, unsigned 64-bit."""
    cached_tokens: memoryview
    """Prompt tokens that each is expected to find in its cache, unsigned 64-bit."""
    first_token_in: memoryview
    """Predicted seconds to the first token."""
    queue: memoryview
    """The terms of the cost, in seconds: see :class:`CostTerms`."""
    kv_admission_wait: memoryview
    prefill: memoryview
    cache_eviction: memoryview
    kv: memoryview
    decode: memoryview
    adapter: memoryview
    failure_backoff: memoryview
    cost: memoryview
    """Their sum."""


# From the core's JSON. Called from the native part.


def decode_removed(text: str) -> RemovedEndpoint:
    """What left the pool from JSON."""
    endpoint, in_flight = json.loads(text)
    return RemovedEndpoint(endpoint=endpoint_of(endpoint), in_flight=tuple(in_flight))


def decode_explanation(text: str) -> Explanation:
    """An explanation and its table from JSON."""
    fields, table = json.loads(text)
    verdict = fields.pop("verdict")
    rejected = verdict.get("Err") or {"reason": None, "retry_after": None}
    candidates = fields.pop("candidates")
    return Explanation(
        endpoint_id=verdict.get("Ok"),
        reason=rejected["reason"],
        retry_after=rejected["retry_after"],
        candidates=tuple(Candidate(**{**one, "terms": CostTerms(**one["terms"])}) for one in candidates),
        table=table,
        **fields,
    )


def decode_stats(text: str) -> Stats:
    """Statistics from JSON."""
    fields = json.loads(text)
    for name in ("queue_time", "time_to_first_token"):
        histogram = fields[name]
        bounds, counts = tuple(histogram.pop("bounds")), tuple(histogram.pop("counts"))
        fields[name] = Histogram(bounds=bounds, counts=counts, **histogram)
    endpoints = fields.pop("endpoints")
    for one in endpoints:
        one["adapters"] = tuple(one["adapters"])
    fields["bands"] = tuple(BandStats(**one) for one in fields["bands"])
    guard = fields.pop("session_admission")
    fields["session_admission"] = None if guard is None else SessionAdmissionStats(**guard)
    return Stats(endpoints=tuple(EndpointStats(**one) for one in endpoints), **fields)
