"""Traces: which messages, which spans, in gateway and worker. Here they go to memory;
tests/contract/test_span_exporter.py brings them to a collector."""

import asyncio
from collections.abc import Sequence

import pytest

from agents.message_traces import TracedSender, traced_messages
from agents.rules.fanout import deliveries
from connectors.kafka.record import Record
from connectors.traces import MOST_A_SECOND, ROOT, Span, Traces
from gateway.message_traces import MessageTraces, TracedSubmitter
from schemas.archive import Row
from schemas.codec import encode_deliveries
from schemas.events import MessageSubmitted, Taken
from tests.harness.slow_kafka import SlowKafka
from tests.harness.virtual import virtual_time

KEY, OTHER = bytes(15) + b"\x01", b"\xff" * 16
TRACE = int.from_bytes(KEY)


class Spans:
    """A collector in memory, and the clock of a process."""

    def __init__(self, share: float = 0.5) -> None:
        self.found: list[Span] = []
        self.time = 1_000_000.0
        self.traces = Traces(self, share, lambda: self.time)

    def write(self, span: Span) -> None:
        self.found.append(span)

    def close(self) -> None:
        """There is nothing that waits."""


def send(key: bytes) -> MessageSubmitted:
    return MessageSubmitted("alice:bob", "alice", "phone", bytes(16), 1, key, 0, "hello")


def taken(key: bytes, seq: int, body: str = "hello", code: int = 0) -> Taken:
    return Taken(0, 999_990, "alice:bob", "alice", "phone", bytes(16), 1, key, seq, code, body)


def fetched(*items: Taken) -> list[Record]:
    """What the sender's and the recipient's node, which is one here, gets of the fold."""
    routes = {"alice": [("phone", 3)], "bob": [("tab", 3)]}
    [value] = encode_deliveries(deliveries(items, [], routes)[3])
    return [Record(3, 0, 0, value)]


def test_a_key_decides_for_all_processes_and_a_share_is_kept() -> None:
    keys = [number.to_bytes(8) * 2 for number in range(0, 2**64, 2**54)]
    for share in (0.0, 0.1, 1.0):
        sampled = [key for key in keys if Spans(share).traces.sampled(key)]
        assert len(sampled) / len(keys) == pytest.approx(share, abs=0.002)
    assert not Spans(1.0).traces.sampled(bytes(16)), "no trace has the id 0"


def test_a_process_writes_so_many_spans_a_second() -> None:
    spans = Spans()
    for number in range(3 * MOST_A_SECOND):
        spans.traces.span(KEY, "push", spans.time, {"number": number})
    assert len(spans.found) == MOST_A_SECOND
    spans.time += 1000
    spans.traces.span(KEY, "push", spans.time, {})
    assert len(spans.found) == MOST_A_SECOND + 1


@virtual_time
async def test_a_message_from_its_send_to_its_answer_and_its_push() -> None:
    spans = Spans()
    node = MessageTraces(spans.traces, "n1")
    submitter = TracedSubmitter(SlowKafka(), 4, lambda: 3, node)
    for key in (KEY, OTHER):
        submitter.submit(send(key), lambda code: None)
    received: list[Sequence[Record]] = []
    receive = node.around(received.append)
    spans.time += 12
    records = fetched(taken(KEY, 1), taken(OTHER, 2))
    receive(records)
    assert received == [records]
    push, root = sorted(spans.found, key=lambda span: span.name == ROOT)
    assert (push.trace, push.name, push.parent) == (TRACE, "push", root.id)
    assert (root.trace, root.parent, root.end - root.start) == (TRACE, 0, 12)
    assert root.about == {"node": "n1", "answer": "sent"}
    receive(records)
    assert [span.name for span in spans.found[2:]] == ["push"], "one answer ends it"
    assert {span.id for span in spans.found[2:]} == {push.id}, "the same again is the same span"


@virtual_time
async def test_an_answered_send_that_comes_again_has_its_own_time_limit() -> None:
    spans = Spans()
    node = MessageTraces(spans.traces, "n1")
    node.submitted(send(KEY))
    node.around(lambda records: None)(fetched(taken(KEY, 1)))
    await asyncio.sleep(20)
    node.submitted(send(KEY))
    await asyncio.sleep(20)
    answers = [span.about["answer"] for span in spans.found if span.name == ROOT]
    assert answers == ["sent"]


@virtual_time
async def test_a_send_without_an_answer_ends_too() -> None:
    spans = Spans()
    node = MessageTraces(spans.traces, "n1")
    node.submitted(send(KEY))
    node.submitted(send(KEY))  # again, since no answer came
    await asyncio.sleep(31)
    assert [span.about["answer"] for span in spans.found] == ["none within 30 s"]


def test_a_body_cannot_pass_for_another_message() -> None:
    spans = Spans()
    receive = MessageTraces(spans.traces, "n1").around(lambda records: None)
    receive(fetched(taken(OTHER, 1, f'{{"t":"message","key":"{KEY.hex()}","time":1}}')))
    assert spans.found == []


@virtual_time
async def test_a_delivery_is_traced_until_kafka_has_it() -> None:
    spans, kafka, told = Spans(), SlowKafka(), list[bool]()
    sender = TracedSender(kafka, spans.traces)
    items = [taken(KEY, 7), taken(OTHER, 8)]
    sender.send(3, deliveries(items, [], {"bob": [("tab", 3)]})[3], told.append)
    await asyncio.sleep(0)
    [sent] = kafka.take()
    assert spans.found == []
    spans.time += 5
    assert sent.report is not None
    sent.report(None, 0)
    [span] = spans.found
    assert (span.trace, span.name, span.start, span.end) == (TRACE, "deliver", 999_990, spans.time)
    assert (span.about["slot"], span.about["seq"], told) == (3, 7, [True])


@virtual_time
async def test_a_row_is_traced_once_the_archive_has_it() -> None:
    spans = Spans()
    inserted: list[Sequence[Row]] = []

    class Archive:
        async def insert(self, rows: Sequence[Row], token: str) -> None:
            assert spans.found == []
            inserted.append(rows)

    rows = [
        Row("alice:bob", seq, key, "alice", "phone", "", 999_000, 0, 1, 0)
        for seq, key in enumerate((KEY, OTHER), 1)
    ]
    await traced_messages(spans.traces).insert(Archive(), rows, "token")  # type: ignore[arg-type]
    [span] = spans.found
    assert inserted == [rows]
    assert (span.trace, span.name, span.start) == (TRACE, "archive", 999_000)
    assert span.about == {"partition": 1, "seq": 1}
