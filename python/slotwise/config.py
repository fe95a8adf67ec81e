"""What a scheduler starts from: its configuration, and what endpoints are. Durations,
waits and costs are seconds.

They are immutable dataclasses: they compare, print, match, copy and pickle. What they are made of
is defined in the core; defaults come from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args, get_type_hints

from . import _core

Role: TypeAlias = Literal["unified", "prefill", "decode"]
"""Which stages of a request an endpoint runs, or a request needs."""

CacheEvictionOrder: TypeAlias = Literal["tail_first", "head_first"]
"""In which order a cache gives up the blocks of one prompt. vLLM and SGLang: the tail first."""

Fairness: TypeAlias = Literal["start_time", "round_robin", "global_strict", "least_attained_service"]
"""Which flow of a band goes first: the one that has had the fewest predicted seconds for its
weight, each in turn, none (all are one queue), or the one that has had the fewest lately."""

QueueOrder: TypeAlias = Literal["fcfs", "edf", "slo_deadline", "shortest_work"]
"""Which request of a flow goes first: the first come, the one that would expire first, the one
whose first token is due first, or the shortest, where waiting counts."""

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
class CostPrices:
    """The prices of the default profile: what a second of one thing is worth in seconds of
    another."""

    queue: float = _DEFAULTS["prices"]["queue"]
    """Price of a second of waiting for its turn."""
    kv_admission_wait: float = _DEFAULTS["prices"]["kv_admission_wait"]
    """Price of a second of waiting for room in a full KV cache."""
    prefill: float = _DEFAULTS["prices"]["prefill"]
    """Price of a second of its own prefill."""
    cache_eviction: float = _DEFAULTS["prices"]["cache_eviction"]
    """Price of a second that others must spend on recomputing what it evicts."""
    cache_eviction_onset: float = _DEFAULTS["prices"]["cache_eviction_onset"]
    """Share of the cache that the warm working set may fill before an eviction is thought to hit
    it."""
    kv: float = _DEFAULTS["prices"]["kv"]
    """Price of the whole KV cache; a request pays for the share that is in use with it."""
    decode: float = _DEFAULTS["prices"]["decode"]
    """Price of delaying one running answer by a second."""
    decode_cap: float = _DEFAULTS["prices"]["decode_cap"]
    """Longest prefill that the decode term counts."""
    adapter: float = _DEFAULTS["prices"]["adapter"]
    """Price of a second of loading adapters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierFactors:
    """What a cached block is worth that is not in the accelerator's memory: the share of its
    prefill that is saved."""

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
    """An engine that publishes events has this long after a first token to confirm the prompt's
    blocks."""


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
    max_queued_prefill: float = _DEFAULTS["flow"]["saturation"]["max_queued_prefill"]
    """Predicted seconds of prefill with which an endpoint is full."""
    kv_limit: float = _DEFAULTS["flow"]["saturation"]["kv_limit"]
    """Share of the KV cache with which it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilizationDetector:
    """Saturation from what endpoints report, with the names of the Gateway API's inference
    extension."""

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
    """Saturation from what was sent to endpoints, with the names of the Gateway API's inference
    extension."""

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
class StaticUsageLimit:
    """One ceiling for all bands: only their order sets them apart."""

    type: Literal["static"] = field(default="static", init=False, repr=False)
    limit: float = _DEFAULTS["flow"]["usage_limit"]["limit"]
    """The saturation with which bands close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityHoldback:
    """Ceilings that fall from the highest band that is present to the lowest."""

    type: Literal["priority-holdback"] = field(default="priority-holdback", init=False, repr=False)
    min_usage_limit: float
    """The saturation with which the lowest band closes."""
    max_usage_limit: float = 1.0
    """The one with which the highest closes."""
    domain: Literal["rank", "value"] = "rank"
    """Where those between them close: in equal steps by rank, or in proportion to their
    priorities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftReflective:
    """Ceilings in steps that grow with the saturation; a band that is closed still has a share of
    the rounds."""

    type: Literal["soft-reflective"] = field(default="soft-reflective", init=False, repr=False)


SaturationPolicy: TypeAlias = ContinuousSaturation | UtilizationDetector | ConcurrencyDetector
"""How the saturation of the pool is measured."""

UsageLimitPolicy: TypeAlias = StaticUsageLimit | PriorityHoldback | SoftReflective
"""How busy the pool may be for each band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAdmissionConfig:
    """Holds back new sessions while no cache has room for their contexts. For traffic that comes
    back."""

    share: float = _GUARD["share"]
    """Share of a KV cache that the contexts of active sessions may fill, at first; then it is
    learned."""
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
    """Bytes of requests that may wait, over all bands; ``None`` leaves it to the limits of the
    bands."""
    band: BandLimits = BandLimits()
    """What each band may hold."""
    fairness: Fairness = _DEFAULTS["flow"]["fairness"]
    """Which flow of a band goes first."""
    order: QueueOrder = _DEFAULTS["flow"]["order"]
    """Which request of a flow goes first."""
    lower_share: float = _DEFAULTS["flow"]["lower_share"]
    """Share of the dispatched seconds that each band gives to those below it while they wait
    too."""
    look_ahead: float = _DEFAULTS["flow"]["look_ahead"]
    """Flows whose virtual times differ by no more than this are equally near to their turns."""
    max_bands: int = _DEFAULTS["flow"]["max_bands"]
    """Bands of different priority. A request whose band would be one more joins the next lower one,
    on its side of zero."""
    max_idle_flows: int = _DEFAULTS["flow"]["max_idle_flows"]
    """Flows that are remembered though nothing of them waits."""
    max_queued_prefill: float = _DEFAULTS["flow"]["max_queued_prefill"]
    """A request waits while its best endpoint has more than this booked before it."""
    ttl: float = _DEFAULTS["flow"]["ttl"]
    """How long a request waits that does not say."""
    no_endpoint_ttl: float = _DEFAULTS["flow"]["no_endpoint_ttl"]
    """How long a request waits for an endpoint, where there is none."""
    saturation: SaturationPolicy = ContinuousSaturation()
    """How the saturation of the pool is measured."""
    usage_limit: UsageLimitPolicy = StaticUsageLimit()
    """How busy it may be for each band."""
    session_admission: SessionAdmissionConfig | None = None
    """Holds back new sessions while no cache has room for their contexts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration of a scheduler. Everything that grows has a limit here."""

    seed: int | None = None
    """Keys all hashes; ``None`` draws one at random, which ``scheduler.config.seed`` then is. Give
    schedulers the same one where their decisions or snapshots must agree, and keep it secret:
    clients could gain from collisions."""
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
    max_threads: int = _DEFAULTS["max_threads"]
    """Answers whose endpoints are remembered, for requests that go on from them."""
    index: IndexLimits = IndexLimits()
    """What is remembered of the endpoints' caches."""
    kv_cache_tokens: int = _DEFAULTS["kv_cache_tokens"]
    """Tokens that fit into the KV cache of an endpoint that does not say."""
    kv_limit: float = _DEFAULTS["kv_limit"]
    """Share of an endpoint's KV cache that one request may need at the end of its answer."""
    adapter_slots: int = _DEFAULTS["adapter_slots"]
    """LoRA adapters that fit side by side on an endpoint that does not say."""
    adapter_load_time: float = _DEFAULTS["adapter_load_time"]
    """How long an endpoint that does not say takes to load an adapter."""
    prefill: PrefillCost = PrefillCost()
    """What a prompt costs an endpoint that does not say."""
    learn_speed: bool = _DEFAULTS["learn_speed"]
    """Whether each endpoint's speed is learned from its first tokens."""
    report_lifetime: float = _DEFAULTS["report_lifetime"]
    """After this time, little is left of the confidence in a load report."""
    backoff: float = _DEFAULTS["backoff"]
    """How long requests are held off from an endpoint that failed, at first."""
    backoff_limit: float = _DEFAULTS["backoff_limit"]
    """How long they are held off at most: each failed trial doubles the time."""
    flow: FlowConfig = FlowConfig()
    """Who waits, and who goes next."""
    prices: CostPrices = CostPrices()
    """The prices of the default profile."""
    tiers: TierFactors = TierFactors()
    """What cached blocks are worth that are not in the accelerator's memory."""
    alternatives: int = _DEFAULTS["alternatives"]
    """Fallbacks that a decision names besides the endpoint."""
    shed_above: float = _DEFAULTS["shed_above"]
    """Requests of negative priority are refused while even the best endpoint has more than this
    booked."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model server that requests can be sent to: its name, and what it can do."""

    name: str
    """Its name, unique in the pool. A URL is a good one."""
    models: Sequence[str] | None = field(default=(), kw_only=True)
    """Base models that it serves; none means: whatever is asked for."""
    labels: Mapping[str, str] | None = field(default_factory=dict, kw_only=True)
    """Labels that requests can ask for."""
    role: Role | None = field(default="unified", kw_only=True)
    """Which stages it runs."""
    kv_cache_tokens: int | None = field(default=None, kw_only=True)
    """Tokens that fit into its KV cache; ``None`` leaves it to the configuration."""
    block_size: int | None = field(default=16, kw_only=True)
    """Tokens in one of its cache blocks; ``None``, where its metrics do not say, means 16 until KV
    events show another length."""
    max_in_flight: int | None = field(default=None, kw_only=True)
    """Requests that it may have at once; ``None`` means no limit."""
    adapter_slots: int | None = field(default=None, kw_only=True)
    """LoRA adapters that fit side by side; ``None`` leaves it to the configuration."""
    adapter_load_time: float | None = field(default=None, kw_only=True)
    """Seconds that it takes to load an adapter; ``None`` leaves it to the configuration."""
    prefill: PrefillCost | None = field(default=None, kw_only=True)
    """What a prompt costs its hardware; ``None`` leaves it to the configuration."""
    cache_eviction: CacheEvictionOrder | None = field(default="tail_first", kw_only=True)
    """In which order its cache gives up the blocks of a prompt."""
    notices_disconnect: bool | None = field(default=True, kw_only=True)
    """Whether its engine stops working on a request whose client has left: ``False`` for llama.cpp.
    There, a cancelled request stays booked for as long as its engine is expected to go on with
    it."""


# Between the dataclasses above and the core's JSON. Called from the native part.


def encode(value: Any) -> str:
    """A dataclass, a mapping, or an endpoint's name as JSON."""
    if isinstance(value, str):
        value = {"name": value}
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    if not isinstance(plain, Mapping):
        raise TypeError(f"expected one of slotwise's values or a mapping, not {type(value)}")
    return json.dumps(_without_none(plain), allow_nan=False, default=_as_list)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are given: ``None`` leaves a field to its default, but for the limits that it
    takes away."""
    given: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            given[name] = _without_none(value)
        elif value is not None or name in ("max_requests", "max_bytes"):
            given[name] = value
    return given


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
    fields["prices"] = CostPrices(**fields["prices"])
    fields["tiers"] = TierFactors(**fields["tiers"])
    return Config(**fields)


def _flow(fields: dict[str, Any]) -> FlowConfig:
    fields["band"] = BandLimits(**fields["band"])
    fields["saturation"] = _one_of(fields["saturation"], ContinuousSaturation, UtilizationDetector, ConcurrencyDetector)
    fields["usage_limit"] = _one_of(fields["usage_limit"], StaticUsageLimit, PriorityHoldback, SoftReflective)
    fields["session_admission"] = fields["session_admission"] and SessionAdmissionConfig(**fields["session_admission"])
    return FlowConfig(**fields)


def _one_of(tagged: dict[str, Any], *classes: Any) -> Any:
    tag = tagged.pop("type")
    (kind,) = (kind for kind in classes if tag in get_args(get_type_hints(kind)["type"]))
    return kind(**tagged)


def decode_endpoint(text: str) -> Endpoint:
    """An endpoint's description from JSON."""
    return endpoint_of(json.loads(text))


def endpoint_of(fields: dict[str, Any]) -> Endpoint:
    """The same from its fields."""
    fields["models"] = tuple(fields["models"])
    fields["prefill"] = fields["prefill"] and PrefillCost(**fields["prefill"])
    return Endpoint(**fields)
