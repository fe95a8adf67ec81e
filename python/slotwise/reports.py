"""What bytes are read into: the immutable reports of :mod:`slotwise.wire`. Durations are seconds.

They are dataclasses: they compare, print, match, copy and pickle. What they are made of is defined
in the wire's Rust crate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .values import CacheUse, Tier

Engine: TypeAlias = Literal["vllm", "sglang", "trtllm-serve", "triton-tensorrt-llm", "llama.cpp", "triton", "dynamo"]
"""An engine whose metrics are known."""

MetricField: TypeAlias = Literal["waiting", "running", "kv_usage", "kv_tokens", "kv_cache_tokens", "block_size", "blocks"]
"""What a gauge can say."""

Api: TypeAlias = Literal[
    "chat_completions",
    "completions",
    "responses",
    "embeddings",
    "messages",
    "inference_generate",
    "generate",
    "score",
    "rerank",
    "pooling",
    "classify",
    "tokenize",
    "detokenize",
    "transcriptions",
    "translations",
    "speech",
]
"""An API that model servers serve, by the body of its requests."""

SessionField: TypeAlias = Literal[
    "session_id",
    "vllm_xargs.session_id",
    "session_params.id",
    "prompt_cache_key",
    "conversation",
    "thread.previous_message_id",
    "metadata.user_id",
    "user",
    "diagnostics.previous_message_id",
    "previous_response_id",
]
"""Where a session stands in a body."""

PriorityOrder: TypeAlias = Literal["low_first", "high_first"]
"""Which way priorities in bodies go: in vLLM lower goes first, in SGLang higher. In slotwise,
higher goes first."""

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "other", "abort", "error"]
"""Why an engine stopped. With ``abort`` and ``error`` it gave up, though it may have answered as if
all were well."""

CloseReason: TypeAlias = Literal["clean", "broken", "timed_out", "client_disconnected"]
"""How a connection came to its end."""

End: TypeAlias = Literal[
    "complete",
    "aborted",
    "failed",
    "refused",
    "full",
    "timed_out",
    "client_disconnected",
    "cut",
    "unreadable",
    "unreachable",
]
"""How an answer ended: the client has it; the engine gave up; it failed; any endpoint would refuse
the request; the endpoint takes no more requests now; it took too long; the client went away; it was
cut off; it is not the JSON that it says it is; there was no connection."""

Retry: TypeAlias = Literal["never", "if_nothing_sent"]
"""Whether a request may be sent to another endpoint."""

Disposition: TypeAlias = Literal["complete", "fail", "cancel"]
"""The call of the scheduler that ends a request."""

HashAlgorithm: TypeAlias = Literal["sha256", "sha256_cbor"]
"""How vLLM names blocks: ``--prefix-caching-hash-algo``."""

RefusalShape: TypeAlias = Literal["openai", "anthropic"]
"""Whose library reads the body of a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    """What is wrong with some bytes, where that is no reason to refuse the rest."""

    offset: int
    """Of the first byte that is not as it should be."""
    code: str
    """What is wrong with it: see :class:`slotwise.WireError`."""
    message: str
    """Both in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What an engine reports about its load; ``None`` where it says nothing."""

    waiting: int | None
    """Requests in its queue."""
    running: int | None
    """Requests that it works on."""
    kv_usage: float | None
    """Share of its KV cache that live requests use, in ``[0, 1]``."""
    sleeping: bool | None = None
    """Whether the engine sleeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCache:
    """How a KV cache is laid out, as far as the page reports."""

    block_size: int | None
    """Tokens in a block."""
    blocks: int | None
    """Blocks."""
    tokens: int | None
    """Tokens that fit, if the engine reports that itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """What one data parallel rank says."""

    rank: str
    """Its name, most often a number; empty if the page names none."""
    load: Load
    """Its load."""
    kv_tokens: int | None
    """Tokens that live requests have in its KV cache."""
    kv_cache: KvCache
    """Its KV cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """The LoRA adapters of requests that are there now. Engines forget those of which no request
    is, although they stay loaded."""

    slots: int | None
    """Adapters that fit side by side, if the engine reports so."""
    running: tuple[str, ...]
    """Adapters of requests that run, by name."""
    waiting: tuple[str, ...]
    """Adapters of requests that wait, by name."""
    active: tuple[str, ...]
    """Both, each once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsReport:
    """What a metrics page reports: of each rank, and all in all."""

    engine: Engine | None
    """Whose metrics are on the page; ``None`` if no metric of a known engine is on it."""
    ranks: tuple[RankReport, ...]
    """One for each data parallel rank, ordered by rank; a page without ranks has one, without a
    name."""
    adapters: Adapters | None
    """The LoRA adapters in use; ``None`` if the page reports nothing of them."""
    skipped_lines: int
    """Lines that are no samples and no comments."""
    warnings: tuple[Literal["nothing_known"], ...]
    """What should be looked into, by name: ``nothing_known`` if no metric on the page is known, or
    none has a value."""
    load: Load
    """The load of all ranks together."""
    kv_cache: KvCache
    """The KV cache of all ranks together."""
    block_size: int | None
    """Tokens in a block, as ``Endpoint.block_size`` wants it."""
    kv_cache_tokens: int | None
    """Tokens that fit into the KV cache of all ranks, as ``Endpoint.kv_cache_tokens`` wants it."""
    max_adapters: int | None
    """LoRA adapters that fit side by side, as ``Endpoint.adapter_slots`` wants it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrcaReport:
    """What the header ``endpoint-load-metrics`` says."""

    load: Load
    """The load of the endpoint."""
    kv_cache_tokens: int | None
    """Tokens that fit into its KV cache, which Triton says."""
    skipped: int
    """Metrics in it that are not looked for, or have no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of a publisher of KV events."""

    topic: bytes | None = None
    """The topic; empty if there is none."""
    seq: int | None = None
    """The number of the batch, from 0 in every process."""
    payload: bytes | None = None
    """The batch, for :func:`slotwise.wire.read_kv_batch`."""
    replay_end: bool = False
    """All that was asked for has been replayed; then all else is ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedEvents:
    """What was read but is not among the events, counted. None of it is an error."""

    unknown_fields: int
    """Fields that are not known."""
    unknown_kinds: int
    """Events of kinds that are not known."""
    other_groups: int
    """Events of other groups of layers than the one that stands for the model."""
    other_ranks: int
    """Events of other data parallel ranks than the one asked for (TensorRT-LLM)."""
    unknown_media: int
    """Events about storage that is not known."""
    unnamed_adapters: int
    """Stored events of an adapter that is only numbered, not named."""
    without_tokens: int
    """Stored events without token ids: copies into another tier."""
    multimodal_blocks: int
    """Blocks, not events, whose content is more than their token ids, and blocks behind them in the
    same event."""
    partial_blocks: int
    """Blocks, not events, that are not full yet (TensorRT-LLM)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvBatchEvent:
    """One change of an engine's KV cache, as it is published."""

    type: Literal["stored", "removed", "cleared"]
    """What has changed."""
    blocks: tuple[str, ...]
    """The engine's names for the blocks: 16 hexadecimal digits each."""
    parent: str | None
    """That of the block before the first; ``None`` at the beginning of a prompt."""
    tokens: tuple[int, ...] | None
    """Token ids of all the blocks."""
    lookahead: tuple[int, ...]
    """Token ids behind the last block that its hash covers as well."""
    block_size: int | None
    """Tokens in a block; of stored blocks only."""
    tier: Tier | None
    """Where they are, or were; ``None`` if everything was cleared."""
    model: str | None
    """The base model, if the event names it."""
    adapter: str | None
    """The LoRA adapter."""
    cache_salt: str | None
    """The cache salt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvBatch:
    """A batch of events: those that count, in order."""

    sent_at: float
    """When it was sent, in seconds since 1970 by the engine's clock."""
    dp_rank: int | None
    """The data parallel rank that sent it."""
    events: tuple[KvBatchEvent, ...]
    """The events that count."""
    skipped_events: SkippedEvents
    """What is not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """What a request says that matters to who routes it. What its body does not say is ``None``,
    ``False`` or 0."""

    api: Api
    """The API that it speaks."""
    model: str | None
    """The model, or the adapter if that is served under a name of its own."""
    model_range: tuple[int, int] | None
    """Where the model stands in the body, with its quotation marks: from the first byte to behind
    the last."""
    prompt: bytes | list[int]
    """What the engine will read: token ids, or the text that stands for it."""
    prompts: int
    """Prompts in the request, of which ``prompt`` is the first: 0 if there is none, more than 1 in
    a batch."""
    cache_use: CacheUse
    """What the engine does with its cache for the request."""
    continues: str | None
    """The id of the answer that the request goes on from: ``previous_response_id``, or that of a
    ``thread``."""
    stream: bool
    """Whether the answer is to come as a stream."""
    include_usage: bool
    """Whether the stream is to end with the usage."""
    max_tokens: int | None
    """Tokens that each answer may have at the most."""
    n: int | None
    """Answers to each prompt."""
    priority: int | None
    """As the body has it: see :data:`PriorityOrder`."""
    session: str | None
    """What requests of one conversation share."""
    session_field: SessionField | None
    """Where the session stands in the body."""
    cache_salt: str | None
    """Requests with different salts share no cache."""
    adapter: str | None
    """The adapter of SGLang's ``lora_path``."""
    kv_transfer: bool
    """Whether blocks are to be fetched from another engine, or left for one."""
    request_id: str | None
    """The id that the client gave to the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusableHeader:
    """A header that was there and says nothing that can be used."""

    name: str
    """The name that the request called it by, in lower case."""
    error: ErrorKind
    """What is wrong with its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHeaders:
    """What the headers of a request say to a scheduler; ``None`` where they say nothing."""

    fairness_id: str | None
    """Who asks."""
    objective: str | None
    """The objective's name. Which priority it has is for the gateway to know."""
    model_rewrite: str | None
    """The model's name when the request is passed on."""
    slo_ttft: float | None
    """The time to the first token that is still of use."""
    slo_tpot: float | None
    """The time for each token after it."""
    ttl: float | None
    """How long the request may wait for a decision."""
    session_id: str | None
    """The conversation's name."""
    session_token: str | None
    """The conversation's token."""
    request_id: str | None
    """The client's name for the request."""
    subset: str | None
    """The endpoints that may have it, with commas between them. A scheduler does not know of it."""
    priority: int | None
    """The priority as the core has it: higher goes first."""
    load_format: Literal["TEXT", "JSON", "BIN"] | None
    """The form in which the client wants the engine's load."""
    unusable: tuple[UnusableHeader, ...]
    """Headers that were there and cannot be used, or not wholly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a client gets when its request does not go."""

    status: int
    """The HTTP status."""
    headers: tuple[tuple[str, str], ...]
    """The headers, their names in lower case."""
    body: bytes
    """The body: JSON."""


# Out of the wire's JSON. Called from the native part and from ``slotwise.wire``.


def decode_problem(text: str) -> ErrorKind:
    """A problem from JSON."""
    return ErrorKind(**json.loads(text))


def decode_skipped_events(text: str) -> SkippedEvents:
    """Counts of what was left out from JSON."""
    return SkippedEvents(**json.loads(text))


def decode_metrics(text: str) -> MetricsReport:
    """What a metrics page reports from JSON."""
    fields, load, cache, capacity, active = json.loads(text)
    ranks = fields.pop("ranks")
    adapters = fields.pop("adapters")
    return MetricsReport(
        ranks=tuple(
            RankReport(**{**one, "load": _load(one["load"]), "kv_cache": KvCache(**one["kv_cache"])}) for one in ranks
        ),
        adapters=None
        if adapters is None
        else Adapters(
            slots=adapters["slots"],
            running=tuple(adapters["running"]),
            waiting=tuple(adapters["waiting"]),
            active=tuple(active),
        ),
        load=_load(load),
        kv_cache=KvCache(**cache),
        block_size=cache["block_size"],
        kv_cache_tokens=capacity,
        max_adapters=adapters and adapters["slots"],
        warnings=tuple(fields.pop("warnings")),
        **fields,
    )


def _load(fields: Mapping[str, Any]) -> Load:
    return Load(**{name: fields[name] for name in ("waiting", "running", "kv_usage", "sleeping")})


def decode_orca(text: str) -> OrcaReport:
    """What an ORCA header contains from JSON."""
    fields = json.loads(text)
    fields["load"] = _load(fields["load"])
    return OrcaReport(**fields)


def decode_batch(sent_at: float, text: str) -> KvBatch:
    """A batch of events from JSON."""
    dp_rank, events, skipped_events = json.loads(text)
    for event in events:
        event["blocks"] = tuple(event["blocks"])
        event["lookahead"] = tuple(event["lookahead"])
        event["tokens"] = event["tokens"] if event["tokens"] is None else tuple(event["tokens"])
    return KvBatch(
        sent_at=sent_at,
        dp_rank=dp_rank,
        events=tuple(KvBatchEvent(**event) for event in events),
        skipped_events=SkippedEvents(**skipped_events),
    )


def decode_request(text: str, prompt: bytes | list[int]) -> RequestView:
    """The contents of a body from JSON, and its prompt."""
    fields = json.loads(text)
    place = fields.pop("model_range")
    return RequestView(model_range=place and (place["start"], place["end"]), prompt=prompt, **fields)


def decode_headers(text: str) -> RequestHeaders:
    """The contents of headers from JSON."""
    fields = json.loads(text)
    unusable = fields.pop("unusable")
    return RequestHeaders(
        unusable=tuple(UnusableHeader(name=one["name"], error=ErrorKind(**one["error"])) for one in unusable),
        **fields,
    )
