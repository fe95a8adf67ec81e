"""Spans and metrics of a gateway that tests read back from OpenTelemetry's SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from slotwise.telemetry import Telemetry

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Observed:
    """Telemetry whose spans and metrics can be read."""

    def __init__(self, time: Callable[[], float], **options: Any) -> None:
        self.spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        traces = TracerProvider()
        traces.add_span_processor(SimpleSpanProcessor(self.spans))
        metrics = MeterProvider([self._reader])
        self.telemetry = Telemetry(
            tracer_provider=traces, meter_provider=metrics, clock=time, **options
        )

    @property
    def span(self) -> Any:
        (span,) = self.spans.get_finished_spans()
        return span

    def points(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """The attributes and the sum of each series of a histogram."""
        data = self._reader.get_metrics_data()
        assert data is not None
        found = [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]
        return [(dict(point.attributes), round(point.sum, 6)) for point in found]
