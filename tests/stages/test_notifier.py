"""The notifier and the cursors over Kafka in memory: who has no device connected is notified of
each message once, whenever a worker dies."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.cursors.partition import CursorsPartition
from agents.cursors.stage import cursors_stage
from agents.notifier.partition import NotifierIO, NotifierPartition
from agents.notifier.stage import notifier_stage
from agents.route_lookups import RouteLookups
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.redis.memory import MemoryOwners, MemoryRoutes
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import Route
from schemas.codec import decode_notification, encode_event
from schemas.events import (
    SCHEMA_VERSION,
    LogRecord,
    Notification,
    NotificationRaised,
    NotificationsCancelled,
    Receipt,
    ReceiptRecord,
    Taken,
)
from schemas.topics import CURSORS, DELIVERIES, LOG, NOTIFICATIONS, RECEIPTS
from streams.slot_sender import SlotSender
from streams.table_partition import TableIO
from streams.tables.cursors import CursorTable
from streams.tables.memory import MemoryDisk
from tests.harness.fake_gateway import eventually
from tests.harness.stage_run import Loses, StageRun, shared

A = "alice:bob"

Notifier = StageRun[NotifierPartition]
Cursors = StageRun[CursorsPartition]


@pytest.fixture
def kafka() -> MemoryKafka:
    counts = {LOG: 1, RECEIPTS: 1, CURSORS: 1, NOTIFICATIONS: 1, DELIVERIES: 1}
    return MemoryKafka(MemoryBroker(counts))


@pytest.fixture
def redis() -> MemoryRedis:
    return MemoryRedis(MemoryRedisServer(lambda: 0.0))


@pytest.fixture
def notifier(kafka: MemoryKafka, redis: MemoryRedis) -> Callable[[], Notifier]:
    """A worker of the notifier."""

    def make() -> Notifier:
        lookups = RouteLookups(MemoryRoutes(redis))
        io = NotifierIO(kafka, kafka.producer({"message.timeout.ms": 0}), lookups, 5)
        return StageRun(kafka, notifier_stage(io, 1))

    return make


@pytest.fixture
def cursors(kafka: MemoryKafka, redis: MemoryRedis) -> Callable[[], Cursors]:
    """A worker of the cursors, always on the same disk."""
    disk = MemoryDisk()

    def make() -> Cursors:
        producer = kafka.producer({"message.timeout.ms": 0})
        io = TableIO(
            kafka,
            producer,
            SlotSender(producer),
            MemoryOwners(redis, "cursors"),
            lambda partition: CursorTable(Path(f"cursors-{partition}"), disk),
            "cursors",
            CURSORS,
            "here",
        )
        return StageRun(kafka, cursors_stage(io, MemoryRoutes(redis), 1))

    return make


def write(kafka: MemoryKafka, *seqs: int) -> None:
    """Alice has written these to bob; a record each."""
    for seq in seqs:
        now = shared(kafka).now()
        message = Taken(
            *(seq, now, A, "alice", "phone", b"o" * 16, seq, b"k" * 16, seq, 0, "Lunch at noon?")
        )
        record = LogRecord(SCHEMA_VERSION, 1, seq, seq, now, -1, now, 0, [message])
        kafka.broker.append(LOG, 0, encode_event(record))


def reads(kafka: MemoryKafka, seq: int) -> None:
    item = Receipt(A, "bob", "phone", seq, True)
    kafka.broker.append(RECEIPTS, 0, encode_event(ReceiptRecord(SCHEMA_VERSION, [item])))


def notifications(kafka: MemoryKafka) -> list[Notification]:
    records = kafka.broker.read_all(NOTIFICATIONS, 0)
    return [decode_notification(record.value).notification for record in records]


def raised(kafka: MemoryKafka) -> list[tuple[int, int]]:
    """(message, unread) of each."""
    return [
        (one.seq, one.unread) for one in notifications(kafka) if isinstance(one, NotificationRaised)
    ]


def over(kafka: MemoryKafka) -> list[tuple[int, int]]:
    """(up to, unread) of each."""
    return [
        (one.up_to, one.unread)
        for one in notifications(kafka)
        if isinstance(one, NotificationsCancelled)
    ]


async def test_a_message_that_finds_no_device_is_notified_of_until_it_is_read(
    kafka: MemoryKafka, notifier: Callable[[], Notifier], cursors: Callable[[], Cursors]
) -> None:
    async with notifier(), cursors():
        write(kafka, 1, 2)
        await eventually(lambda: raised(kafka) == [(1, 1), (2, 2)])
        (first, _) = notifications(kafka)
        assert isinstance(first, NotificationRaised)
        assert (first.user, first.sender, first.text) == ("bob", "alice", "Lunch")
        reads(kafka, 2)
        await eventually(lambda: over(kafka) == [(2, 0)])


async def test_a_message_that_finds_a_device_is_not_notified_of(
    kafka: MemoryKafka,
    redis: MemoryRedis,
    notifier: Callable[[], Notifier],
    cursors: Callable[[], Cursors],
) -> None:
    routes, route = MemoryRoutes(redis), Route("bob", "phone", "node", 0, 0)
    await routes.write_routes([route])
    async with notifier() as run, cursors():
        write(kafka, 1)
        await run.done(1)
        await routes.remove_routes([route])
        write(kafka, 2)
        await eventually(lambda: raised(kafka) == [(2, 2)])


async def test_a_record_that_is_appended_twice_is_looked_at_once(
    kafka: MemoryKafka, notifier: Callable[[], Notifier]
) -> None:
    """R2: a worker that was paused appends late what its successor has appended already."""
    async with notifier() as run:
        write(kafka, 1, 2, 1)
        await run.done(3)
        assert run.figures["unreached"] == 2


async def test_a_notifier_that_dies_after_any_message_is_followed_without_a_second_notification(
    kafka: MemoryKafka, notifier: Callable[[], Notifier], cursors: Callable[[], Cursors]
) -> None:
    async with cursors():
        for seq in (1, 2, 3):
            write(kafka, seq)
            async with notifier() as run:
                await run.done(seq)  # nothing was committed: it looks at all of them again
        await eventually(lambda: kafka.broker.log(RECEIPTS, 0).end >= 3)
        await eventually(lambda: raised(kafka) == [(1, 1), (2, 2), (3, 3)])
    async with cursors() as run:
        await run.done(kafka.broker.log(RECEIPTS, 0).end)
        assert [seq for seq, _ in raised(kafka)] == [1, 2, 3]


async def test_what_is_not_acknowledged_is_not_committed_and_said_again(
    kafka: MemoryKafka, notifier: Callable[[], Notifier], cursors: Callable[[], Cursors]
) -> None:
    async with notifier() as first:
        await first.running()
        kafka.broker.lose_leader(RECEIPTS, 0)
        write(kafka, 1)
        await eventually(lambda: first.figures["messages"] == 1)
        first.commit()
        kafka.cut(hears=True)
    kafka.break_producers(Loses())
    kafka.mend()
    kafka.broker.find_leader(RECEIPTS, 0)
    async with notifier(), cursors():
        await eventually(lambda: raised(kafka) == [(1, 1)])


@pytest.mark.parametrize("lost", [NOTIFICATIONS, CURSORS])
async def test_cursors_that_die_between_the_two_topics_leave_no_message_without_a_notification(
    kafka: MemoryKafka,
    notifier: Callable[[], Notifier],
    cursors: Callable[[], Cursors],
    lost: str,
) -> None:
    """The topic that has no leader is the one that is not written when the worker dies."""
    async with notifier() as run:
        write(kafka, 1)
        await run.done(1)
    async with cursors() as first:
        await first.running()
        kafka.broker.lose_leader(lost, 0)
        if lost == CURSORS:
            await eventually(lambda: raised(kafka) == [(1, 1)])
        first.commit()
        kafka.cut(hears=True)
    kafka.break_producers(Loses())
    kafka.mend()
    kafka.broker.find_leader(lost, 0)
    async with cursors() as second:
        await second.done(kafka.broker.log(RECEIPTS, 0).end)
        assert set(raised(kafka)) == {(1, 1)}
        assert len(raised(kafka)) == (2 if lost == CURSORS else 1), "a repeat has the same number"
        reads(kafka, 1)
        await eventually(lambda: over(kafka) == [(1, 0)])


async def test_redis_away_is_waited_for(
    kafka: MemoryKafka,
    redis: MemoryRedis,
    notifier: Callable[[], Notifier],
    cursors: Callable[[], Cursors],
) -> None:
    async with cursors() as told, notifier() as run:
        await told.running()
        partition = await run.running()
        redis.connected = False
        write(kafka, 1)
        await eventually(lambda: "redis" in partition.retry.problem)
        assert raised(kafka) == []
        redis.connected = True
        await eventually(lambda: raised(kafka) == [(1, 1)])


async def test_the_first_notifier_there_is_begins_with_the_last_minute(
    kafka: MemoryKafka, notifier: Callable[[], Notifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    for age in (7200, 120, 61, 50, 1):  # seconds
        with monkeypatch.context() as earlier:
            time = shared(kafka).now() - age * 1000
            earlier.setattr(kafka.broker, "now", lambda time=time: time)
            write(kafka, kafka.broker.log(LOG, 0).end + 1)
    async with notifier() as run:
        await run.done(5)
        assert run.figures["unreached"] == 2


@pytest.mark.parametrize("what", ["created anew", "lost its tail"])
async def test_a_log_that_was_replaced_is_read_from_its_beginning(
    kafka: MemoryKafka, notifier: Callable[[], Notifier], what: str
) -> None:
    async with notifier() as run:
        write(kafka, *range(1, 6))
        await run.done(5)
        run.commit()
        if what == "created anew":
            kafka.broker.recreate(LOG)
        else:
            kafka.broker.cut_tail(LOG, 0, 4)
        write(kafka, 9)
        await eventually(lambda: run.figures["unreached"] == 6)
