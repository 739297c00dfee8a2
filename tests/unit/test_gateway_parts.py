"""Hub and submitter."""

import asyncio
from typing import cast

from connectors.kafka.ports import KafkaSendError, QueueFull, Report
from connectors.kafka.producer import KafkaProducer
from gateway.edge.drain import drain
from gateway.registry import MAX_REMEMBERED, Connection, ConnectionRegistry
from gateway.submit import MAX_UNACKNOWLEDGED, MAX_UNACKNOWLEDGED_BYTES, PRODUCER, Submitter
from schemas.codec import MAX_SUBMITTED_BYTES, decode_submitted
from schemas.codes import Close, Code
from schemas.events import AnswerDelivered, MessageDelivered, MessageSubmitted, SessionReplaced
from schemas.ids import partition_of


class Socket:
    def __init__(self, user: str, device: str) -> None:
        self.user = user
        self.device = device
        self.seen: dict[str, int] = {}
        self.since = 0
        self.pushed: list[bytes] = []
        self.closed: list[Close] = []

    def push(self, frame: bytes) -> None:
        self.pushed.append(frame)

    def answer(self, frame: bytes) -> None:
        self.pushed.append(frame)

    def flush(self) -> None:
        pass

    def close(self, code: Close) -> None:
        self.closed.append(code)

    async def leave(self) -> None:
        self.left = asyncio.get_running_loop().time()
        if self.hub is not None:
            self.hub.remove(self)

    left = 0.0
    hub: ConnectionRegistry | None = None


def message(seq: int, conversation: str = "alice:bob") -> MessageDelivered:
    return MessageDelivered(
        conversation, seq, "alice", "phone", ["alice", "bob"], str(seq).encode()
    )


def test_everybody_but_the_sending_device_gets_a_message_once_and_in_order() -> None:
    hub = ConnectionRegistry()
    phone, tablet, bob = Socket("alice", "phone"), Socket("alice", "tablet"), Socket("bob", "phone")
    for socket in (phone, tablet, bob):
        assert hub.add(socket) is None
    dirty: set[Connection] = set()
    for seq in (1, 2, 2, 1, 3):
        hub.deliver(message(seq), dirty)
    hub.deliver(AnswerDelivered("alice", "phone", b"sent"), dirty)
    assert phone.pushed == [b"sent"]
    assert tablet.pushed == bob.pushed == [b"1", b"2", b"3"]
    assert dirty == {phone, tablet, bob}


def test_a_newer_connection_replaces_the_older_and_outlives_its_end() -> None:
    hub = ConnectionRegistry()
    old, new = Socket("alice", "phone"), Socket("alice", "phone")
    hub.add(old)
    assert hub.add(new) is old
    assert not hub.remove(old)
    assert hub.has("alice", "phone")
    assert hub.remove(new)
    assert len(hub) == 0


def test_the_session_that_was_replaced_elsewhere_is_closed_and_no_later_one() -> None:
    hub, phone, tablet = ConnectionRegistry(), Socket("alice", "phone"), Socket("alice", "tablet")
    for socket in (phone, tablet):
        socket.since = 5000
        hub.add(socket)
    for since in (4000, 6000):
        hub.deliver(SessionReplaced("alice", "phone", since), set())
    assert phone.closed == [], "it is another session"
    hub.deliver(SessionReplaced("alice", "phone", 5000), set())
    assert (phone.closed, tablet.closed) == ([Close.REPLACED], [])


def test_what_a_connection_remembers_is_bounded() -> None:
    hub, bob = ConnectionRegistry(), Socket("bob", "phone")
    hub.add(bob)
    for number in range(MAX_REMEMBERED * 2):
        hub.deliver(message(1, f"alice{number}:bob"), set())
    assert len(bob.seen) <= MAX_REMEMBERED


class Producer:
    """Records what is sent; `full` refuses, `waiting` pretends that so much is under way."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.reports: list[Report] = []
        self.full = False
        self.waiting = 0

    def __len__(self) -> int:
        return self.waiting

    def send(self, topic: str, partition: int, value: bytes, on_report: Report) -> None:
        if self.full:
            raise QueueFull
        self.sent.append((partition, value))
        self.reports.append(on_report)


def item(ordinal: int, conversation: str = "alice:bob", body: str = "hi") -> MessageSubmitted:
    return MessageSubmitted(conversation, "alice", "phone", b"o" * 16, ordinal, b"k" * 16, 0, body)


async def test_a_loop_turn_is_one_record_a_partition() -> None:
    producer = Producer()
    submitter = Submitter(cast(KafkaProducer, producer), 4)
    for ordinal in range(1, 4):
        submitter.submit(item(ordinal), lambda code: None)
        submitter.submit(item(ordinal, "alice:dave"), lambda code: None)
    assert producer.sent == []
    await asyncio.sleep(0)
    assert partition_of("alice:bob", 4) != partition_of("alice:dave", 4)
    assert sorted(len(decode_submitted(value)) for _, value in producer.sent) == [3, 3]
    assert {place for place, _ in producer.sent} == {
        partition_of("alice:bob", 4),
        partition_of("alice:dave", 4),
    }


async def test_records_stay_below_their_bound_and_in_order() -> None:
    producer = Producer()
    submitter = Submitter(cast(KafkaProducer, producer), 1)
    for ordinal in range(1, 101):
        submitter.submit(item(ordinal, body="x" * 16_000), lambda code: None)
    await asyncio.sleep(0)
    assert len(producer.sent) > 1
    assert all(len(value) <= MAX_SUBMITTED_BYTES for _, value in producer.sent)
    items = [entry for _, value in producer.sent for entry in decode_submitted(value)]
    assert [entry.ordinal for entry in items if isinstance(entry, MessageSubmitted)] == list(
        range(1, 101)
    )


async def test_what_kafka_does_not_take_is_to_be_tried_later() -> None:
    producer = Producer()
    failures: list[Code] = []
    submitter = Submitter(cast(KafkaProducer, producer), 1)
    submitter.submit(item(1), failures.append)
    await asyncio.sleep(0)
    producer.reports[0](KafkaSendError("broker away"), -1)
    producer.full = True
    submitter.submit(item(2), failures.append)
    await asyncio.sleep(0)
    producer.full, producer.waiting = False, MAX_UNACKNOWLEDGED + 1
    submitter.submit(item(3), failures.append)
    await asyncio.sleep(0)
    assert failures == [Code.TRY_LATER] * 3


async def test_what_waits_for_kafka_is_bounded_in_bytes() -> None:
    """By the real producer, whose broker is away; records as large as 16 sends make them."""
    producer = KafkaProducer("127.0.0.1:1", PRODUCER, lambda reason: None)
    submitter = Submitter(producer, 1)
    failures: list[Code] = []
    while not failures:
        for ordinal in range(1, 17):
            submitter.submit(item(ordinal, body="x" * 16_000), failures.append)
        await asyncio.sleep(0.002)
        assert submitter.submitted * 16_000 <= MAX_UNACKNOWLEDGED_BYTES, (
            "it holds more than its bound"
        )
    assert submitter.submitted * 16_000 > MAX_UNACKNOWLEDGED_BYTES * 0.98, "it is full too soon"
    assert failures == [Code.TRY_LATER] * submitter.turned_away
    await producer.close(0)
    await asyncio.sleep(0)
    assert len(failures) >= submitter.submitted, "what was held has been told, too"


async def test_a_drain_sends_all_away_evenly_and_whoever_comes_meanwhile() -> None:
    hub = ConnectionRegistry()
    sockets = [Socket(f"user{number}", "phone") for number in range(50)]
    for socket in sockets:
        socket.hub = hub
        hub.add(socket)
    late = Socket("late", "phone")
    late.hub = hub
    asyncio.get_running_loop().call_later(0.2, hub.add, late)
    began = asyncio.get_running_loop().time()
    await drain(hub, 0.5, lambda sessions: None)
    times = [socket.left - began for socket in sockets]
    assert len(hub) == 0
    assert times == sorted(times)
    assert 0.3 < times[-1] < 1.0
    assert sum(time < 0.25 for time in times) in range(15, 36), "not all at once"
    assert late.left


async def test_a_drain_of_nobody_is_over_at_once() -> None:
    await asyncio.wait_for(drain(ConnectionRegistry(), 10.0, lambda sessions: None), 0.5)
