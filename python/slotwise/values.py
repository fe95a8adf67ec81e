"""Immutable inputs and outputs of a scheduler. Durations, waits and costs are in seconds.

All are dataclasses: they compare, print, match, copy and pickle. The core defines their fields. The
configuration is in :mod:`slotwise.config`, statistics are in :mod:`slotwise.stats`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from .config import Endpoint, endpoint_of

Tier: TypeAlias = Literal["gpu", "cpu", "disk"]
"""The storage tier of a block: accelerator memory, host memory, or disk (local or remote)."""

Failure: TypeAlias = Literal["unreachable", "engine", "timeout"]
"""How a request failed: the endpoint was unreachable, the engine failed, or a timeout expired."""

Stage: TypeAlias = Literal["encode", "prefill"]
"""A stage before the answer that can have an endpoint of its own."""

KvTransfer: TypeAlias = Literal["nixl_prefill", "nixl_decode", "bootstrap", "none"]
"""What a body of a disaggregated request is for."""

Connector: TypeAlias = Literal["sidecar", "nixl", "bootstrap"]
"""How the KV caches of disaggregated requests move: see the manual's page "Disaggregation"."""

CacheUse: TypeAlias = Literal["read", "unreported", "unread"]
"""An engine's use of its prefix cache for a request.

``"read"``: the engine looks the prompt up, and reports the cached tokens. ``"unreported"``: the
engine looks the prompt up, but its report does not cover this prompt. ``"unread"``: no lookup."""

Allow: TypeAlias = (
    Collection[Literal["priority", "flow", "session", "ttl", "deadline", "objective"]]
    | Mapping[
        Literal[
            "priority", "flow", "session", "ttl", "deadline", "objective", "session_headers"
        ],
        bool | tuple[int, int] | tuple[float, float] | Sequence[str] | None,
    ]
)
"""The fields that clients may set for their requests, in bodies and headers.

Names, or a mapping from names to ``True`` or a range, such as
``{"priority": (-10, 0), "ttl": (0.0, 30.0), "session_headers": ["x-claude-code-session-id"]}``.
Values are clamped to the range. Without a range, a priority is clamped to -100 through 100, and a
TTL or a deadline to one hour."""

PortMatch: TypeAlias = Literal["exact", "ignored"]
"""How the ports of a subset are compared with those of endpoints. ``"ignored"``: as in the
reference, an address allows all endpoints of its host."""

RejectReason: TypeAlias = Literal[
    "no_endpoints",
    "not_served",
    "too_large",
    "deadline_unreachable",
    "saturated",
    "shed",
    "queue_full",
    "name_too_long",
    "thread_not_found",
]
"""Why a request is rejected."""

EvictReason: TypeAlias = Literal[
    "ttl_expired",
    "no_endpoints",
    "deadline_unreachable",
    "displaced",
    "too_large",
    "thread_not_found",
]
"""Why a waiting request is evicted.

Its TTL expired, with or without endpoints in the pool; no endpoint can meet its deadline; a request
of higher priority displaced it; it fits on no endpoint; or the endpoint of the answer that it
continues accepts no requests."""

GatewayReason: TypeAlias = Literal[
    "victim",
    "cancelled",
    "shutting_down",
    "missing_api_key",
    "invalid_api_key",
    "model_not_allowed",
    "model_not_found",
    "no_route",
    "no_backend",
    "rate_limit_exceeded",
    "concurrency_limit_exceeded",
    "request_exceeds_limit",
    "too_many_clients",
    "content_filter",
    "safety_unavailable",
]
"""Why a gateway refuses a request that its scheduler has not refused."""

Exclusion: TypeAlias = Literal[
    "elsewhere",
    "not_served",
    "not_in_subset",
    "excluded",
    "draining",
    "sleeping",
    "too_large",
    "too_late",
    "too_slow",
    "backed_off",
    "ramping",
    "session_limit",
    "filtered",
    "full",
]
"""Why an endpoint is not eligible for a request."""

BackoffCause: TypeAlias = Literal["unreachable", "failed", "unanswered", "late", "probe"]
"""Why an endpoint is backed off."""

HealthState: TypeAlias = Literal["serving", "backed_off", "trial", "ramping"]
"""The requests that an endpoint accepts: all, none, one trial at a time, or a growing window."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A prompt as precomputed hashes of its full blocks."""

    hashes: Any
    """A buffer, list or tuple of 64-bit integers. Each hash covers its block and all before it."""
    block_size: int
    """Tokens per block."""
    tokens: int
    """The prompt's length in tokens."""


@dataclass(frozen=True, slots=True)
class BlockStored:
    """An engine stored blocks, each the child of the previous one.

    With token ids, the blocks match prompts of token ids. Without them, the engine's names must be
    the hashes of :class:`Blocks`.
    """

    kind: ClassVar[Literal["stored"]] = "stored"

    blocks: Any
    """The engine's 64-bit names of the blocks: a buffer, list or tuple."""
    block_size: int
    """Tokens per block."""
    parent: int | None = field(default=None, kw_only=True)
    """The engine's name of the block before the first; ``None`` at the start of a prompt."""
    tokens: Any = field(default=None, kw_only=True)
    """Token ids of all the blocks."""
    lookahead: Any = field(default=(), kw_only=True)
    """Token ids after the last block that its hash also covers."""
    tier: Tier = field(default="gpu", kw_only=True)
    """The tier that stores the blocks."""
    model: str | None = field(default=None, kw_only=True)
    """The base model; ``None`` means the endpoint's own model, under any name."""
    adapter: str | None = field(default=None, kw_only=True)
    """The LoRA adapter."""
    cache_salt: str | None = field(default=None, kw_only=True)
    """The cache salt."""


@dataclass(frozen=True, slots=True)
class BlockRemoved:
    """An engine removed blocks. Unknown names are ignored: engines publish some removals twice."""

    kind: ClassVar[Literal["removed"]] = "removed"

    blocks: Any
    """The engine's 64-bit names of the blocks: a buffer, list or tuple."""
    tier: Tier = field(default="gpu", kw_only=True)
    """The tier that removed the blocks. Another tier may still store them."""


@dataclass(frozen=True, slots=True)
class AllBlocksCleared:
    """An engine cleared its cache."""

    kind: ClassVar[Literal["cleared"]] = "cleared"


KvEvent: TypeAlias = BlockStored | BlockRemoved | AllBlocksCleared
"""One change of an engine's KV cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedEndpoint:
    """An endpoint that was removed from the pool."""

    endpoint: Endpoint
    """Its description."""
    in_flight: tuple[int, ...]
    """Its requests in flight. They end as if the endpoint were still in the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The token counts of a request, as the engine reports them."""

    prompt_tokens: int | None = None
    """Tokens of the prompt."""
    cached_tokens: int | None = None
    """Prompt tokens that were read from the cache."""
    completion_tokens: int | None = None
    """Tokens of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTerms:
    """The terms of a cost, in seconds."""

    queue: float
    """Waiting for prefill that is reserved before the request."""
    kv_admission_wait: float
    """Waiting for admission to the KV cache."""
    prefill: float
    """The request's own prefill."""
    cache_eviction: float
    """Recomputation by later requests of the blocks that the request evicts."""
    kv: float
    """Use of the KV cache."""
    decode: float
    """Delay of running answers by the request's prefill."""
    adapter: float
    """Loading the request's LoRA adapter."""
    failure_backoff: float
    """The remaining backoff after failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerScore:
    """The score of one scorer."""

    scorer: str
    """The scorer's name."""
    weight: float
    """The factor of its scores."""
    raw: float
    """The score as the scorer returned it."""
    weighted: float
    """The score, clamped to 0 to 1, times the weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerUp:
    """What would have had to change for the runner-up to win."""

    endpoint_id: int
    """The runner-up."""
    behind: float
    """How far it is behind: in seconds of cost, or in score if a scheduling profile chooses."""
    lost_most_in: str | None
    """The term of the cost, or the scorer, in which it lost most."""
    lost: float
    """The difference in that term or score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One endpoint, evaluated for a request."""

    endpoint_id: int
    """The endpoint's id."""
    name: str
    """Its name."""
    excluded: Exclusion | None
    """Why the endpoint is not eligible; ``None`` if it is eligible."""
    cached_tokens: int
    """Prompt tokens that are expected in its cache."""
    first_token_in: float
    """Predicted seconds to the first token."""
    predicted_ttft: float
    """The same, with the overheads of the engine's steps."""
    predicted_tpot: float
    """Predicted mean seconds per output token."""
    ttft_headroom: float | None
    """Seconds by which ``predicted_ttft`` is below the service level; negative if it misses it."""
    tpot_headroom: float | None
    """The same of ``predicted_tpot``."""
    terms: CostTerms
    """The cost, term by term."""
    cost: float
    """The sum of the terms, in seconds."""
    backoff: BackoffCause | None
    """Why the endpoint is backed off; ``None`` if it is not."""
    backoff_remaining: float
    """Seconds from now until a trial."""
    kv_refusal: str | None = None
    """The code of its last rejected KV event, while its cache is not tracked by events."""
    score: float | None = None
    """The weighted sum of the scores, if a scheduling profile chooses."""
    scores: tuple[ScorerScore, ...] = ()
    """Each scorer's raw and weighted score, if a scheduling profile chooses."""
    filtered_by: str | None = None
    """The filter of a scheduling profile that removed the endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageExplanation:
    """The endpoints for a stage before the answer."""

    stage: Stage
    """The stage."""
    candidates: tuple[Candidate, ...]
    """All endpoints: the eligible ones first, best first."""
    runner_up: RunnerUp | None
    """What the second of the eligible endpoints lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeciderFacts:
    """What deciders read."""

    prompt_tokens: int = 0
    """Tokens of the prompt."""
    cached_tokens: int = 0
    """Tokens of the prompt that the decoding endpoint has cached."""
    multimodal: bool = False
    """Whether the request has media, such as images."""
    decode_only: float = 0.0
    """The cost of the best endpoint that prefills and decodes, in seconds."""
    disaggregated: float = 0.0
    """The cost of the best prefilling endpoint, of the transfer, and of the best decoding one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The decision that ``pick`` would make, with every endpoint's cost. ``str()`` is a table."""

    endpoint_id: int | None
    """The endpoint that would be chosen; ``None`` if the request would be rejected."""
    reason: RejectReason | None
    """Why the request would be rejected; ``None`` if it would be dispatched."""
    retry_after: float | None
    """Seconds after which a retry may succeed, if rejected and known."""
    prompt_tokens: int
    """Tokens of the prompt: counted, or estimated from text."""
    best_cached_tokens: int
    """The maximum of ``cached_tokens`` over all endpoints of the pool."""
    candidates: tuple[Candidate, ...]
    """All endpoints: the eligible ones first, best first."""
    runner_up: RunnerUp | None
    """What the best eligible endpoint that was not chosen lacks."""
    prefill: int | None = None
    """The endpoint that would compute the prompt first, if that pays."""
    encode: int | None = None
    """The endpoint that would encode the media first."""
    decider_facts: DeciderFacts | None = None
    """What the prefill decider reads, if there is a decision."""
    stages: tuple[StageExplanation, ...] = ()
    """The stages before the answer for which endpoints were compared."""
    table: str = field(repr=False, compare=False)
    """The explanation as a table."""

    def __str__(self) -> str:
        return self.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The eligible endpoints of a request, best first, as columns for a cost function.

    Columns are read-only buffers: ``numpy.frombuffer(candidates.cost)`` copies nothing.
    """

    prompt_tokens: int
    """Tokens of the prompt: counted, or estimated from text."""
    names: tuple[str, ...]
    """The endpoints' names."""
    endpoints: memoryview
    """Their ids, unsigned 64-bit."""
    cached_tokens: memoryview
    """Prompt tokens that are expected in each cache, unsigned 64-bit."""
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
    """The sum of the terms."""


# Decoders of the core's JSON. The native part calls them.


def decode_removed(text: str) -> RemovedEndpoint:
    """Decodes a removed endpoint from JSON."""
    endpoint, in_flight = json.loads(text)
    return RemovedEndpoint(endpoint=endpoint_of(endpoint), in_flight=tuple(in_flight))


def decode_explanation(text: str) -> Explanation:
    """Decodes an explanation and its table from JSON."""
    fields, table = json.loads(text)
    verdict = fields["verdict"]
    rejected = verdict.get("Err") or {"reason": None, "retry_after": None}
    facts = fields.get("decider_facts")
    return Explanation(
        endpoint_id=verdict.get("Ok"),
        reason=rejected["reason"],
        retry_after=rejected["retry_after"],
        stages=tuple(
            StageExplanation(stage=one["stage"], **_decode_candidates(one))
            for one in fields.get("stages", ())
        ),
        **_decode_candidates(fields),
        table=table,
        prompt_tokens=fields["prompt_tokens"],
        best_cached_tokens=fields["best_cached_tokens"],
        prefill=fields.get("prefill"),
        encode=fields.get("encode"),
        decider_facts=None if facts is None else DeciderFacts(**facts),
    )


def _decode_candidates(fields: dict[str, Any]) -> dict[str, Any]:
    """The endpoints of one stage, and the runner-up."""
    candidates = tuple(
        Candidate(
            **{
                **one,
                "terms": CostTerms(**one["terms"]),
                "scores": tuple(ScorerScore(**score) for score in one.get("scores", ())),
            }
        )
        for one in fields["candidates"]
    )
    runner_up = fields.get("runner_up")
    return {"candidates": candidates, "runner_up": runner_up and RunnerUp(**runner_up)}
