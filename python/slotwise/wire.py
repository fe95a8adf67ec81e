"""Parses the bytes that engines and clients send, and builds the responses to clients.

>>> from slotwise import wire
>>> load = b'vllm:num_requests_waiting{engine="0"} 3\\n'
>>> cache = b'vllm:cache_config_info{block_size="16",num_gpu_blocks="512"} 1\\n'
>>> page = load + cache
>>> report = wire.read_metrics(page)
>>> report.load.waiting, report.block_size, report.kv_cache_tokens
(3, 16, 8192)

A gateway rarely needs these functions. :class:`slotwise.Scheduler` accepts pages, frames, bodies
and headers as received, and :class:`slotwise.aio.Lease` reads the response.

Bytes are ``bytes`` (not copied) or any other buffer of bytes, never ``str``. Malformed bytes raise
:class:`slotwise.WireError`, with the offset.
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
from .values import (
    Allow,
    CacheUse,
    EvictReason,
    GatewayReason,
    KvTransfer,
    RejectReason,
    Usage,
)

if TYPE_CHECKING:
    from typing import Literal

    from typing_extensions import Buffer

Headers = Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str]
"""Headers as pairs of a name and a value, or as a mapping."""

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
    "kv_transfer_body",
    "kv_transfer_params",
    "api_of_path",
    "attributes",
    "block_hashes",
    "forwarded_headers",
    "outcome_of_status",
    "read_headers",
    "read_kv_batch",
    "read_kv_frames",
    "read_metrics",
    "read_orca",
    "read_request",
    "refusal",
    "replay_request",
    "response_headers",
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
    """Parses a metrics page in the text format of Prometheus or OpenMetrics.

    The engine is detected from the page, unless ``engine`` names it. ``fields`` maps a field to the
    metrics that replace the engine's own: ``name`` or ``name{label="value"}``. Of several metrics,
    the first that a rank has counts. ``adapters`` names the metric with the labels of vLLM's
    ``vllm:lora_requests_info``. With ``engine="custom"``, only these metrics are read.
    ``rank_label`` is the label that distinguishes their ranks.

    Raises :class:`slotwise.WireError` in three cases: a line of a wanted metric is malformed or
    truncated, a metric in the arguments is malformed, or the page is not a metrics page
    (``not_metrics``: HTML, JSON or empty). If no metric of the page is known, the report has
    ``warnings``.
    """
    return decode_metrics(_core.read_metrics(page, engine, fields, adapters, rank_label))


def read_orca(header: str | Buffer) -> OrcaReport:
    """Parses the response header ``endpoint-load-metrics``.

    Raises :class:`slotwise.WireError`.
    """
    return decode_orca(_core.read_orca(header))


def read_kv_frames(frames: Sequence[Buffer]) -> Message:
    """Parses the frames of a ZMQ message. Raises :class:`slotwise.WireError`."""
    message = _core.read_kv_frames(frames)
    if message is None:
        return Message(replay_end=True)
    topic, seq, payload = message
    return Message(topic=topic, seq=seq, payload=payload)


def read_kv_batch(payload: Buffer) -> KvBatch:
    """Parses one batch of KV events of vLLM or SGLang.

    For tests and tools: :meth:`slotwise.Scheduler.handle_kv_frames` takes the frames themselves.
    Raises :class:`slotwise.WireError`.
    """
    return decode_batch(*_core.read_kv_batch(payload))


def read_request(body: Buffer, *, api: Api | None = None, path: str | None = None) -> RequestView:
    """Parses a request body of the API with this name, or of the API at this path.

    Raises :class:`slotwise.WireError`.
    """
    return decode_request(*_core.read_request(body, api, path))


def add_usage(
    body: Buffer, *, api: Api | None = None, path: str | None = None
) -> tuple[bytes, bool]:
    """Requests usage in the body of a streamed request. Returns the body, and whether it changed.

    All other bytes of the body stay the same. Streams of chat completions and completions report
    usage only if the body requests it. Where this function adds the request, the answer has one
    chunk that the client did not request. ``AnswerFilter(content_type, drop_usage=added)`` removes
    that chunk.

    >>> from slotwise import wire
    >>> wire.add_usage(b'{"messages": [], "stream": true}', path="/v1/chat/completions")
    (b'{"messages": [], "stream": true,"stream_options":{"include_usage":true}}', True)
    >>> wire.add_usage(b'{"input": "Hi", "stream": true}', path="/v1/responses")[1]
    False

    Raises :class:`slotwise.WireError`.
    """
    return _core.add_usage(body, api, path)


def kv_transfer_body(
    body: Buffer,
    transfer: KvTransfer,
    *,
    api: Api | None = None,
    path: str | None = None,
    parameters: str | None = None,
    host: str = "",
    port: int = 8998,
    room: int = 0,
) -> bytes:
    """The body for one of the engines of a disaggregated request, from the client's.

    ``"nixl_decode"`` has the ``parameters`` of the prefilling engine's answer, ``"bootstrap"`` the
    ``host`` of the prefilling engine, its bootstrap ``port`` and a ``room`` below 2**63. A client's
    own transfer fields are replaced. ``Scheduler.forward`` does this by itself.

    >>> from slotwise import wire
    >>> body = b'{"prompt": "Hi", "kv_transfer_params": {"remote_host": "evil"}}'
    >>> wire.kv_transfer_body(body, "none", path="/v1/completions")
    b'{"prompt": "Hi", "kv_transfer_params": null}'

    Raises :class:`slotwise.WireError`.
    """
    return _core.kv_transfer_body(body, transfer, api, path, parameters, host, port, room)


def kv_transfer_params(answer: Buffer) -> str | None:
    """The ``kv_transfer_params`` in the answer of vLLM's prefilling engine, as JSON.

    >>> from slotwise import wire
    >>> wire.kv_transfer_params(b'{"kv_transfer_params": {"remote_port": 5600}}')
    '{"remote_port": 5600}'

    Raises :class:`slotwise.WireError`.
    """
    return _core.kv_transfer_params(answer)


def forwarded_headers(
    headers: Headers, *, add: Headers = (), credentials: bool = False
) -> list[tuple[str, str]]:
    """The headers of a client's request that go to an engine, with names in lower case.

    Headers of the connection stop here, as do those about the length and the coding of the body,
    and choices that belong to the gateway, such as ``x-prefiller-host-port``. The client's keys and
    cookies pass only with ``credentials``. ``add`` has the host's own headers, such as the engine's
    key. They replace those of the client.

    >>> from slotwise import wire
    >>> received = [(b"Authorization", b"Bearer client"), (b"Content-Type", b"application/json")]
    >>> wire.forwarded_headers(received, add={"authorization": "Bearer engine"})
    [('content-type', 'application/json'), ('authorization', 'Bearer engine')]
    """
    return _core.forwarded_headers(headers, add, credentials)


def response_headers(headers: Headers, *, add: Headers = ()) -> list[tuple[str, str]]:
    """The headers of an engine's response that go to the client, with names in lower case.

    Of the others, some belong to the connection or the coding of the body, some to the gateway:
    ``set-cookie``, ``server``, ``location``, CORS. ``add`` has the host's own headers, which
    replace the engine's. The reply of ``Scheduler.forward`` needs no filter.

    >>> from slotwise import wire
    >>> wire.response_headers({"Content-Length": "9", "X-Request-Id": "r1"})
    [('x-request-id', 'r1')]
    """
    return _core.response_headers(headers, add)


def read_headers(
    pairs: Headers,
) -> RequestHeaders:
    """Parses the headers of a request. Headers with unusable values are listed in ``unusable``."""
    return decode_headers(_core.read_headers(pairs))


def refusal(
    reason: RejectReason
    | EvictReason
    | GatewayReason
    | Rejected
    | Evicted
    | RejectedError,
    *,
    retry_after: float | None = None,
    message: str | None = None,
    shape: RefusalShape = "openai",
) -> Refusal:
    """Builds the HTTP response to a request that was rejected or evicted.

    A code that rejections and evictions share counts as a rejection. ``retry_after`` (in seconds)
    and ``message`` replace the refusal's own.
    """
    asked = reason.refusal if isinstance(reason, RejectedError) else reason
    status, headers, body = _core.refusal(
        asked, retry_after=retry_after, message=message, shape=shape
    )
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
    """Span attributes of a decision, a usage or a refusal, by the OpenTelemetry conventions.

    The keywords describe the request, as in ``pick``. They apply to a :class:`slotwise.Dispatch`
    only.
    """
    match of:
        case Dispatch():
            pairs = _core.attributes_of_dispatch(of, model, adapter, session, flow, priority)
        case Usage():
            pairs = _core.attributes_of_usage(
                of.prompt_tokens, of.cached_tokens, of.completion_tokens
            )
        case RejectedError():
            pairs = _core.attributes_of_refusal(of.refusal)
        case _:
            pairs = _core.attributes_of_refusal(of)
    decoded: list[tuple[str, Any]] = json.loads(pairs)
    return dict(decoded)
