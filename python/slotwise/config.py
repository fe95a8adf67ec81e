"""The configuration of a scheduler, and the description of endpoints.

Durations, waits and costs are in seconds. All types are immutable dataclasses: they compare, print,
match, copy and pickle. The core defines their fields and defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args, get_type_hints

from . import _core

Role: TypeAlias = Literal[
    "unified", "prefill", "decode", "encode", "encode_prefill", "encode_prefill_decode"
]
"""The stages that an endpoint runs, or that a request needs."""

CacheEvictionOrder: TypeAlias = Literal["tail_first", "head_first"]
"""The order in which a cache evicts the blocks of one prompt. vLLM and SGLang: the tail first."""

Fairness: TypeAlias = Literal[
    "start_time",
    "round_robin",
    "global_strict",
    "least_attained_service",
    "least_attained_tokens",
]
"""Which flow of a band is served first.

``start_time``: the flow with the fewest predicted seconds of service by weight. ``round_robin``:
each flow in turn. ``global_strict``: no flows, one queue. ``least_attained_service``: the flow with
the least recent service. ``least_attained_tokens``: the same in tokens; those of answers count
twice."""

QueueOrder: TypeAlias = Literal["fcfs", "edf", "slo_deadline", "shortest_work"]
"""Which request of a flow is served first.

``fcfs``: the oldest. ``edf``: the one that expires first. ``slo_deadline``: the one whose first
token is due first. ``shortest_work``: the shortest, with credit for time spent waiting unless
requests of the band expire."""

DeciderName: TypeAlias = Literal[
    "always-disagg-pd-decider",
    "prefix-based-pd-decider",
    "always-disagg-multimodal-decider",
    "predicted-cost-pd-decider",
    "never-disagg-decider",
]
"""A decider of disaggregation. The first three are the reference's."""

_DEFAULTS: dict[str, Any] = json.loads(_core.default_config())
_GUARD, _UTILIZATION, _CONCURRENCY, _DISAGGREGATION = json.loads(_core.default_options())


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillCost:
    """The prefill speed of an endpoint's hardware."""

    per_token: float = _DEFAULTS["prefill"]["per_token"]
    """Seconds per computed token."""
    per_pair: float = _DEFAULTS["prefill"]["per_pair"]
    """Seconds per pair of a computed token and a token that it attends to."""
    per_step: float = _DEFAULTS["prefill"]["per_step"]
    """Fixed seconds per step of the engine."""
    min_step: float = _DEFAULTS["prefill"]["min_step"]
    """Minimum seconds of a step's matrix work: the time to read the weights once."""
    chunk: int = _DEFAULTS["prefill"]["chunk"]
    """Tokens that the engine computes in a step (``max_num_batched_tokens``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvTransferCost:
    """The cost of moving a prompt's KV cache between endpoints."""

    bytes_per_token: float = _DISAGGREGATION["kv_transfer"]["bytes_per_token"]
    """KV bytes of a token: ``2 * layers * KV heads * head size * bytes of an element``."""
    bytes_per_second: float = _DISAGGREGATION["kv_transfer"]["bytes_per_second"]
    """Bandwidth of the slower side."""
    setup: float = _DISAGGREGATION["kv_transfer"]["setup"]
    """Constant seconds of a transfer."""


@dataclass(frozen=True, slots=True)
class Decider:
    """A decider of disaggregation by its name, with its parameters."""

    type: DeciderName
    """The name."""
    parameters: Mapping[str, int] | None = None
    """``nonCachedTokens`` and ``promptTokens`` of ``prefix-based-pd-decider``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisaggregationConfig:
    """How requests are split over endpoints that encode, prefill and decode."""

    prefill: Decider = Decider(_DISAGGREGATION["prefill"]["type"])
    """Decides whether another endpoint prefills."""
    encode: Decider = Decider(_DISAGGREGATION["encode"]["type"])
    """Decides whether another endpoint encodes the media of a request."""
    kv_transfer: KvTransferCost = KvTransferCost()
    """The cost of moving a prompt's KV cache, by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPrices:
    """The prices of the default profile: each converts a term of the cost to seconds."""

    queue: float = _DEFAULTS["prices"]["queue"]
    """Price of a second of waiting for reserved prefill."""
    kv_admission_wait: float = _DEFAULTS["prices"]["kv_admission_wait"]
    """Price of a second of waiting for room in a full KV cache."""
    prefill: float = _DEFAULTS["prices"]["prefill"]
    """Price of a second of the request's own prefill."""
    cache_eviction: float = _DEFAULTS["prices"]["cache_eviction"]
    """Price of a second that later requests spend on recomputing evicted blocks."""
    cache_eviction_onset: float = _DEFAULTS["prices"]["cache_eviction_onset"]
    """Share of the cache that the warm working set may fill before evictions count as hitting
    it."""
    kv: float = _DEFAULTS["prices"]["kv"]
    """Price of the whole KV cache. A request pays for the share in use, its own tokens included."""
    decode: float = _DEFAULTS["prices"]["decode"]
    """Price of delaying one running answer by a second."""
    decode_cap: float = _DEFAULTS["prices"]["decode_cap"]
    """Longest prefill that the decode term counts."""
    decode_beyond_cap: float = _DEFAULTS["prices"]["decode_beyond_cap"]
    """Price of delaying one running answer by a second of the prefill beyond `decode_cap`, for a
    queued request while none of lower priority is queued."""
    adapter: float = _DEFAULTS["prices"]["adapter"]
    """Price of a second of loading adapters."""

    @classmethod
    def for_service_level(cls, *, ttft: float, tpot: float) -> CostPrices:
        """The prices that follow from a service level: ``ttft`` seconds to the first token, and
        ``tpot`` seconds per output token after it. 2 and 0.1 give the defaults.

        ``kv``, ``decode`` and ``decode_beyond_cap`` are in proportion to ``ttft / tpot``, and
        ``decode_cap`` is ``ttft``.
        A time below a microsecond counts as one; a negative one or NaN raises ``ValueError``.
        Computes in O(1).

        >>> voice = CostPrices.for_service_level(ttft=0.5, tpot=0.2)
        >>> voice.decode_cap, voice.kv == CostPrices().kv / 8
        (0.5, True)
        """
        return cls(**json.loads(_core.prices_for_service_level(ttft=ttft, tpot=tpot)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TierFactors:
    """The value of cached blocks outside accelerator memory: the share of prefill that they
    save."""

    cpu: float = _DEFAULTS["tiers"]["cpu"]
    """In host memory."""
    disk: float = _DEFAULTS["tiers"]["disk"]
    """On local or remote disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLimits:
    """The limits of the prefix index."""

    bytes: int = _DEFAULTS["index"]["bytes"]
    """Bytes that the prefix index may allocate."""
    warm_window: float = _DEFAULTS["index"]["warm_window"]
    """Blocks used within this time belong to an endpoint's warm working set."""
    confirm_within: float = _DEFAULTS["index"]["confirm_within"]
    """Time after a first token within which KV events must confirm the prompt's blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandLimits:
    """The limits of a band, which holds the waiting requests of one priority."""

    max_requests: int = _DEFAULTS["flow"]["band"]["max_requests"]
    """Most requests that may wait."""
    max_bytes: int = _DEFAULTS["flow"]["band"]["max_bytes"]
    """Most bytes of requests that may wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousSaturation:
    """Saturation from predicted seconds of queued work and projected use of the KV caches."""

    type: Literal["continuous"] = field(default="continuous", init=False, repr=False)
    max_queued_prefill: float = _DEFAULTS["flow"]["saturation"]["max_queued_prefill"]
    """Predicted seconds of prefill at which an endpoint is full."""
    kv_limit: float = _DEFAULTS["flow"]["saturation"]["kv_limit"]
    """Share of the KV cache at which an endpoint is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilizationDetector:
    """Saturation from load reports, with the names of the Gateway API's inference extension."""

    type: Literal["utilization-detector"] = field(
        default="utilization-detector", init=False, repr=False
    )
    queue_depth_threshold: int = _UTILIZATION["queue_depth_threshold"]
    """Waiting requests at which an endpoint is full."""
    kv_cache_util_threshold: float = _UTILIZATION["kv_cache_util_threshold"]
    """Share of the KV cache at which an endpoint is full."""
    metrics_staleness_threshold: float = _UTILIZATION["metrics_staleness_threshold"]
    """Older reports are not used."""
    headroom: float = _UTILIZATION["headroom"]
    """Share by which a single endpoint may exceed its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyDetector:
    """Saturation from requests in flight, with the names of the Gateway API's inference
    extension."""

    type: Literal["concurrency-detector"] = field(
        default="concurrency-detector", init=False, repr=False
    )
    concurrency_mode: Literal["requests", "tokens", "hybrid"] = _CONCURRENCY["concurrency_mode"]
    """The counted unit: requests, their tokens, or the fuller of the two."""
    max_concurrency: int = _CONCURRENCY["max_concurrency"]
    """Requests in flight at which an endpoint is full."""
    max_token_concurrency: int = _CONCURRENCY["max_token_concurrency"]
    """Tokens in flight at which an endpoint is full."""
    headroom: float = _CONCURRENCY["headroom"]
    """Share by which a single endpoint may exceed its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticUsageLimit:
    """One usage limit for all bands: priority affects only their order."""

    type: Literal["static"] = field(default="static", init=False, repr=False)
    limit: float = _DEFAULTS["flow"]["usage_limit"]["limit"]
    """The saturation at which bands close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityHoldback:
    """Usage limits that fall from the highest active band to the lowest."""

    type: Literal["priority-holdback"] = field(default="priority-holdback", init=False, repr=False)
    min_usage_limit: float
    """The saturation at which the lowest band closes."""
    max_usage_limit: float = 1.0
    """The saturation at which the highest band closes."""
    domain: Literal["rank", "value"] = "rank"
    """The spacing of the limits between them: equal steps by rank, or proportional to priority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftReflective:
    """Usage limits in steps that grow with the saturation. A closed band keeps a share of the
    rounds."""

    type: Literal["soft-reflective"] = field(default="soft-reflective", init=False, repr=False)


SaturationPolicy: TypeAlias = ContinuousSaturation | UtilizationDetector | ConcurrencyDetector
"""How the saturation of the pool is measured."""

UsageLimitPolicy: TypeAlias = StaticUsageLimit | PriorityHoldback | SoftReflective
"""The saturation up to which each band may dispatch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAdmissionConfig:
    """Delays new sessions while no cache has room for their contexts.

    For traffic of multi-turn sessions.
    """

    share: float = _GUARD["share"]
    """Initial share of a KV cache that contexts of active sessions may fill. It is then
    learned."""
    share_min: float = _GUARD["share_min"]
    """The minimum of the learned share."""
    share_max: float = _GUARD["share_max"]
    """The maximum of the learned share, unless ``share`` is larger itself."""
    idle_time: float = _GUARD["idle_time"]
    """Initial time that a session stays active without a request in flight. It is then learned."""
    idle_time_min: float = _GUARD["idle_time_min"]
    """The minimum of the learned idle time."""
    idle_time_max: float = _GUARD["idle_time_max"]
    """The maximum of the learned idle time."""
    max_sessions: int = _GUARD["max_sessions"]
    """Most sessions that are tracked, about 250 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """The queue of submitted requests: its limits and its order.

    Requests wait in bands of equal priority. Within a band, they wait in flows, one per ``flow``.
    """

    max_requests: int | None = _DEFAULTS["flow"]["max_requests"]
    """Most requests that may wait in all bands; ``None``: only the limits per band apply."""
    max_bytes: int | None = _DEFAULTS["flow"]["max_bytes"]
    """Most bytes that may wait in all bands; ``None``: only the limits per band apply."""
    band: BandLimits = BandLimits()
    """The limits of each band."""
    fairness: Fairness = _DEFAULTS["flow"]["fairness"]
    """Which flow of a band is served first."""
    order: QueueOrder = _DEFAULTS["flow"]["order"]
    """Which request of a flow is served first."""
    lower_share: float = _DEFAULTS["flow"]["lower_share"]
    """Share of the dispatched seconds that each band yields to waiting lower bands."""
    look_ahead: float = _DEFAULTS["flow"]["look_ahead"]
    """Flows whose virtual times differ by at most this count as tied."""
    max_bands: int = _DEFAULTS["flow"]["max_bands"]
    """Most bands. A request that would exceed the limit joins the next lower band on its side of
    zero."""
    max_idle_flows: int = _DEFAULTS["flow"]["max_idle_flows"]
    """Most flows that are tracked without waiting requests."""
    max_queued_prefill: float = _DEFAULTS["flow"]["max_queued_prefill"]
    """A request waits while its best endpoint has more prefill queued than this."""
    ttl: float = _DEFAULTS["flow"]["ttl"]
    """The default TTL of a waiting request."""
    no_endpoint_ttl: float = _DEFAULTS["flow"]["no_endpoint_ttl"]
    """The TTL of a waiting request while the pool has no endpoint."""
    saturation: SaturationPolicy = ContinuousSaturation()
    """How the saturation of the pool is measured."""
    usage_limit: UsageLimitPolicy = StaticUsageLimit()
    """The saturation up to which each band may dispatch."""
    session_admission: SessionAdmissionConfig | None = None
    """Delays new sessions while no cache has room for their contexts; ``None`` turns it off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerConfig:
    """State between requests that the plugins of a scheduling profile read."""

    session_ttl: float = _DEFAULTS["producers"]["session_ttl"]
    """Seconds from a session's last request to the end of its binding to an endpoint."""
    max_sessions: int = _DEFAULTS["producers"]["max_sessions"]
    """Most sessions that are bound to endpoints."""
    max_cold_endpoints: int = _DEFAULTS["producers"]["max_cold_endpoints"]
    """Most endpoints remembered as receivers of requests without a cached prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalingConfig:
    """The service level for which ``stats().pool.desired_replicas`` is computed."""

    ttft: float = _DEFAULTS["autoscaling"]["ttft"]
    """Seconds in which 95 % of the first tokens should arrive."""
    tpot: float = _DEFAULTS["autoscaling"]["tpot"]
    """Seconds per output token that an answer should keep."""
    kv_utilization: float = _DEFAULTS["autoscaling"]["kv_utilization"]
    """Share of the pool's KV cache that live requests should use at most."""
    start_up: float = _DEFAULTS["autoscaling"]["start_up"]
    """Seconds from the start of a replica to its first request. A rising load is extrapolated over
    it, up to twice the current load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration of a scheduler. It limits every structure that grows."""

    seed: int | None = None
    """The key of all hashes. ``None`` draws a random one, which ``scheduler.config.seed`` returns.
    Use the same seed where decisions or snapshots must agree. Keep it secret: clients could exploit
    collisions."""
    max_endpoints: int = _DEFAULTS["max_endpoints"]
    """Most endpoints in the pool."""
    max_in_flight: int = _DEFAULTS["max_in_flight"]
    """Most requests in flight in the whole pool."""
    max_in_flight_blocks: int = _DEFAULTS["max_in_flight_blocks"]
    """Most prompt blocks that are kept for requests in flight."""
    max_prompt_blocks: int = _DEFAULTS["max_prompt_blocks"]
    """Most blocks of a prompt that are tracked. Later blocks count as not cached."""
    max_models: int = _DEFAULTS["max_models"]
    """Most models whose bytes per token are learned."""
    max_adapters: int = _DEFAULTS["max_adapters"]
    """Most LoRA adapters whose popularity and load time are learned, and most described ones."""
    max_threads: int = _DEFAULTS["max_threads"]
    """Most answers whose endpoints are tracked, for requests that continue them."""
    index: IndexLimits = IndexLimits()
    """The limits of the prefix index."""
    kv_cache_tokens: int = _DEFAULTS["kv_cache_tokens"]
    """Tokens that fit into an endpoint's KV cache, by default."""
    kv_limit: float = _DEFAULTS["kv_limit"]
    """Share of an endpoint's KV cache that one request may occupy at the end of its answer."""
    adapter_slots: int = _DEFAULTS["adapter_slots"]
    """LoRA adapters that an endpoint holds at once, by default."""
    adapter_load_time: float = _DEFAULTS["adapter_load_time"]
    """Time that an endpoint takes to load an adapter, by default."""
    adapter_window: float = _DEFAULTS["adapter_window"]
    """Share of the endpoints that load unpopular adapters while adapters outnumber slots."""
    prefill: PrefillCost = PrefillCost()
    """The prefill speed of an endpoint, by default."""
    learn_speed: bool = _DEFAULTS["learn_speed"]
    """Whether each endpoint's speed is learned from its first tokens."""
    report_lifetime: float = _DEFAULTS["report_lifetime"]
    """The time after which a load report has little influence left."""
    backoff: float = _DEFAULTS["backoff"]
    """The first backoff of an endpoint that failed."""
    backoff_limit: float = _DEFAULTS["backoff_limit"]
    """The longest backoff. Each failed trial doubles the backoff up to this limit."""
    flow: FlowConfig = FlowConfig()
    """The limits and the order of the queue."""
    prices: CostPrices = CostPrices()
    """The prices of the default profile."""
    tiers: TierFactors = TierFactors()
    """The value of cached blocks outside accelerator memory."""
    profile: Mapping[str, Any] | None = None
    """The scheduling profile that chooses endpoints: ``filters``, weighted ``scorers`` and a
    ``picker`` of the Endpoint Picker, by name. ``None`` chooses by predicted seconds."""
    profiles: Mapping[str, Any] | None = None
    """Several ``profiles`` by name, the ``handler`` that selects among them, and its ``deciders``,
    in place of ``profile``. The deciders replace those of ``disaggregation``."""
    producers: ProducerConfig = ProducerConfig()
    """State between requests that a scheduling profile reads."""
    disaggregation: DisaggregationConfig | None = None
    """How requests are split over endpoints that encode, prefill and decode; ``None`` means that
    one endpoint serves a request."""
    autoscaling: AutoscalingConfig = AutoscalingConfig()
    """The service level for which the desired number of replicas is computed."""
    alternatives: int = _DEFAULTS["alternatives"]
    """Most alternatives that a decision lists."""
    shed_above: float = _DEFAULTS["shed_above"]
    """Requests of negative priority are shed while even the best endpoint has more prefill queued
    than this."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The description of a model server: its name and its capabilities."""

    name: str
    """Its name, unique in the pool; usually its URL."""
    models: Sequence[str] | None = field(default=(), kw_only=True)
    """Base models that it serves; empty means any model."""
    labels: Mapping[str, str] | None = field(default_factory=dict, kw_only=True)
    """Labels that requests can require."""
    role: Role | None = field(default="unified", kw_only=True)
    """The stages that it runs."""
    kv_cache_tokens: int | None = field(default=None, kw_only=True)
    """Tokens that fit into its KV cache; ``None`` uses the configuration's default."""
    block_size: int | None = field(default=16, kw_only=True)
    """Tokens per cache block. ``None``, if unknown, means 16 until KV events show another size."""
    max_in_flight: int | None = field(default=None, kw_only=True)
    """Most requests in flight on it; ``None`` sets no limit."""
    adapter_slots: int | None = field(default=None, kw_only=True)
    """LoRA adapters that it holds at once; ``None`` uses the configuration's default."""
    adapter_load_time: float | None = field(default=None, kw_only=True)
    """Seconds to load an adapter; ``None`` uses the configuration's default."""
    prefill: PrefillCost | None = field(default=None, kw_only=True)
    """The prefill speed of its hardware; ``None`` uses the configuration's default."""
    kv_transfer: KvTransferCost | None = field(default=None, kw_only=True)
    """The cost of moving a prompt's KV cache to it; ``None`` uses the configuration's default."""
    cache_eviction: CacheEvictionOrder | None = field(default="tail_first", kw_only=True)
    """The order in which its cache evicts the blocks of a prompt."""
    notices_disconnect: bool | None = field(default=True, kw_only=True)
    """Whether its engine aborts a request whose client disconnects: ``False`` for llama.cpp.
    If ``False``, a cancelled request stays reserved for as long as the engine is expected to
    continue it."""


# Conversion between these dataclasses and the core's JSON. The native part calls it.


def encode(value: Any) -> str:
    """Encodes a dataclass, a mapping, or an endpoint's name as JSON."""
    if isinstance(value, str):
        value = {"name": value}
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    if not isinstance(plain, Mapping):
        raise TypeError(f"expected one of slotwise's values or a mapping, not {type(value)}")
    return json.dumps(_without_none(plain), allow_nan=False, default=_as_list)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Removes fields that are ``None``, except for limits, where ``None`` means no limit."""
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
    """Decodes a configuration from JSON."""
    fields = json.loads(text)
    fields["index"] = IndexLimits(**fields["index"])
    fields["prefill"] = PrefillCost(**fields["prefill"])
    fields["flow"] = _flow(fields["flow"])
    fields["prices"] = CostPrices(**fields["prices"])
    fields["tiers"] = TierFactors(**fields["tiers"])
    fields["producers"] = ProducerConfig(**fields["producers"])
    fields["autoscaling"] = AutoscalingConfig(**fields["autoscaling"])
    fields["disaggregation"] = _disaggregation(fields["disaggregation"])
    return Config(**fields)


def _disaggregation(fields: dict[str, Any] | None) -> DisaggregationConfig | None:
    if fields is None:
        return None
    return DisaggregationConfig(
        prefill=Decider(**fields["prefill"]),
        encode=Decider(**fields["encode"]),
        kv_transfer=KvTransferCost(**fields["kv_transfer"]),
    )


def _flow(fields: dict[str, Any]) -> FlowConfig:
    fields["band"] = BandLimits(**fields["band"])
    fields["saturation"] = _one_of(
        fields["saturation"], ContinuousSaturation, UtilizationDetector, ConcurrencyDetector
    )
    fields["usage_limit"] = _one_of(
        fields["usage_limit"], StaticUsageLimit, PriorityHoldback, SoftReflective
    )
    fields["session_admission"] = fields["session_admission"] and SessionAdmissionConfig(
        **fields["session_admission"]
    )
    return FlowConfig(**fields)


def _one_of(tagged: dict[str, Any], *classes: Any) -> Any:
    tag = tagged.pop("type")
    (kind,) = (kind for kind in classes if tag in get_args(get_type_hints(kind)["type"]))
    return kind(**tagged)


def decode_endpoint(text: str) -> Endpoint:
    """Decodes an endpoint's description from JSON."""
    return endpoint_of(json.loads(text))


def endpoint_of(fields: dict[str, Any]) -> Endpoint:
    """Builds an endpoint's description from its decoded fields."""
    fields["models"] = tuple(fields["models"])
    fields["prefill"] = fields["prefill"] and PrefillCost(**fields["prefill"])
    fields["kv_transfer"] = fields["kv_transfer"] and KvTransferCost(**fields["kv_transfer"])
    return Endpoint(**fields)
