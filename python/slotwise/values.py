"""Immutable values that go in and come out. Durations, waits and costs are seconds.

They are dataclasses: they compare, print, match, copy and pickle. What they are made of is defined in the core; defaults come
from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args, get_type_hints

from . import _core

Role: TypeAlias = Literal["unified", "prefill", "decode"]
"""Which stages of a request an endpoint runs, or a request needs."""

EvictionOrder: TypeAlias = Literal["tail_first", "head_first"]
"""In which order a cache gives up the blocks of one prompt. vLLM and SGLang: the tail first."""

Tier: TypeAlias = Literal["gpu", "cpu", "disk"]
"""Where an engine keeps a block: in the accelerator's memory, in the host's, or on disk (or in storage over the network)."""

Failure: TypeAlias = Literal["unreachable", "engine", "timeout"]
"""How a request failed: it never arrived, the engine failed it, or the gateway gave up waiting."""

RejectReason: TypeAlias = Literal[
    "no_endpoints", "not_served", "too_large", "deadline_unreachable", "saturated", "shed", "queue_full"
]
"""Why a request does not go."""

EvictReason: TypeAlias = Literal["ttl_expired", "no_endpoints", "deadline_unreachable", "displaced", "too_large"]
"""Why a request that waited does not go: it has waited for as long as it may, with endpoints or without any; no endpoint could
answer before its deadline; something more important has its place; or it fits nowhere."""

Fairness: TypeAlias = Literal["start_time", "round_robin", "global_strict", "least_attained_service"]
"""Which flow of a band goes first: the one that has had the fewest predicted seconds for its weight, each in turn, none (all are
one queue), or the one that has had the fewest lately."""

QueueOrder: TypeAlias = Literal["fcfs", "edf", "slo_deadline", "shortest_work"]
"""Which request of a flow goes first: the first come, the one that would expire first, the one whose first token is due first, or the
shortest, where waiting counts."""

Exclusion: TypeAlias = Literal["not_served", "draining", "too_large", "too_late", "full"]
"""Why one endpoint cannot have a request."""

_DEFAULTS: dict[str, Any] = json.loads(_core.default_config())
_GUARD, _UTILIZATION, _CONCURRENCY = json.loads(_core.default_options())


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillCost:
    """What a prompt costs an endpoint's hardware."""

    per_token: float = _DEFAULTS["prefill"]["per_token"]
    """Seconds for each token computed."""
    per_pair: float = _DEFAULTS["prefill"]["per_pair"]
    """Seconds for each pair of a token computed and a token that it attends to."""
    per_step: float = _DEFAULTS["prefill"]["per_step"]
    """Seconds that a step of the engine takes whatever is in it."""
    min_step: float = _DEFAULTS["prefill"]["min_step"]
    """The least that a step's matrix work takes: reading the weights once."""
    chunk: int = _DEFAULTS["prefill"]["chunk"]
    """Tokens that the engine computes in a step (``max_num_batched_tokens``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostWeights:
    """The prices of the default profile: what a second of one thing is worth in seconds of another."""

    queue: float = _DEFAULTS["weights"]["queue"]
    """Price of a second of waiting for its turn."""
    room: float = _DEFAULTS["weights"]["room"]
    """Price of a second of waiting for room in a full KV cache."""
    prefill: float = _DEFAULTS["weights"]["prefill"]
    """Price of a second of its own prefill."""
    eviction: float = _DEFAULTS["weights"]["eviction"]
    """Price of a second that others must spend on recomputing what it evicts."""
    eviction_onset: float = _DEFAULTS["weights"]["eviction_onset"]
    """Share of the cache that the warm working set may fill before an eviction is thought to hit it."""
    kv: float = _DEFAULTS["weights"]["kv"]
    """Price of the whole KV cache; a request pays for the share that is in use with it."""
    decode: float = _DEFAULTS["weights"]["decode"]
    """Price of delaying one running answer by a second."""
    decode_cap: float = _DEFAULTS["weights"]["decode_cap"]
    """Longest prefill that the decode term counts."""
    adapter: float = _DEFAULTS["weights"]["adapter"]
    """Price of a second of loading adapters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierWeights:
    """What a cached block is worth that is not in the accelerator's memory: the share of its prefill that is saved."""

    cpu: float = _DEFAULTS["tiers"]["cpu"]
    """In the host's memory."""
    disk: float = _DEFAULTS["tiers"]["disk"]
    """On disk, or in storage over the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLimits:
    """What is remembered of the endpoints' caches."""

    bytes: int = _DEFAULTS["index"]["bytes"]
    """Bytes that may be allocated for it."""
    warm_window: float = _DEFAULTS["index"]["warm_window"]
    """Blocks used within this time belong to an endpoint's warm working set."""
    confirm_within: float = _DEFAULTS["index"]["confirm_within"]
    """An engine that publishes events has this long after a first token to confirm the prompt's blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandLimits:
    """What a band, the requests of one priority, may hold."""

    max_requests: int = _DEFAULTS["flow"]["band"]["max_requests"]
    """Requests that may wait."""
    max_bytes: int = _DEFAULTS["flow"]["band"]["max_bytes"]
    """Bytes of requests that may wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousSaturation:
    """Saturation from predicted seconds of queued work, and projected use of the KV caches."""

    type: Literal["continuous"] = field(default="continuous", init=False, repr=False)
    hold: float = _DEFAULTS["flow"]["saturation"]["hold"]
    """Predicted seconds of prefill with which an endpoint is full."""
    kv_limit: float = _DEFAULTS["flow"]["saturation"]["kv_limit"]
    """Share of the KV cache with which it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilizationDetector:
    """Saturation from what endpoints report, with the names of the Gateway API's inference extension."""

    type: Literal["utilization-detector"] = field(default="utilization-detector", init=False, repr=False)
    queue_depth_threshold: int = _UTILIZATION["queue_depth_threshold"]
    """Waiting requests with which an endpoint is full."""
    kv_cache_util_threshold: float = _UTILIZATION["kv_cache_util_threshold"]
    """Share of the KV cache with which it is."""
    metrics_staleness_threshold: float = _UTILIZATION["metrics_staleness_threshold"]
    """Reports that are older are not used."""
    headroom: float = _UTILIZATION["headroom"]
    """How far a single endpoint may go beyond full, as a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyDetector:
    """Saturation from what was sent to endpoints, with the names of the Gateway API's inference extension."""

    type: Literal["concurrency-detector"] = field(default="concurrency-detector", init=False, repr=False)
    concurrency_mode: Literal["requests", "tokens", "hybrid"] = _CONCURRENCY["concurrency_mode"]
    """What is counted: requests, their tokens, or whichever says that an endpoint is fuller."""
    max_concurrency: int = _CONCURRENCY["max_concurrency"]
    """Requests in flight with which an endpoint is full."""
    max_token_concurrency: int = _CONCURRENCY["max_token_concurrency"]
    """Their tokens with which it is."""
    headroom: float = _CONCURRENCY["headroom"]
    """How far a single endpoint may go beyond full, as a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticCeiling:
    """One ceiling for all bands: only their order sets them apart."""

    type: Literal["static"] = field(default="static", init=False, repr=False)
    ceiling: float = _DEFAULTS["flow"]["ceiling"]["ceiling"]
    """The saturation with which bands close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityHoldback:
    """Ceilings that fall from the highest band that is present to the lowest."""

    type: Literal["priority-holdback"] = field(default="priority-holdback", init=False, repr=False)
    min_ceiling: float
    """The saturation with which the lowest band closes."""
    max_ceiling: float = 1.0
    """The one with which the highest closes."""
    domain: Literal["rank", "value"] = "rank"
    """Where those between them close: in equal steps by rank, or in proportion to their priorities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftReflective:
    """Ceilings in steps that grow with the saturation; a band that is closed still has a share of the rounds."""

    type: Literal["soft-reflective"] = field(default="soft-reflective", init=False, repr=False)


SaturationPolicy: TypeAlias = ContinuousSaturation | UtilizationDetector | ConcurrencyDetector
"""How it is told how busy the pool is."""

CeilingPolicy: TypeAlias = StaticCeiling | PriorityHoldback | SoftReflective
"""How busy the pool may be for each band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """Holds back new sessions while no cache has room for their contexts. For traffic that comes back."""

    share: float = _GUARD["share"]
    """Share of a KV cache that the contexts of active sessions may fill, at first; then it is learned."""
    share_min: float = _GUARD["share_min"]
    """It never becomes smaller."""
    share_max: float = _GUARD["share_max"]
    """It never becomes larger."""
    idle_time: float = _GUARD["idle_time"]
    """How long a session stays active with nothing in flight, at first; then it is learned."""
    idle_time_min: float = _GUARD["idle_time_min"]
    """It never becomes shorter."""
    idle_time_max: float = _GUARD["idle_time_max"]
    """It never becomes longer."""
    max_sessions: int = _GUARD["max_sessions"]
    """Sessions that are remembered, about 250 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """The waiting room of submitted requests: how much may wait in it, and who goes first.

    Requests wait in bands of equal priority, and in a band in flows, one for each ``flow``.
    """

    max_requests: int | None = _DEFAULTS["flow"]["max_requests"]
    """Requests that may wait, over all bands; ``None`` leaves it to the limits of the bands."""
    max_bytes: int | None = _DEFAULTS["flow"]["max_bytes"]
    """Bytes of requests that may wait, over all bands; ``None`` leaves it to the limits of the bands."""
    band: BandLimits = BandLimits()
    """What each band may hold."""
    fairness: Fairness = _DEFAULTS["flow"]["fairness"]
    """Which flow of a band goes first."""
    order: QueueOrder = _DEFAULTS["flow"]["order"]
    """Which request of a flow goes first."""
    lower_share: float = _DEFAULTS["flow"]["lower_share"]
    """Share of the dispatched seconds that each band gives to those below it while they wait too."""
    look_ahead: float = _DEFAULTS["flow"]["look_ahead"]
    """Flows whose virtual times differ by no more than this are equally near to their turns."""
    max_idle_flows: int = _DEFAULTS["flow"]["max_idle_flows"]
    """Flows that are remembered though nothing of them waits."""
    hold: float = _DEFAULTS["flow"]["hold"]
    """A request waits while its best endpoint has more than this booked before it."""
    ttl: float = _DEFAULTS["flow"]["ttl"]
    """How long a request waits that does not say."""
    no_endpoint_ttl: float = _DEFAULTS["flow"]["no_endpoint_ttl"]
    """How long a request waits for an endpoint, where there is none."""
    saturation: SaturationPolicy = ContinuousSaturation()
    """How it is told how busy the pool is."""
    ceiling: CeilingPolicy = StaticCeiling()
    """How busy it may be for each band."""
    guard: GuardConfig | None = None
    """Holds back new sessions while no cache has room for their contexts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration of a scheduler. Everything that grows has a limit here."""

    seed: int = _DEFAULTS["seed"]
    """Keys all hashes. Keep it secret where clients could gain from collisions."""
    max_endpoints: int = _DEFAULTS["max_endpoints"]
    """Endpoints in the pool."""
    max_in_flight: int = _DEFAULTS["max_in_flight"]
    """Requests in flight, over the whole pool."""
    max_in_flight_blocks: int = _DEFAULTS["max_in_flight_blocks"]
    """Blocks of prompts in flight that are remembered until their requests end."""
    max_prompt_blocks: int = _DEFAULTS["max_prompt_blocks"]
    """Blocks of a prompt that are tracked; what comes after them counts as not cached."""
    max_models: int = _DEFAULTS["max_models"]
    """Models whose bytes per token are learned."""
    index: IndexLimits = IndexLimits()
    """What is remembered of the endpoints' caches."""
    kv_capacity: int = _DEFAULTS["kv_capacity"]
    """Tokens that fit into the KV cache of an endpoint that does not say."""
    kv_limit: float = _DEFAULTS["kv_limit"]
    """Share of an endpoint's KV cache that one request may need at the end of its answer."""
    adapter_slots: int = _DEFAULTS["adapter_slots"]
    """LoRA adapters that fit side by side on an endpoint that does not say."""
    adapter_load: float = _DEFAULTS["adapter_load"]
    """How long an endpoint that does not say takes to load an adapter."""
    prefill: PrefillCost = PrefillCost()
    """What a prompt costs an endpoint that does not say."""
    learn_speed: bool = _DEFAULTS["learn_speed"]
    """Whether each endpoint's speed is learned from its first tokens."""
    report_lifetime: float = _DEFAULTS["report_lifetime"]
    """After this time, little is left of the confidence in a load report."""
    hold_off: float = _DEFAULTS["hold_off"]
    """How long requests are held off from an endpoint that failed, at first."""
    hold_off_limit: float = _DEFAULTS["hold_off_limit"]
    """How long they are held off at most: each failed trial doubles the time."""
    flow: FlowConfig = FlowConfig()
    """Who waits, and who goes next."""
    weights: CostWeights = CostWeights()
    """The prices of the default profile."""
    tiers: TierWeights = TierWeights()
    """What cached blocks are worth that are not in the accelerator's memory."""
    alternatives: int = _DEFAULTS["alternatives"]
    """Fallbacks that a decision names besides the endpoint."""
    shed_above: float = _DEFAULTS["shed_above"]
    """Requests of negative priority are refused while even the best endpoint has more than this booked."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model server that requests can be sent to: its name, and what it can do."""

    name: str
    """Its name, unique in the pool. A URL is a good one."""
    models: Sequence[str] = field(default=(), kw_only=True)
    """Base models that it serves; none means: whatever is asked for."""
    labels: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Labels that requests can ask for."""
    role: Role = field(default="unified", kw_only=True)
    """Which stages it runs."""
    kv_capacity: int | None = field(default=None, kw_only=True)
    """Tokens that fit into its KV cache; ``None`` leaves it to the configuration."""
    block_size: int = field(default=16, kw_only=True)
    """Tokens in one of its cache blocks."""
    max_in_flight: int | None = field(default=None, kw_only=True)
    """Requests that it may have at once; ``None`` means no limit."""
    adapter_slots: int | None = field(default=None, kw_only=True)
    """LoRA adapters that fit side by side; ``None`` leaves it to the configuration."""
    adapter_load: float | None = field(default=None, kw_only=True)
    """Seconds that it takes to load an adapter; ``None`` leaves it to the configuration."""
    prefill: PrefillCost | None = field(default=None, kw_only=True)
    """What a prompt costs its hardware; ``None`` leaves it to the configuration."""
    eviction: EvictionOrder = field(default="tail_first", kw_only=True)
    """In which order its cache gives up the blocks of a prompt."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A prompt as ready hashes of its full blocks."""

    hashes: Any
    """A buffer, list or tuple of 64-bit integers. Each stands for its block and everything before it."""
    block_size: int
    """Tokens in a block."""
    tokens: int
    """The prompt's length in tokens."""


@dataclass(frozen=True, slots=True)
class BlocksStored:
    """An engine computed blocks, each the child of the one before it.

    With token ids the blocks match prompts of token ids; without, the engine's names are taken for the hashes of
    :class:`Blocks`.
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
    tier: Tier = field(default="gpu", kw_only=True)
    """Where they are kept."""
    model: str | None = field(default=None, kw_only=True)
    """The base model; ``None`` means the endpoint's only one."""
    adapter: str | None = field(default=None, kw_only=True)
    """The LoRA adapter."""
    cache_salt: str | None = field(default=None, kw_only=True)
    """The cache salt."""


@dataclass(frozen=True, slots=True)
class BlocksRemoved:
    """Blocks are gone. Names that mean nothing are ignored: engines announce removals twice."""

    kind: ClassVar[Literal["removed"]] = "removed"

    blocks: Any
    """The engine's 64-bit names for them: a buffer, list or tuple."""
    tier: Tier = field(default="gpu", kw_only=True)
    """Where they are gone from. They may still be in another tier."""


@dataclass(frozen=True, slots=True)
class BlocksCleared:
    """Everything is gone."""

    kind: ClassVar[Literal["cleared"]] = "cleared"


KvEvent: TypeAlias = BlocksStored | BlocksRemoved | BlocksCleared
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
class Terms:
    """A cost, term by term, in seconds."""

    queue: float
    """Booked prefill before its turn."""
    room: float
    """Waiting for room in the KV cache."""
    prefill: float
    """Its own prefill."""
    eviction: float
    """What others must compute again because of it."""
    kv: float
    """Room in the KV cache."""
    decode: float
    """Running answers that stand still meanwhile."""
    adapter: float
    """Loading its LoRA adapter."""
    recovery: float
    """What is left of the time that requests are held off after failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One endpoint, as a request sees it."""

    endpoint: int
    """The endpoint."""
    name: str
    """Its name."""
    excluded: Exclusion | None
    """Why it cannot have the request, if so."""
    cached_tokens: int
    """Prompt tokens that it is expected to find in its cache."""
    first_token_in: float
    """Predicted seconds to the first token."""
    terms: Terms
    """The cost, term by term."""
    cost: float
    """Their sum, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What ``pick`` would decide, and what every endpoint would cost. ``str()`` is a table."""

    endpoint: int | None
    """Where the request would go, if it would."""
    reason: RejectReason | None
    """Why it would not go, if so."""
    retry_after: float | None
    """When it may be worth another try, if it would not go and that can be told."""
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
class GuardStats:
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
    precise: bool
    """Whether its engine publishes KV events."""
    hashes_differ: bool
    """Whether its engine calls blocks by other names than the rest of the pool, which costs memory. For vLLM, set
    ``PYTHONHASHSEED`` to the same number everywhere."""
    dispatched: int
    """Requests dispatched to it."""
    completed: int
    """Requests that completed there."""
    failed: int
    """Requests that failed there."""
    cancelled: int
    """Requests that were cancelled there."""
    pending: int
    """Our requests before their first token."""
    running: int
    """Our requests past their first token."""
    booked: float
    """Predicted seconds of prefill of the pending ones."""
    kv_tokens: int
    """Tokens of our prompts and answers in flight."""
    kv_capacity: int
    """Tokens that fit."""
    foreign_waiting: float
    """Requests of others that wait there, as far as reports tell."""
    foreign_running: float
    """Requests of others that run there, as far as reports tell."""
    report_age: float | None
    """How many seconds old the last load report is; ``None`` if there was none."""
    slowness: float
    """Seconds that it takes for a second of described work."""
    held_off: float
    """How many seconds requests are held off after failures."""
    assumed_tokens: int
    """Tokens that it is assumed to hold in its cache."""
    stored_tokens: int
    """Tokens that its engine says it holds."""
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
class BandStats:
    """One band of the waiting room."""

    priority: int
    """Its priority."""
    waiting: int
    """Requests of it that wait."""
    waiting_bytes: int
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
    waiting: int
    """Requests that wait for a decision."""
    waiting_bytes: int
    """Their bytes."""
    bands: tuple[BandStats, ...]
    """The same by priority, highest first: the bands of which something waits."""
    queued: float
    """How many seconds dispatched requests had waited for their decisions, all together."""
    guard: GuardStats | None
    """The session guard, if there is one."""
    in_flight: int
    """Requests in flight."""
    prompt_tokens: int
    """Prompt tokens of dispatched requests."""
    predicted_cached_tokens: int
    """Prompt tokens that were expected in the cache of the chosen endpoint."""
    checked_cached_tokens: int
    """Of completed requests whose engine said how many cached tokens it found: what had been expected."""
    reported_cached_tokens: int
    """Of the same requests: what the engine found."""
    corrections: int
    """Times that what an endpoint is assumed to hold was corrected."""
    reuse: float
    """The measured probability that a cached token is wanted again."""
    index_entries: int
    """Pairs of an endpoint and a block that it holds in the prefix index."""
    index_bytes: int
    """Bytes that the prefix index has allocated for them."""
    endpoints: tuple[EndpointStats, ...]
    """Every endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The endpoints that could have a request, best first, as columns for a scorer.

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
    """The terms of the cost, in seconds: see :class:`Terms`."""
    room: memoryview
    prefill: memoryview
    eviction: memoryview
    kv: memoryview
    decode: memoryview
    adapter: memoryview
    recovery: memoryview
    cost: memoryview
    """Their sum."""


# Between the dataclasses above and the core's JSON. Called from the native part.


def encode(value: Any) -> str:
    """A dataclass, a mapping, or an endpoint's name as JSON."""
    if isinstance(value, str):
        value = {"name": value}
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    if not isinstance(plain, Mapping):
        raise TypeError(f"expected one of slotwise's values or a mapping, not {type(value)}")
    return json.dumps(dict(plain), allow_nan=False, default=_as_list)


def _as_list(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{value!r} of {type(value)} cannot be used here")


def decode_config(text: str) -> Config:
    """A configuration from JSON."""
    fields = json.loads(text)
    fields["index"] = IndexLimits(**fields["index"])
    fields["prefill"] = PrefillCost(**fields["prefill"])
    fields["flow"] = _flow(fields["flow"])
    fields["weights"] = CostWeights(**fields["weights"])
    fields["tiers"] = TierWeights(**fields["tiers"])
    return Config(**fields)


def _flow(fields: dict[str, Any]) -> FlowConfig:
    fields["band"] = BandLimits(**fields["band"])
    fields["saturation"] = _one_of(fields["saturation"], ContinuousSaturation, UtilizationDetector, ConcurrencyDetector)
    fields["ceiling"] = _one_of(fields["ceiling"], StaticCeiling, PriorityHoldback, SoftReflective)
    fields["guard"] = fields["guard"] and GuardConfig(**fields["guard"])
    return FlowConfig(**fields)


def _one_of(tagged: dict[str, Any], *classes: Any) -> Any:
    tag = tagged.pop("type")
    (kind,) = (kind for kind in classes if tag in get_args(get_type_hints(kind)["type"]))
    return kind(**tagged)


def decode_endpoint(text: str) -> Endpoint:
    """An endpoint's description from JSON."""
    return _endpoint(json.loads(text))


def _endpoint(fields: dict[str, Any]) -> Endpoint:
    fields["models"] = tuple(fields["models"])
    fields["prefill"] = fields["prefill"] and PrefillCost(**fields["prefill"])
    return Endpoint(**fields)


def decode_removed(text: str) -> RemovedEndpoint:
    """What left the pool from JSON."""
    endpoint, in_flight = json.loads(text)
    return RemovedEndpoint(endpoint=_endpoint(endpoint), in_flight=tuple(in_flight))


def decode_explanation(text: str) -> Explanation:
    """An explanation and its table from JSON."""
    fields, table = json.loads(text)
    verdict = fields.pop("verdict")
    rejected = verdict.get("Err") or {"reason": None, "retry_after": None}
    candidates = fields.pop("candidates")
    return Explanation(
        endpoint=verdict.get("Ok"),
        reason=rejected["reason"],
        retry_after=rejected["retry_after"],
        candidates=tuple(Candidate(**{**one, "terms": Terms(**one["terms"])}) for one in candidates),
        table=table,
        **fields,
    )


def decode_stats(text: str) -> Stats:
    """Statistics from JSON."""
    fields = json.loads(text)
    endpoints = fields.pop("endpoints")
    for one in endpoints:
        one["adapters"] = tuple(one["adapters"])
    fields["bands"] = tuple(BandStats(**one) for one in fields["bands"])
    guard = fields.pop("guard")
    fields["guard"] = None if guard is None else GuardStats(**guard)
    return Stats(endpoints=tuple(EndpointStats(**one) for one in endpoints), **fields)
