"""Spans at a collector that speaks OTLP over HTTP."""

import gzip
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from connectors.span_exporter import SpanExporter
from connectors.traces import ROOT, Traces

KEY = bytes(15) + b"\x01"


class Collector:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/v1/traces"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_a_collector_gets_spans_with_their_ids_and_times(collector: Collector) -> None:
    traces = Traces(SpanExporter(collector.address, "worker"), 1.0, lambda: 2_000.0)
    traces.span(KEY, ROOT, 1_000.0, {"answer": "sent"})
    traces.span(KEY, "deliver", 1_500.5, {"slot": 3})
    traces.close()
    [request] = collector.requests
    [found] = request.resource_spans
    names = {one.key: one.value.string_value for one in found.resource.attributes}
    assert names == {"service.name": "worker", "service.namespace": "messenger"}
    root, deliver = found.scope_spans[0].spans
    assert {root.trace_id, deliver.trace_id} == {KEY}
    assert (root.name, root.parent_span_id) == (ROOT, b"")
    assert (deliver.name, deliver.parent_span_id) == ("deliver", root.span_id)
    assert (deliver.start_time_unix_nano, deliver.end_time_unix_nano) == (1_500_500_000, 2 * 10**9)
    [slot] = deliver.attributes
    assert (slot.key, slot.value.int_value) == ("messenger.slot", 3)


def test_a_collector_that_is_away_holds_nobody_up() -> None:
    traces = Traces(SpanExporter("http://127.0.0.1:1/v1/traces", "worker"), 1.0, lambda: 0.0)
    began = time.monotonic()
    for number in range(50):
        traces.span(KEY, "push", 0.0, {"number": number})
    assert time.monotonic() - began < 1
    traces.close()
    assert time.monotonic() - began < 5
