"""OpenTelemetry spans and metrics of a gateway's requests.

.. code-block:: python

    telemetry = Telemetry()
    with telemetry.request("chat", model, headers=request.headers) as observed:
        reply = await scheduler.forward(send, body=body, path=path, flow=tenant)
        return StreamingResponse(observed.stream(reply), reply.status, dict(reply.headers))

The names are those of the semantic conventions for generative AI, which are in development:

- a span of kind ``SERVER``, named ``{operation} {model}``, with the attributes of the decision and
  of the usage;
- the histograms ``gen_ai.server.request.duration``, ``gen_ai.server.time_to_first_token``,
  ``gen_ai.server.time_per_output_token`` and ``gen_ai.client.token.usage``.

``slotwise[telemetry]`` installs the API package. Without it, and until the host sets up
OpenTelemetry's SDK, every call does nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import _core, wire
from .aio import Reply
from .errors import RejectedError, SlotwiseError
from .values import Usage

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["ObservedRequest", "Telemetry", "operation_of"]


def operation_of(path: str) -> str:
    """The ``gen_ai.operation.name`` of the API at a path.

    >>> from slotwise.telemetry import operation_of
    >>> operation_of("/v1/messages"), operation_of("/v1/completions"), operation_of("/v1/rerank")
    ('chat', 'text_completion', 'rerank')
    """
    api = _core.api_of_path(path)
    return _OPERATIONS.get(api or "", api or "unknown")


class Telemetry:
    """The spans and metrics of one gateway.

    ``provider`` is the ``gen_ai.provider.name`` of the pool. The providers of traces and of metrics
    default to the global ones. Metrics have at most ``max_models`` names of models; further ones
    are ``_OTHER``, since clients may send any name. ``clock`` returns seconds.
    """

    def __init__(
        self,
        *,
        provider: str = "openai",
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        max_models: int = 1_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._models: set[str] = set()
        self._max_models = max_models
        self._clock = clock
        self._api: _Api | None = _Api.load(tracer_provider, meter_provider)

    @property
    def enabled(self) -> bool:
        """Whether OpenTelemetry's API is installed."""
        return self._api is not None

    def request(
        self,
        operation: str,
        model: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        session: str | None = None,
        flow: str = "",
        priority: int = 0,
    ) -> ObservedRequest:
        """Observes one request, from the start of a ``with`` block to the end of its answer.

        ``headers`` continue the client's trace (``traceparent``). The others describe the request
        as in ``pick``; the session is its ``gen_ai.conversation.id``.
        """
        if self._api is None:
            return ObservedRequest(None, self._clock, {}, {}, {})
        if len(self._models) < self._max_models:
            self._models.add(model)
        measured = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": self._provider,
            "gen_ai.request.model": model if model in self._models else "_OTHER",
        }
        described = {"model": model, "session": session, "flow": flow, "priority": priority}
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        carrier = {name.lower(): value for name, value in pairs}
        return ObservedRequest(self._api, self._clock, measured, described, carrier)


class ObservedRequest:
    """One request. Ends with its ``with`` block, or with the stream of its reply."""

    def __init__(
        self,
        api: _Api | None,
        clock: Callable[[], float],
        measured: dict[str, Any],
        described: dict[str, Any],
        carrier: dict[str, str],
    ) -> None:
        self._api = api
        self._clock = clock
        self._measured = measured
        self._described = described
        self._carrier = carrier
        self._begun = 0.0
        self._first: float | None = None
        self._span: Any = None
        self._attached: Any = None
        # False without an SDK, and for a trace that is not sampled: attributes would be dropped.
        self._records = False
        self._streams = self._ended = False

    def __enter__(self) -> Self:
        if self._api is not None:
            self._begun = self._clock()
            attributes = self._measured | {"gen_ai.request.model": self._described["model"]}
            self._span = self._api.start(attributes, self._carrier)
            self._attached = self._api.attach(self._span)
            self._records = self._span.is_recording()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._api is None:
            return
        self._api.detach(self._attached)
        if isinstance(error, RejectedError):
            self._span.set_attributes(wire.attributes(error))
        if error is not None:
            self._end(_type_of(error))
        elif not self._streams:
            self._end(None)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that continue the trace in the engine: add them to the request."""
        return {} if self._api is None else self._api.inject(self._span)

    def handle_dispatch(self, dispatch: _core.Dispatch) -> None:
        """Adds the decision to the span. :meth:`stream` does that by itself."""
        if self._records:
            self._span.set_attributes(wire.attributes(dispatch, **self._described))

    def stream(self, reply: Reply) -> AsyncIterator[bytes]:
        """The chunks of the reply. Their end, or ``aclose`` of the reply, ends the request."""
        if self._api is None:
            return aiter(reply)
        self._streams = True
        if reply.lease is not None:
            self.handle_dispatch(reply.lease.dispatch)
        return _ObservedStream(self, reply)

    def _handle_chunk(self) -> None:
        if self._first is None:
            self._first = self._clock()

    def _settle(self, reply: Reply, error: str | None) -> None:
        """Ends the request with its reply."""
        assert self._api is not None, "only then a stream is observed"
        if self._ended:
            return
        self._span.set_attribute("http.response.status_code", reply.status)
        if error is None and reply.status >= 400:
            error = str(reply.status)
        outcome = reply.lease.outcome if reply.lease is not None else None
        if outcome is not None:
            if self._records:
                self._span.set_attributes(wire.attributes(outcome.usage))
            if outcome.finish_reason is not None:
                self._span.set_attribute(
                    "gen_ai.response.finish_reasons", [outcome.finish_reason]
                )
            if error is None and not outcome.complete:
                error = outcome.end
            for kind, count in _counts(outcome.usage):
                self._api.tokens.record(count, self._measured | {"gen_ai.token.type": kind})
        if error is None and self._first is not None and _is_stream(reply):
            self._api.first_token.record(self._first - self._begun, self._measured)
            if outcome is not None and outcome.tokens > 1:
                each = (self._clock() - self._first) / (outcome.tokens - 1)
                self._api.per_token.record(each, self._measured)
        self._end(error)

    def _end(self, error: str | None) -> None:
        assert self._api is not None
        self._ended = True
        measured = self._measured if error is None else self._measured | {"error.type": error}
        self._api.duration.record(self._clock() - self._begun, measured)
        self._api.end(self._span, error)


class _ObservedStream:
    """The chunks of a reply. A generator that was never started would not end the request."""

    def __init__(self, request: ObservedRequest, reply: Reply) -> None:
        self._request: ObservedRequest | None = request
        self._reply = reply
        self._chunks = aiter(reply)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._settle(None)
            raise
        except BaseException as error:
            self._settle(_type_of(error))
            raise
        if self._request is not None:
            self._request._handle_chunk()
        return chunk

    async def aclose(self) -> None:
        """Cancels the request if it is in flight."""
        await self._reply.aclose()
        self._settle(_LEFT)

    def __del__(self) -> None:
        self._settle(_LEFT)

    def _settle(self, error: str | None) -> None:
        """Ends the request. Only the first end counts."""
        request, self._request = self._request, None
        if request is not None:
            request._settle(self._reply, error)


class _Api:
    """The instruments, where OpenTelemetry's API is installed."""

    def __init__(self, trace: Any, metrics: Any, context: Any, propagate: Any) -> None:
        self._trace = trace
        self._context = context
        self._propagate = propagate
        self._tracer: Any = None
        histogram = metrics.create_histogram
        self.duration: Any = histogram(
            "gen_ai.server.request.duration",
            unit="s",
            description="Generative AI server request duration.",
            explicit_bucket_boundaries_advisory=_REQUEST_SECONDS,
        )
        self.first_token: Any = histogram(
            "gen_ai.server.time_to_first_token",
            unit="s",
            description="Time to generate the first token of successful responses.",
            explicit_bucket_boundaries_advisory=_FIRST_TOKEN_SECONDS,
        )
        self.per_token: Any = histogram(
            "gen_ai.server.time_per_output_token",
            unit="s",
            description="Time per output token after the first token of successful responses.",
            explicit_bucket_boundaries_advisory=_TOKEN_SECONDS,
        )
        self.tokens: Any = histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )

    @classmethod
    def load(
        cls, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
    ) -> _Api | None:
        try:
            from opentelemetry import context, metrics, propagate, trace
        except ImportError:
            return None
        version = _core.__version__
        meter = metrics.get_meter("slotwise", version, meter_provider)
        api = cls(trace, meter, context, propagate)
        api._tracer = trace.get_tracer("slotwise", version, tracer_provider)
        return api

    def start(self, attributes: dict[str, Any], carrier: dict[str, str]) -> Any:
        operation, model = attributes["gen_ai.operation.name"], attributes["gen_ai.request.model"]
        name = f"{operation} {model}".rstrip()
        return self._tracer.start_span(
            name,
            context=self._propagate.extract(carrier),
            kind=self._trace.SpanKind.SERVER,
            attributes=attributes,
        )

    def attach(self, span: Any) -> Any:
        return self._context.attach(self._trace.set_span_in_context(span))

    def detach(self, token: Any) -> None:
        self._context.detach(token)

    def inject(self, span: Any) -> dict[str, str]:
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier, self._trace.set_span_in_context(span))
        return carrier

    def end(self, span: Any, error: str | None) -> None:
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, error))
        span.end()


def _is_stream(reply: Reply) -> bool:
    return dict(reply.headers).get("content-type", "").startswith("text/event-stream")


def _type_of(error: BaseException) -> str:
    """The ``error.type``: the code of an error of slotwise, and else its class."""
    if isinstance(error, asyncio.CancelledError):
        return _LEFT
    return error.code if isinstance(error, SlotwiseError) else type(error).__qualname__


def _counts(usage: Usage | None) -> Iterable[tuple[str, int]]:
    if usage is not None:
        if usage.prompt_tokens is not None:
            yield "input", usage.prompt_tokens
        if usage.completion_tokens is not None:
            yield "output", usage.completion_tokens


_LEFT = "client_disconnected"
_OPERATIONS = {
    "chat_completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "generate": "text_completion",
    "inference_generate": "text_completion",
    "embeddings": "embeddings",
}

# The boundaries that the conventions recommend.
_REQUEST_SECONDS = [0.01 * 2**power for power in range(14)]
_FIRST_TOKEN_SECONDS = [
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
]
_TOKEN_SECONDS = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5]
_TOKENS = [4**power for power in range(14)]
