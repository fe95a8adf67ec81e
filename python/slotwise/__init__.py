"""Decides, in microseconds, whether an LLM request goes now and to which model server.

>>> import slotwise
>>> scheduler = slotwise.Scheduler()
>>> a = scheduler.add_endpoint("http://10.0.0.1:8000")
>>> b = scheduler.add_endpoint(slotwise.Endpoint("http://10.0.0.2:8000", kv_capacity=422_000))
>>> dispatch = scheduler.pick("You are a helpful assistant. What is a prefix cache?", model="llama-3.1-8b")
>>> dispatch.endpoint in (a, b)
True
>>> scheduler.handle_first_token(dispatch.request)
>>> scheduler.complete(dispatch.request, prompt_tokens=12, cached_tokens=0, completion_tokens=90)

A scheduler opens no socket and starts no thread. ``slotwise.aio`` has leases for asyncio. Times are seconds; ``now`` is
``time.monotonic()`` unless it is given.
"""

from ._core import Dispatch, Rejected, Scheduler, __version__
from .errors import (
    ConfigError,
    EndpointError,
    KvEventError,
    RedirectError,
    RejectedError,
    SlotwiseError,
    SnapshotError,
    UnknownEndpointError,
    UnknownRequestError,
)
from .values import (
    Blocks,
    BlocksCleared,
    BlocksRemoved,
    BlocksStored,
    Candidate,
    Candidates,
    Config,
    CostWeights,
    Endpoint,
    EndpointStats,
    EvictionOrder,
    Exclusion,
    Explanation,
    Failure,
    IndexLimits,
    KvEvent,
    PrefillCost,
    RejectReason,
    RemovedEndpoint,
    Role,
    Stats,
    Terms,
    Tier,
    TierWeights,
    Usage,
)

__all__ = [
    "Blocks",
    "BlocksCleared",
    "BlocksRemoved",
    "BlocksStored",
    "Candidate",
    "Candidates",
    "Config",
    "ConfigError",
    "CostWeights",
    "Dispatch",
    "Endpoint",
    "EndpointError",
    "EndpointStats",
    "EvictionOrder",
    "Exclusion",
    "Explanation",
    "Failure",
    "IndexLimits",
    "KvEvent",
    "KvEventError",
    "PrefillCost",
    "RedirectError",
    "RejectReason",
    "Rejected",
    "RejectedError",
    "RemovedEndpoint",
    "Role",
    "Scheduler",
    "SlotwiseError",
    "SnapshotError",
    "Stats",
    "Terms",
    "Tier",
    "TierWeights",
    "UnknownEndpointError",
    "UnknownRequestError",
    "Usage",
    "__version__",
]
