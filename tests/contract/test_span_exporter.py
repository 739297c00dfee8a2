"""Spans at a collector that speaks OTLP over HTTP."""

import time
from collections.abc import Iterator

import pytest

from connectors.span_exporter import SpanExporter
from connectors.traces import ROOT, Traces
from tests.harness.collector import Collector

KEY = bytes(15) + b"\x01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector().running() as made:
        yield made


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
