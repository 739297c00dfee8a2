"""Registry, submitter and drain."""

import asyncio
from itertools import pairwise

from connectors.kafka.recovering_producer import RecoveringProducer
from gateway.edge.drain import drain
from gateway.registry import MAX_REMEMBERED, ConnectionRegistry
from gateway.submit import (
    BUSY,
    DISTANCE_SECONDS,
    MAX_UNACKNOWLEDGED,
    MAX_UNACKNOWLEDGED_BYTES,
    PRODUCER,
    Submitter,
)
from schemas.codec import MAX_SUBMITTED_BYTES
from schemas.codes import Close, Code
from schemas.events import AnswerDelivered, MessageDelivered, MessageSubmitted, SessionReplaced
from schemas.ids import partition_of
from schemas.submitted_codec import decode_submitted, submitting_slot
from tests.harness.slow_kafka import Sent, SlowKafka, fail
from tests.harness.virtual import run


class Socket:
    """A `RegisteredConnection` that keeps what it is pushed."""

    def __init__(self, user: str, device: str) -> None:
        self.user = user
        self.device = device
        self.since = 0
        self.issued = 0.0
        self.pushed: list[bytes] = []
        self.answers: list[bytes] = []
        self.closed: list[Close] = []

    def push(self, frame: bytes) -> None:
        self.pushed.append(frame)

    def answer(self, frame: bytes) -> None:
        self.answers.append(frame)

    def close(self, code: Close, reason: str = "") -> None:
        self.closed.append(code)

    async def leave(self) -> None:
        self.left = asyncio.get_running_loop().time()
        if self.registry is not None:
            self.registry.remove(self)

    left = 0.0
    registry: ConnectionRegistry | None = None


def message(seq: int, conversation: str = "alice:bob") -> MessageDelivered:
    return MessageDelivered(
        conversation, seq, "alice", "phone", ["alice", "bob"], str(seq).encode()
    )


def test_everybody_but_the_sending_device_gets_a_message_once_and_in_order() -> None:
    registry = ConnectionRegistry()
    phone, tablet, bob = Socket("alice", "phone"), Socket("alice", "tablet"), Socket("bob", "phone")
    for socket in (phone, tablet, bob):
        assert registry.add(socket) is None
    for seq in (1, 2, 2, 1, 3):
        registry.deliver(message(seq))
    registry.deliver(AnswerDelivered("alice", "phone", b"sent"))
    assert (phone.pushed, phone.answers) == ([], [b"sent"])
    assert tablet.pushed == bob.pushed == [b"1", b"2", b"3"]


def test_a_newer_connection_replaces_the_older_and_outlives_its_end() -> None:
    registry = ConnectionRegistry()
    old, new = Socket("alice", "phone"), Socket("alice", "phone")
    registry.add(old)
    assert registry.add(new) is old
    assert not registry.remove(old)
    assert registry.has("alice", "phone")
    assert (len(registry), list(registry)) == (1, [new])
    assert registry.remove(new)
    assert (len(registry), list(registry)) == (0, [])


def test_a_newer_connection_is_pushed_what_the_older_was() -> None:
    """What the older one was pushed may not have arrived."""
    registry = ConnectionRegistry()
    old, new = Socket("bob", "phone"), Socket("bob", "phone")
    registry.add(old)
    registry.deliver(message(1))
    registry.add(new)
    registry.deliver(message(1))
    assert (old.pushed, new.pushed) == ([b"1"], [b"1"])


def test_the_session_that_was_replaced_elsewhere_is_closed_and_no_later_one() -> None:
    registry = ConnectionRegistry()
    phone, tablet = Socket("alice", "phone"), Socket("alice", "tablet")
    for socket in (phone, tablet):
        socket.since = 5000
        registry.add(socket)
    for since in (4000, 6000):
        registry.deliver(SessionReplaced("alice", "phone", since))
    assert phone.closed == [], "it is another session"
    registry.deliver(SessionReplaced("alice", "phone", 5000))
    assert (phone.closed, tablet.closed) == ([Close.REPLACED], [])


def test_what_is_remembered_of_a_connection_is_bounded() -> None:
    """The half that was pushed last is remembered."""
    registry, bob = ConnectionRegistry(), Socket("bob", "phone")
    registry.add(bob)
    count = MAX_REMEMBERED + 1
    for number in range(count):
        registry.deliver(message(1, f"alice{number}:bob"))
    for number in range(count):
        registry.deliver(message(1, f"alice{number}:bob"))
    again = len(bob.pushed) - count
    assert again >= MAX_REMEMBERED // 2, "the older half is forgotten, so it is pushed again"
    bob.pushed.clear()
    registry.deliver(message(1, f"alice{count - 1}:bob"))
    assert bob.pushed == []


def test_all_connections_come_in_slices_of_a_few_and_those_that_end_do_not() -> None:
    registry = ConnectionRegistry()
    sockets = [Socket(f"user{number}", "phone") for number in range(50)]
    for socket in sockets:
        registry.add(socket)
    seen: list[object] = []
    for some in registry.slices(10):
        assert len(some) <= 10
        seen += some
        registry.remove(sockets[49])
        registry.add(Socket("late", "phone"))
    assert seen == sockets[:49]


def item(ordinal: int, conversation: str = "alice:bob", body: str = "hi") -> MessageSubmitted:
    return MessageSubmitted(conversation, "alice", "phone", b"o" * 16, ordinal, b"k" * 16, 0, body)


async def test_a_loop_turn_is_one_record_a_partition() -> None:
    producer = SlowKafka()
    submitter = Submitter(producer, 4, lambda: 3)
    for ordinal in range(1, 4):
        submitter.submit(item(ordinal), lambda code: None)
        submitter.submit(item(ordinal, "alice:dave"), lambda code: None)
    assert producer.sent == []
    await asyncio.sleep(0)
    assert partition_of("alice:bob", 4) != partition_of("alice:dave", 4)
    assert sorted(len(decode_submitted(sent.value)) for sent in producer.sent) == [3, 3]
    assert [submitting_slot(sent.value) for sent in producer.sent] == [3, 3]
    assert {sent.partition for sent in producer.sent} == {
        partition_of("alice:bob", 4),
        partition_of("alice:dave", 4),
    }


def test_on_a_busy_node_records_leave_at_a_distance_and_nobody_waits_longer() -> None:
    async def scenario() -> None:
        loop, left = asyncio.get_running_loop(), list[tuple[float, list[int]]]()

        def leaves(sent: Sent) -> None:
            items = decode_submitted(sent.value)
            ordinals = [one.ordinal for one in items if isinstance(one, MessageSubmitted)]
            left.append((loop.time(), ordinals))

        submitter = Submitter(SlowKafka(leaves), 1, lambda: 3)
        came: dict[int, float] = {}

        async def submit(ordinals: range, every: float) -> None:
            left.clear()
            for ordinal in ordinals:
                came[ordinal] = loop.time()
                submitter.submit(item(ordinal), lambda code: None)
                await asyncio.sleep(every)
            await asyncio.sleep(DISTANCE_SECONDS)
            assert [n for _, some in left for n in some] == list(ordinals), "in order, each once"

        await submit(range(1, 100), 2 / BUSY)
        assert [at for at, _ in left] == [came[n] for n in range(1, 100)], "at once"
        await submit(range(100, 500), DISTANCE_SECONDS / 6)
        busy = left[-40:]
        assert all(b - a > DISTANCE_SECONDS * 0.99 for (a, _), (b, _) in pairwise(busy))
        assert min(len(some) for _, some in busy[:-1]) >= 5
        waits = [at - came[n] for at, some in left for n in some]
        assert max(waits) < DISTANCE_SECONDS * 1.01
        await asyncio.sleep(1.0)
        await submit(range(500, 600), 0.02)
        assert [at for at, _ in left] == [came[n] for n in range(500, 600)], "at once again"

    run(scenario())


async def test_records_stay_below_their_bound_and_in_order() -> None:
    producer = SlowKafka()
    submitter = Submitter(producer, 1, lambda: 3)
    for ordinal in range(1, 101):
        submitter.submit(item(ordinal, body="x" * 16_000), lambda code: None)
    await asyncio.sleep(0)
    assert len(producer.sent) > 1
    assert all(len(sent.value) <= MAX_SUBMITTED_BYTES for sent in producer.sent)
    items = [entry for sent in producer.sent for entry in decode_submitted(sent.value)]
    assert [entry.ordinal for entry in items if isinstance(entry, MessageSubmitted)] == list(
        range(1, 101)
    )


async def test_what_kafka_does_not_take_is_to_be_tried_later() -> None:
    producer = SlowKafka()
    failures: list[Code] = []
    submitter = Submitter(producer, 1, lambda: 3)
    submitter.submit(item(1), failures.append)
    await asyncio.sleep(0)
    fail(producer.sent[0])
    producer.full = True
    submitter.submit(item(2), failures.append)
    await asyncio.sleep(0)
    producer.full, producer.unacknowledged = False, MAX_UNACKNOWLEDGED + 1
    submitter.submit(item(3), failures.append)
    await asyncio.sleep(0)
    assert failures == [Code.TRY_LATER] * 3


async def test_what_waits_for_kafka_is_bounded_in_bytes() -> None:
    """By the real producer, whose broker is away; records as large as 16 sends make them."""
    patient = {**PRODUCER, "message.timeout.ms": 60_000}  # a busy machine fills it slowly
    producer = RecoveringProducer("127.0.0.1:1", patient)
    submitter = Submitter(producer, 1, lambda: 3)
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


def test_a_drain_sends_all_away_evenly_and_whoever_comes_meanwhile() -> None:
    async def scenario() -> None:
        loop, registry = asyncio.get_running_loop(), ConnectionRegistry()
        sockets = [Socket(f"user{number}", "phone") for number in range(50)]
        late = Socket("late", "phone")
        for socket in (*sockets, late):
            socket.registry = registry
        for socket in sockets:
            registry.add(socket)
        loop.call_later(0.2, registry.add, late)
        await drain(registry, 0.5, lambda sessions: None)
        assert len(registry) == 0
        times = [round(socket.left, 3) for socket in sockets]
        assert times == [round(0.05 * (number // 5), 3) for number in range(50)]
        assert late.left

    run(scenario())


def test_a_drain_of_nobody_is_over_at_once() -> None:
    async def scenario() -> float:
        await drain(ConnectionRegistry(), 10.0, lambda sessions: None)
        return asyncio.get_running_loop().time()

    assert run(scenario()) == 0
