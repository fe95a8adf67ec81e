"""Statistics of a scheduler. Durations, waits and costs are in seconds.

All are immutable dataclasses, whose fields the core defines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .values import BackoffCause, EvictReason, HealthState, RejectReason


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAdmissionStats:
    """The state of session admission."""

    active: int
    """Active sessions, whose contexts count."""
    remembered: int
    """Known sessions, the active ones included."""
    idle_time: float
    """Seconds that a session stays active without a request in flight."""
    share: float
    """Share of a KV cache that active contexts may fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStats:
    """Counters and gauges of one endpoint."""

    id: int
    """Its id."""
    name: str
    """Its name."""
    draining: bool
    """Whether it is draining, and so receives no new requests."""
    kv_events: bool
    """Whether its cache is tracked by KV events."""
    kv_stored_events: int
    """Stored events that were applied."""
    kv_refused_events: int
    """Stored events that were rejected."""
    kv_refusal: str | None
    """The code of the last rejected event, as in ``KvEventError``, unless a later one was
    applied."""
    block_size: int
    """Tokens per cache block: as described, until KV events show another size."""
    hash_mismatch: bool
    """Whether its engine hashes blocks differently from the rest of the pool, which costs memory.
    For vLLM, set ``PYTHONHASHSEED`` to the same number everywhere."""
    dispatched: int
    """Requests dispatched to it."""
    completed: int
    """Requests that completed on it."""
    failed: int
    """Requests that failed on it."""
    cancelled: int
    """Requests that were cancelled on it."""
    prefilling: int
    """Requests of this scheduler before their first token."""
    running: int
    """Requests of this scheduler after their first token."""
    queued_prefill: float
    """Predicted seconds of prefill of the requests in ``prefilling``."""
    kv_tokens: int
    """Tokens of the prompts and answers in flight."""
    kv_cache_tokens: int
    """Tokens that fit into its KV cache."""
    external_waiting: float
    """Requests from other sources that wait on it, estimated from load reports."""
    external_running: float
    """Requests from other sources that run on it, estimated from load reports."""
    report_age: float | None
    """Age of the last load report in seconds; ``None`` without a report."""
    report_errors: int
    """Reports that were malformed, or had no known metric."""
    report_error: str | None
    """The code of the error, as in ``WireError``, if the last report was malformed."""
    sleeping: bool
    """Whether its engine is reported as sleeping, and so receives no requests."""
    slowdown: float
    """Measured seconds per predicted second of work."""
    health: HealthState
    """The requests that it accepts."""
    backoff: BackoffCause | None
    """Why the endpoint is backed off; ``None`` if it is not."""
    backoff_remaining: float
    """Remaining seconds of the backoff."""
    failures: int
    """Consecutive backoffs since it last served a request."""
    backoffs: int
    """Backoffs in total."""
    unanswered: int
    """Cancelled requests that had no first token."""
    late: int
    """First tokens that arrived much later than predicted."""
    residual: float
    """Seconds of reserved work for requests that ended before their first token."""
    estimated_tokens: int
    """Tokens that its cache is estimated to hold."""
    stored_tokens: int
    """Tokens that its cache holds, by its KV events."""
    warm_tokens: int
    """Tokens of both kinds that were used within the warm window."""
    session_tokens: int
    """Context tokens of its active sessions, if session admission is configured."""
    adapters: tuple[str, ...]
    """Adapters that are estimated to be loaded, least recently used first."""
    adapter_loads: int
    """Adapter loads that requests of this scheduler caused."""
    wait: float
    """Predicted seconds that a new request would wait before its prefill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Observed durations, in buckets with fixed bounds."""

    bounds: tuple[float, ...]
    """The ascending upper bounds of all buckets but the last, in seconds."""
    counts: tuple[int, ...]
    """Durations in each bucket. The last bucket counts durations above all bounds."""
    sum: float
    """The sum of all durations, in seconds."""
    count: int
    """The number of durations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandStats:
    """One priority band of the queue."""

    priority: int
    """Its priority."""
    queued: int
    """Waiting requests of the band."""
    queued_bytes: int
    """Bytes of the waiting requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The mean and the standard deviation of a value over the endpoints; zero without endpoints."""

    mean: float
    """The mean."""
    std_dev: float
    """The standard deviation of the population."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """Signals of the whole pool, for an autoscaler. Draining endpoints do not count."""

    ready_endpoints: int
    """Endpoints that accept requests."""
    queue_size: Spread
    """Requests before their first token on an endpoint: this gateway's and estimated others."""
    kv_cache_utilization: Spread
    """Share of an endpoint's KV cache that live requests use: this gateway's and estimated
    others."""
    running_requests: Spread
    """Requests past their first token on an endpoint: this gateway's and estimated others."""
    saturation: float
    """Saturation by the configured policy: 0 is idle, 1 is full. A pool without endpoints is
    full."""
    desired_replicas: float
    """Replicas that the predicted work needs to keep the service level of
    :class:`AutoscalingConfig`, as a fraction; an autoscaler rounds up. It counts only this
    gateway's requests: sum it over gateways that share a pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counters and gauges of a scheduler."""

    dispatched: int
    """Requests dispatched to an endpoint."""
    stages: Mapping[str, int]
    """Dispatched requests by how they were split; empty without disaggregation."""
    completed: int
    """Requests that completed."""
    failed: int
    """Requests that failed."""
    unreachable: int
    """Failed requests that never reached the endpoint."""
    cancelled: int
    """Requests that were cancelled."""
    redirected: int
    """Requests that were redirected to another endpoint."""
    rejected: Mapping[RejectReason, int]
    """Rejected requests, by reason."""
    evicted: Mapping[EvictReason, int]
    """Evicted requests, by reason."""
    queued: int
    """Requests that wait for a decision."""
    queued_bytes: int
    """Bytes of the waiting requests."""
    undelivered: int
    """Evictions that ``poll_decision`` has not returned yet. They occupy the queue."""
    bands: tuple[BandStats, ...]
    """The bands with waiting requests, highest priority first."""
    queue_time_total: float
    """Total seconds that dispatched requests waited for their decisions."""
    queue_time: Histogram
    """The waits of dispatched requests. Requests decided by ``pick`` count as 0."""
    time_to_first_token: Histogram
    """The time from dispatch to first token, as the gateway reports it."""
    session_admission: SessionAdmissionStats | None
    """The state of session admission, if configured."""
    in_flight: int
    """Requests in flight."""
    prompt_tokens: int
    """Prompt tokens of dispatched requests."""
    predicted_cached_tokens: int
    """Prompt tokens that were expected in the chosen endpoint's cache."""
    checked_cached_tokens: int
    """The expected cached tokens of completed requests whose engine reported cached tokens."""
    reported_cached_tokens: int
    """The reported cached tokens of the same requests."""
    corrections: int
    """Corrections of the estimated contents of a cache."""
    reuse_probability: float
    """The measured probability that a cached token is reused."""
    index_entries: int
    """Entries of the prefix index: pairs of an endpoint and a cached block."""
    index_bytes: int
    """Bytes that the prefix index has allocated."""
    pool: PoolStats
    """Signals of the whole pool, for an autoscaler."""
    endpoints: tuple[EndpointStats, ...]
    """All endpoints of the pool."""


def decode_stats(text: str) -> Stats:
    """Decodes statistics from JSON."""
    fields = json.loads(text)
    for name in ("queue_time", "time_to_first_token"):
        histogram = fields[name]
        bounds, counts = tuple(histogram.pop("bounds")), tuple(histogram.pop("counts"))
        fields[name] = Histogram(bounds=bounds, counts=counts, **histogram)
    endpoints = fields.pop("endpoints")
    for one in endpoints:
        one["adapters"] = tuple(one["adapters"])
    fields["bands"] = tuple(BandStats(**one) for one in fields["bands"])
    pool = fields["pool"]
    for name in ("queue_size", "kv_cache_utilization", "running_requests"):
        pool[name] = Spread(**pool[name])
    fields["pool"] = PoolStats(**pool)
    guard = fields.pop("session_admission")
    fields["session_admission"] = None if guard is None else SessionAdmissionStats(**guard)
    return Stats(endpoints=tuple(EndpointStats(**one) for one in endpoints), **fields)
