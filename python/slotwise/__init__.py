"""Decides, in microseconds, whether an LLM request goes now and to which model server.

>>> import slotwise
>>> scheduler = slotwise.Scheduler()
>>> a = scheduler.add_endpoint("http://10.0.0.1:8000")
>>> b = scheduler.add_endpoint(slotwise.Endpoint("http://10.0.0.2:8000", kv_cache_tokens=422_000))
>>> prompt = "You are a helpful assistant. What is a prefix cache?"
>>> dispatch = scheduler.pick(prompt, model="llama-3.1-8b")
>>> dispatch.endpoint_id in (a, b)
True
>>> scheduler.handle_first_token(dispatch.request_id)
>>> scheduler.complete(dispatch.request_id, prompt_tokens=12, cached_tokens=0, completion_tokens=90)

A scheduler opens no socket and starts no thread. ``slotwise.aio`` has leases for asyncio, and
``slotwise.wire`` reads what engines and clients send. ``slotwise.policy`` has the policies of the
reference, each usable alone. Times are seconds; ``now`` is
``time.monotonic()`` unless it is given.
"""

import os as _os

from . import _core
from ._core import Dispatch, Evicted, Leg, Rejected, ReplayRequest, Scheduler, __version__
from .config import (
    BandLimits,
    UsageLimitPolicy,
    ConcurrencyDetector,
    Config,
    ContinuousSaturation,
    CostPrices,
    Decider,
    DisaggregationConfig,
    Endpoint,
    CacheEvictionOrder,
    Fairness,
    FlowConfig,
    SessionAdmissionConfig,
    IndexLimits,
    KvTransferCost,
    PrefillCost,
    PriorityHoldback,
    QueueOrder,
    Role,
    SaturationPolicy,
    SoftReflective,
    StaticUsageLimit,
    ProducerConfig,
    TierFactors,
    AutoscalingConfig,
    UtilizationDetector,
)
from .errors import (
    AdapterError,
    ConfigError,
    EndpointError,
    EvictedError,
    ForkError,
    IdleTimeoutError,
    KvEventError,
    LegError,
    NotBegunError,
    PeerError,
    RedirectError,
    RejectedError,
    CostFunctionError,
    SlotwiseError,
    SlotwiseWarning,
    SnapshotError,
    UnknownEndpointError,
    UnknownRequestError,
    WireError,
)
from .stats import BandStats, EndpointStats, PoolStats, SessionAdmissionStats, Spread, Stats
from .values import (
    Blocks,
    AllBlocksCleared,
    BlockRemoved,
    BlockStored,
    Candidate,
    Candidates,
    EvictReason,
    Exclusion,
    Explanation,
    Failure,
    GatewayReason,
    RunnerUp,
    ScorerScore,
    StageExplanation,
    KvEvent,
    RejectReason,
    RemovedEndpoint,
    CostTerms,
    Tier,
    Usage,
)

__all__ = [
    "AdapterError",
    "AutoscalingConfig",
    "BandLimits",
    "BandStats",
    "Blocks",
    "AllBlocksCleared",
    "BlockRemoved",
    "BlockStored",
    "Candidate",
    "Candidates",
    "UsageLimitPolicy",
    "ConcurrencyDetector",
    "Config",
    "ConfigError",
    "ContinuousSaturation",
    "CostPrices",
    "Decider",
    "DisaggregationConfig",
    "Dispatch",
    "Endpoint",
    "EndpointError",
    "EndpointStats",
    "EvictReason",
    "Evicted",
    "EvictedError",
    "CacheEvictionOrder",
    "Exclusion",
    "Explanation",
    "Failure",
    "GatewayReason",
    "Fairness",
    "FlowConfig",
    "ForkError",
    "SessionAdmissionConfig",
    "SessionAdmissionStats",
    "IdleTimeoutError",
    "IndexLimits",
    "KvEvent",
    "KvEventError",
    "KvTransferCost",
    "Leg",
    "LegError",
    "NotBegunError",
    "PeerError",
    "PrefillCost",
    "PriorityHoldback",
    "QueueOrder",
    "RedirectError",
    "RejectReason",
    "Rejected",
    "RejectedError",
    "ReplayRequest",
    "RemovedEndpoint",
    "Role",
    "SaturationPolicy",
    "Scheduler",
    "CostFunctionError",
    "SlotwiseError",
    "SlotwiseWarning",
    "SnapshotError",
    "SoftReflective",
    "StaticUsageLimit",
    "RunnerUp",
    "ScorerScore",
    "StageExplanation",
    "PoolStats",
    "Spread",
    "Stats",
    "CostTerms",
    "Tier",
    "ProducerConfig",
    "TierFactors",
    "UnknownEndpointError",
    "UnknownRequestError",
    "Usage",
    "UtilizationDetector",
    "WireError",
    "__version__",
]

if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_core.after_fork)
