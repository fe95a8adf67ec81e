"""The immutable results of :mod:`slotwise.wire`. Durations are in seconds.

All are dataclasses: they compare, print, match, copy and pickle. The Rust crate ``slotwise-wire``
defines their fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .values import CacheUse, Tier

Engine: TypeAlias = Literal[
    "vllm",
    "sglang",
    "trtllm-serve",
    "triton-tensorrt-llm",
    "llama.cpp",
    "triton",
    "dynamo",
]
"""An engine whose metrics are supported."""

MetricField: TypeAlias = Literal[
    "waiting",
    "running",
    "kv_usage",
    "kv_tokens",
    "kv_cache_tokens",
    "block_size",
    "blocks",
]
"""A field of a report that a gauge can supply."""

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
"""An API of model servers, by the body of its requests."""

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
"""The field of a body that identifies the session."""

PriorityOrder: TypeAlias = Literal["low_first", "high_first"]
"""The order of priorities in bodies: in vLLM, lower values go first; in SGLang, higher values.

In slotwise, higher values go first."""

FinishReason: TypeAlias = Literal[
    "stop", "length", "tool_calls", "content_filter", "other", "abort", "error"
]
"""Why an engine stopped. ``abort`` and ``error`` are failures, even with a success status."""

CloseReason: TypeAlias = Literal["clean", "broken", "timed_out", "client_disconnected", "expired"]
"""How a connection ended. ``timed_out``: the endpoint sent nothing for too long. ``expired``: the
time of the whole request was over."""

End: TypeAlias = Literal[
    "complete",
    "aborted",
    "failed",
    "refused",
    "full",
    "timed_out",
    "client_disconnected",
    "expired",
    "cut",
    "unreadable",
    "unreachable",
]
"""How an answer ended.

``complete``: the client has the whole answer. ``aborted``: the engine aborted it. ``failed``: the
engine failed. ``refused``: every endpoint would refuse the request. ``full``: the endpoint accepts
no requests now. ``timed_out``: a timeout expired. ``client_disconnected``: the client disconnected.
``expired``: the time of the whole request was over. ``cut``: the connection broke.
``unreadable``: the body is malformed JSON. ``unreachable``: there was no connection."""

Retry: TypeAlias = Literal["never", "if_nothing_sent"]
"""Whether a request may be sent to another endpoint."""

Disposition: TypeAlias = Literal["complete", "fail", "cancel"]
"""The call of the scheduler that ends a request."""

HashAlgorithm: TypeAlias = Literal["sha256", "sha256_cbor", "xxhash", "xxhash_cbor"]
"""The hash by which vLLM names blocks: ``--prefix-caching-hash-algo``."""

RefusalShape: TypeAlias = Literal["openai", "anthropic"]
"""The client library whose error format a refusal follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    """An error in one part of the input. The other parts are still read."""

    offset: int
    """The position of the first malformed byte."""
    code: str
    """The code of the error: see :class:`slotwise.WireError`."""
    message: str
    """The error and its position, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load that an engine reports; ``None`` for fields that it does not report."""

    waiting: int | None
    """Requests in the engine's queue."""
    running: int | None
    """Requests that the engine runs."""
    kv_usage: float | None
    """Share of the KV cache that running requests use, in ``[0, 1]``."""
    sleeping: bool | None = None
    """Whether the engine sleeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCache:
    """The layout of a KV cache; ``None`` for fields that the page does not report."""

    block_size: int | None
    """Tokens per block."""
    blocks: int | None
    """The number of blocks."""
    tokens: int | None
    """Tokens that fit, if the engine reports the number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """The report of one data parallel rank."""

    rank: str
    """Its name, usually a number; empty if the page names no ranks."""
    load: Load
    """Its load."""
    kv_tokens: int | None
    """Tokens of running requests in its KV cache."""
    kv_cache: KvCache
    """Its KV cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """The LoRA adapters of current requests.

    Engines do not report adapters without requests, although these stay loaded.
    """

    slots: int | None
    """Adapters that fit at once, if the engine reports the number."""
    running: tuple[str, ...]
    """Names of the adapters of running requests."""
    waiting: tuple[str, ...]
    """Names of the adapters of waiting requests."""
    active: tuple[str, ...]
    """The names in ``running`` or ``waiting``, each once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsReport:
    """The report of a metrics page: by rank, and in total."""

    engine: Engine | None
    """The detected engine; ``None`` if the page has no metric of a supported engine."""
    ranks: tuple[RankReport, ...]
    """One report per data parallel rank, in order. A page without ranks has one unnamed report."""
    adapters: Adapters | None
    """The LoRA adapters in use; ``None`` if the page does not report them."""
    skipped_lines: int
    """Lines that are neither samples nor comments."""
    warnings: tuple[Literal["nothing_known"], ...]
    """Warnings by name: ``nothing_known`` if no metric of the page is known and has a value."""
    load: Load
    """The load of all ranks together."""
    kv_cache: KvCache
    """The KV cache of all ranks together."""
    block_size: int | None
    """Tokens per block, for ``Endpoint.block_size``."""
    kv_cache_tokens: int | None
    """Tokens that fit into the KV caches of all ranks, for ``Endpoint.kv_cache_tokens``."""
    max_adapters: int | None
    """LoRA adapters that fit at once, for ``Endpoint.adapter_slots``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrcaReport:
    """The report of a header ``endpoint-load-metrics``."""

    load: Load
    """The load of the endpoint."""
    kv_cache_tokens: int | None
    """Tokens that fit into the KV cache. Only Triton reports this."""
    skipped: int
    """Metrics that are unknown, or whose value is not a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message from a publisher of KV events."""

    topic: bytes | None = None
    """The topic; empty if the message has none."""
    seq: int | None = None
    """The sequence number of the batch. It starts from 0 in each process of the engine."""
    payload: bytes | None = None
    """The batch, for :func:`slotwise.wire.read_kv_batch`."""
    replay_end: bool = False
    """Whether the message ends a replay. Then all other fields are ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedEvents:
    """Counts of content that was read but skipped. None of it is an error."""

    unknown_fields: int
    """Unknown fields."""
    unknown_kinds: int
    """Events of unknown kinds."""
    other_groups: int
    """Events of layer groups other than the one that represents the model."""
    other_ranks: int
    """Events of data parallel ranks other than the requested one (TensorRT-LLM)."""
    unknown_media: int
    """Events about unknown storage media."""
    unnamed_adapters: int
    """Stored events whose adapter has a number but no name."""
    without_tokens: int
    """Stored events without token ids: copies to another tier."""
    multimodal_blocks: int
    """Blocks with content besides token ids, and later blocks of the same event. Counts blocks."""
    partial_blocks: int
    """Blocks that are not full yet (TensorRT-LLM). Counts blocks, not events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvBatchEvent:
    """One change of an engine's KV cache, as published."""

    type: Literal["stored", "removed", "cleared"]
    """The kind of change."""
    blocks: tuple[str, ...]
    """The engine's names of the blocks: 16 hexadecimal digits each."""
    parent: str | None
    """The name of the block before the first; ``None`` at the start of a prompt."""
    tokens: tuple[int, ...] | None
    """Token ids of all the blocks."""
    lookahead: tuple[int, ...]
    """Token ids after the last block that its hash also covers."""
    block_size: int | None
    """Tokens per block; only for stored blocks."""
    tier: Tier | None
    """The tier of the blocks; ``None`` if the cache was cleared."""
    model: str | None
    """The base model, if the event names it."""
    adapter: str | None
    """The LoRA adapter."""
    cache_salt: str | None
    """The cache salt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KvBatch:
    """A batch of KV events."""

    sent_at: float
    """The send time, in seconds since 1970 on the engine's clock."""
    dp_rank: int | None
    """The data parallel rank that sent it."""
    events: tuple[KvBatchEvent, ...]
    """The events, in order, without the skipped ones."""
    skipped_events: SkippedEvents
    """Counts of the skipped content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """The fields of a request body that matter for routing.

    Fields that the body lacks are ``None``, ``False`` or 0.
    """

    api: Api
    """The API of the request."""
    model: str | None
    """The model, or the adapter if the engine serves adapters as models."""
    model_range: tuple[int, int] | None
    """The byte range of the model in the body, its quotation marks included; the end is
    exclusive."""
    prompt: bytes | list[int]
    """The prompt: token ids, or text that represents the engine's input."""
    prompts: int
    """The number of prompts, of which ``prompt`` is the first; more than 1 in a batch."""
    cache_use: CacheUse
    """The engine's use of its cache for the request."""
    continues: str | None
    """The id of the answer that the request continues: ``previous_response_id``, or that of a
    ``thread``."""
    stream: bool
    """Whether the body requests a stream."""
    include_usage: bool
    """Whether the body requests usage at the end of the stream."""
    max_tokens: int | None
    """The maximum number of tokens of each answer."""
    n: int | None
    """The number of answers per prompt."""
    priority: int | None
    """The priority as in the body: see :data:`PriorityOrder`."""
    session: str | None
    """The session, which the requests of one conversation share."""
    session_field: SessionField | None
    """The field of the body that identifies the session."""
    cache_salt: str | None
    """The cache salt. Requests with different salts share no cached blocks."""
    adapter: str | None
    """The adapter of SGLang's ``lora_path``."""
    multimodal: bool
    """Whether the prompt has images, sounds or files."""
    kv_transfer: bool
    """Whether KV blocks are transferred from or to another engine."""
    request_id: str | None
    """The client's id of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusableHeader:
    """A header with an unusable value."""

    name: str
    """The name of the header in the request, in lower case."""
    error: ErrorKind
    """The error in its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHeaders:
    """The request headers that matter to a scheduler; ``None`` for absent ones."""

    fairness_id: str | None
    """The flow, the unit of fairness."""
    objective: str | None
    """The objective's name. The gateway maps the name to a priority."""
    model_rewrite: str | None
    """The model name for the forwarded request."""
    slo_ttft: float | None
    """The longest useful time to the first token."""
    slo_tpot: float | None
    """The longest useful time per further token."""
    ttl: float | None
    """The longest time that the request may wait for a decision."""
    session_id: str | None
    """The id of the conversation."""
    session_token: str | None
    """The token of the conversation."""
    request_id: str | None
    """The client's id of the request."""
    subset: str | None
    """The allowed endpoints, separated by commas. The scheduler does not enforce the list."""
    priority: int | None
    """The priority: higher values go first."""
    load_format: Literal["TEXT", "JSON", "BIN"] | None
    """The format in which the client requests the engine's load."""
    unusable: tuple[UnusableHeader, ...]
    """Headers that are unusable, in whole or in part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The HTTP response to a request that is rejected or evicted."""

    status: int
    """The HTTP status."""
    headers: tuple[tuple[str, str], ...]
    """The headers, their names in lower case."""
    body: bytes
    """The body: JSON."""


# Decoders of the wire's JSON. The native part and ``slotwise.wire`` call them.


def decode_problem(text: str) -> ErrorKind:
    """Decodes an error from JSON."""
    return ErrorKind(**json.loads(text))


def decode_skipped_events(text: str) -> SkippedEvents:
    """Decodes counts of skipped content from JSON."""
    return SkippedEvents(**json.loads(text))


def decode_metrics(text: str) -> MetricsReport:
    """Decodes the report of a metrics page from JSON."""
    fields, load, cache, capacity, active = json.loads(text)
    ranks = fields.pop("ranks")
    adapters = fields.pop("adapters")
    return MetricsReport(
        ranks=tuple(
            RankReport(
                **{**one, "load": _load(one["load"]), "kv_cache": KvCache(**one["kv_cache"])}
            )
            for one in ranks
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
    """Decodes the report of an ORCA header from JSON."""
    fields = json.loads(text)
    fields["load"] = _load(fields["load"])
    return OrcaReport(**fields)


def decode_batch(sent_at: float, text: str) -> KvBatch:
    """Decodes a batch of events from JSON."""
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
    """Decodes the fields of a body from JSON, and adds its prompt."""
    fields = json.loads(text)
    place = fields.pop("model_range")
    return RequestView(
        model_range=place and (place["start"], place["end"]), prompt=prompt, **fields
    )


def decode_headers(text: str) -> RequestHeaders:
    """Decodes the fields of headers from JSON."""
    fields = json.loads(text)
    unusable = fields.pop("unusable")
    return RequestHeaders(
        unusable=tuple(
            UnusableHeader(name=one["name"], error=ErrorKind(**one["error"])) for one in unusable
        ),
        **fields,
    )
