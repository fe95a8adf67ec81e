"""Facts about endpoints and requests, which the policies of the reference read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict


class Topology(TypedDict, total=False):
    """Where an endpoint runs. A missing name is not known and equals no other."""

    host: str
    rack: str
    zone: str
    region: str


class TierBlocks(TypedDict, total=False):
    """A stretch of blocks in one device tier."""

    tier: str
    """The tier: ``gpu``, ``cpu`` or ``disk``, or a name of the host."""
    blocks: int
    """The number of blocks."""


class Prediction(TypedDict, total=False):
    """The predicted latency of a request on an endpoint, in milliseconds."""

    ttft: float
    """Time to first token."""
    tpot: float
    """Time per output token."""
    ttft_headroom: float
    """Service level minus prediction; negative if missed."""
    tpot_headroom: float
    """Service level minus prediction; negative if missed."""
    dispatched_requests: int
    """Requests that the gateway has dispatched to the endpoint and that have not ended."""


class EndpointFacts(TypedDict, total=False):
    """Facts about one endpoint, for one request. A missing fact has the reference's default."""

    name: str
    """The name, unique in the pool."""
    address: str
    """The address, as ``host:port``; the name by default."""
    waiting: int
    """Requests that wait in the engine."""
    running: int
    """Requests that run in the engine."""
    kv_usage: float
    """Share of the KV cache in use."""
    metrics_age: float | None
    """Age of the metrics in seconds; ``None`` if the engine has never reported any."""
    in_flight_requests: int
    """Requests in flight, as the gateway counts them."""
    in_flight_tokens: int
    """Tokens in flight, as the gateway counts them."""
    uncached_tokens: int
    """Tokens of this request that the endpoint does not have cached."""
    match_blocks: int
    """Leading blocks of the prompt that the endpoint has cached."""
    match_tiers: Sequence[TierBlocks]
    """The device tiers of these blocks, stretch by stretch; a block counts in its nearest one."""
    total_blocks: int
    """Blocks of the prompt; zero if the prefix is not known."""
    block_tokens: int
    """Tokens in a block; 16 by default."""
    active_adapters: Sequence[str]
    """Adapters of running requests."""
    waiting_adapters: Sequence[str]
    """Adapters of waiting requests."""
    max_adapters: int
    """Adapters that the engine loads side by side."""
    labels: Mapping[str, str]
    """Labels."""
    attributes: Mapping[str, float]
    """Numeric attributes, such as custom metrics."""
    topology: Topology
    """Where the endpoint runs."""
    prediction: Prediction | None
    """The predicted latency of this request."""
    session_bound: bool
    """Whether the session of this request is bound to the endpoint."""
    cold_position: int | None
    """Position among the endpoints that received requests without a cached prefix: 0 is the least
    recent, ``None`` has never received one."""
    media_match: int
    """Bytes of this request's media whose embeddings the endpoint has cached."""


class RequestFacts(TypedDict, total=False):
    """Facts about the request."""

    model: str
    """The model: the base model, or the adapter where engines name adapters as models."""
    adapter: str | None
    """The LoRA adapter; ``None`` means that ``model`` names it."""
    prompt_tokens: int
    """Tokens of the prompt; zero if not known."""
    priority: int
    """The priority; negative requests are sheddable."""
    headers: Mapping[str, str]
    """Headers that plugins may read, by lower-case name."""
    subset: Sequence[str] | None
    """Addresses of the only endpoints that the request may use; an empty list allows none."""
    peer: Topology | None
    """Where the endpoint of the peer stage runs."""
    media: int
    """Bytes of the request's media."""
