"""Spans to an OpenTelemetry collector, by OTLP over HTTP. The package is an extra: whoever traces
nothing needs none of it."""

import threading

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from connectors.traces import Span

_EXPORT_SECONDS, _CLOSE_SECONDS = 5.0, 2.0


class _Ids(IdGenerator):
    """Ids that are known before a span is made."""

    trace = span = 0

    def generate_span_id(self) -> int:
        return self.span

    def generate_trace_id(self) -> int:
        return self.trace


class SpanExporter:
    """`address` is where a collector takes traces, `http[s]://host:4318/v1/traces`; `process` names
    this one. A thread of the SDK sends; it holds 2,048 spans and leaves out the rest. Use it in one
    thread."""

    def __init__(self, address: str, process: str) -> None:
        self._ids = _Ids()
        self._provider = TracerProvider(
            resource=Resource({"service.name": process, "service.namespace": "messenger"}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(address, timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("messenger")

    def write(self, span: Span) -> None:
        """As SpanWriter does."""
        self._ids.trace, self._ids.span = span.trace, span.id
        within = None
        if span.parent:
            flags = TraceFlags(TraceFlags.SAMPLED)
            parent = SpanContext(span.trace, span.parent, True, flags)
            within = set_span_in_context(NonRecordingSpan(parent))
        made = self._tracer.start_span(
            span.name,
            within,
            attributes={f"messenger.{word}": value for word, value in span.about.items()},
            start_time=int(span.start * 1e6),
        )
        made.end(int(span.end * 1e6))

    def close(self) -> None:
        """As SpanWriter does."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)
