"""Bytes in, reports out: what engines and clients send, as inputs of a scheduler, and what they are
told.

>>> from slotwise import wire
>>> page = b'vllm:num_requests_waiting{engine="0"} 3\\nvllm:cache_config_info{block_size="16",num_gpu_blocks="512"} 1\\n'
>>> report = wire.read_metrics(page)
>>> report.load.waiting, report.block_size, report.kv_cache_tokens
(3, 16, 8192)

A gateway hardly needs the reports: :class:`slotwise.Scheduler` takes pages, frames, bodies and headers as they come, and a
:class:`slotwise.aio.Lease` reads the answer. Bytes are ``bytes`` (not copied) or any other buffer of bytes, never ``str``. What cannot be
read raises :class:`slotwise.WireError`, with the offset.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import _core
from ._core import (
    AnswerFilter,
    Dispatch,
    Evicted,
    KvReport,
    ModelFilter,
    Outcome,
    Progress,
    Rejected,
    ResponseReader,
    api_of_path,
    block_hashes,
    outcome_of_status,
    replay_request,
    rewrite_model,
)
from .errors import RejectedError, WireError
from .reports import (
    Adapters,
    Api,
    CloseReason,
    End,
    Engine,
    FinishReason,
    HashAlgorithm,
    KvBatch,
    KvBatchEvent,
    KvCache,
    SkippedEvents,
    Load,
    Message,
    MetricField,
    MetricsReport,
    OrcaReport,
    PriorityOrder,
    ErrorKind,
    RankReport,
    Refusal,
    RefusalShape,
    RequestHeaders,
    RequestView,
    Retry,
    SessionField,
    Disposition,
    UnusableHeader,
    decode_batch,
    decode_headers,
    decode_metrics,
    decode_orca,
    decode_request,
)
from .values import Allow, CacheUse, EvictReason, RejectReason, Usage

if TYPE_CHECKING:
    from typing import Literal

    from typing_extensions import Buffer

__all__ = [
    "Adapters",
    "Allow",
    "AnswerFilter",
    "Api",
    "CacheUse",
    "CloseReason",
    "End",
    "Engine",
    "FinishReason",
    "HashAlgorithm",
    "KvBatch",
    "KvBatchEvent",
    "KvCache",
    "KvReport",
    "SkippedEvents",
    "Load",
    "Message",
    "MetricField",
    "MetricsReport",
    "ModelFilter",
    "OrcaReport",
    "Outcome",
    "PriorityOrder",
    "ErrorKind",
    "Progress",
    "RankReport",
    "Refusal",
    "RefusalShape",
    "RequestHeaders",
    "RequestView",
    "ResponseReader",
    "Retry",
    "SessionField",
    "Disposition",
    "UnusableHeader",
    "WireError",
    "add_usage",
    "api_of_path",
    "attributes",
    "block_hashes",
    "outcome_of_status",
    "read_headers",
    "read_kv_batch",
    "read_kv_frames",
    "read_metrics",
    "read_orca",
    "read_request",
    "refusal",
    "replay_request",
    "rewrite_model",
]


def read_metrics(
    page: Buffer,
    *,
    engine: Engine | Literal["custom"] | None = None,
    fields: Mapping[MetricField, str | Sequence[str]] | None = None,
    adapters: str | None = None,
    rank_label: str | None = None,
) -> MetricsReport:
    """What a metrics page reports, in the text format of Prometheus or OpenMetrics.

    The engine is detected from the page, unless ``engine`` names it. ``fields`` says by which
    metrics, ``name`` or ``name{label="value"}``, something is read, in the place of the engine's;
    of several, the first counts that a rank has. ``adapters`` is the one with the labels of vLLM's
    ``vllm:lora_requests_info``. With ``engine="custom"``, nothing else is looked for.
    ``rank_label`` tells the ranks of these metrics apart.

    Raises :class:`slotwise.WireError`: a line that is looked for is malformed or without its end, a
    metric here is, or the page is none (``not_metrics``: HTML, JSON, nothing at all). A page of
    which nothing is known has ``warnings``.
    """
    return decode_metrics(_core.read_metrics(page, engine, fields, adapters, rank_label))


def read_orca(header: str | Buffer) -> OrcaReport:
    """What the response header ``endpoint-load-metrics`` says. Raises
    :class:`slotwise.WireError`."""
    return decode_orca(_core.read_orca(header))


def read_kv_frames(frames: Sequence[Buffer]) -> Message:
    """What the frames of a ZMQ message hold. Raises :class:`slotwise.WireError`."""
    message = _core.read_kv_frames(frames)
    if message is None:
        return Message(replay_end=True)
    topic, seq, payload = message
    return Message(topic=topic, seq=seq, payload=payload)


def read_kv_batch(payload: Buffer) -> KvBatch:
    """One batch of events of vLLM or SGLang, for tests and tools: a scheduler reads them itself.
    Raises :class:`slotwise.WireError`."""
    return decode_batch(*_core.read_kv_batch(payload))


def read_request(body: Buffer, *, api: Api | None = None, path: str | None = None) -> RequestView:
    """The contents of a body, to the API of this name or under this path. Raises
    :class:`slotwise.WireError`."""
    return decode_request(*_core.read_request(body, api, path))


def add_usage(body: Buffer, *, api: Api | None = None, path: str | None = None) -> tuple[bytes, bool]:
    """The body of a stream that ends with its usage, and the same otherwise, byte for byte; and
    whether that is new.

    Streams of chat completions and completions bring usage only if the body asks for it. Where this
    adds the question, the answer has one chunk that the client did not ask for:
    ``AnswerFilter(content_type, drop_usage=added)`` takes it out again.

    >>> from slotwise import wire
    >>> wire.add_usage(b'{"messages": [], "stream": true}', path="/v1/chat/completions")
    (b'{"messages": [], "stream": true,"stream_options":{"include_usage":true}}', True)
    >>> wire.add_usage(b'{"input": "Hi", "stream": true}', path="/v1/responses")[1]
    False

    Raises :class:`slotwise.WireError`.
    """
    return _core.add_usage(body, api, path)


def read_headers(pairs: Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str]) -> RequestHeaders:
    """What the headers of a request say. Those that cannot be used are left out, and named in
    ``unusable``."""
    return decode_headers(_core.read_headers(pairs))


def refusal(
    reason: RejectReason
    | EvictReason
    | Literal["victim", "cancelled", "shutting_down"]
    | Rejected
    | Evicted
    | RejectedError,
    *,
    retry_after: float | None = None,
    message: str | None = None,
    shape: RefusalShape = "openai",
) -> Refusal:
    """What a client gets when its request does not go.

    A code that both rejections and evictions have is taken for that of a rejection. ``retry_after``
    in seconds and ``message`` replace what the refusal says itself.
    """
    asked = reason.refusal if isinstance(reason, RejectedError) else reason
    status, headers, body = _core.refusal(asked, retry_after=retry_after, message=message, shape=shape)
    return Refusal(status=status, headers=tuple(headers), body=body)


def attributes(
    of: Dispatch | Usage | Rejected | Evicted | RejectedError,
    *,
    model: str = "",
    adapter: str | None = None,
    session: str | None = None,
    flow: str = "",
    priority: int = 0,
) -> dict[str, str | int | float]:
    """What a span says of a decision, of what an engine reported that a request used, or of a
    refusal, in OpenTelemetry's words.

    The keywords say what was asked for, as in ``pick``; they belong to a
    :class:`slotwise.Dispatch`.
    """
    match of:
        case Dispatch():
            pairs = _core.attributes_of_dispatch(of, model, adapter, session, flow, priority)
        case Usage():
            pairs = _core.attributes_of_usage(of.prompt_tokens, of.cached_tokens, of.completion_tokens)
        case RejectedError():
            pairs = _core.attributes_of_refusal(of.refusal)
        case _:
            pairs = _core.attributes_of_refusal(of)
    told: list[tuple[str, Any]] = json.loads(pairs)
    return dict(told)
