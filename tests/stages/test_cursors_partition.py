"""One partition of the receipts over Kafka in memory: what is answered is kept, and nothing is ever
taken back."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from agents.cursors.partition import CursorsPartition
from agents.cursors.stage import cursors_stage
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.redis.memory import MemoryRoutes
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import Route
from schemas.codec import decode_cursor, encode_event
from schemas.events import (
    READ,
    RECEIVED,
    SCHEMA_VERSION,
    CursorRecord,
    Delivered,
    DeliveriesMissed,
    MarkDelivered,
    Receipt,
    ReceiptRecord,
)
from schemas.topics import CURSORS, DELIVERIES, RECEIPTS
from streams.partition import Status
from streams.stage import StageSpec
from streams.tables.cursors import CursorTable
from streams.tables.memory import MemoryDisk
from streams.tables.rocks import Disk, RocksBudget
from tests.harness.fake_gateway import eventually
from tests.harness.stage_run import Loses, StageRun, delivered, forget_what_was_sent
from tests.harness.table_io import memory_table_io

A = "alice:bob"
SLOT = 1

Run = StageRun[CursorsPartition]


@pytest.fixture
def kafka() -> MemoryKafka:
    return MemoryKafka(MemoryBroker({CURSORS: 1, RECEIPTS: 1, DELIVERIES: 2}))


@pytest.fixture
def redis() -> MemoryRedis:
    return MemoryRedis(MemoryRedisServer(lambda: 0.0))


@pytest.fixture
async def make(kafka: MemoryKafka, redis: MemoryRedis, tmp_path: Path) -> Callable[..., Run]:
    """A worker of the stage, always on the same disk. Alice has a device."""
    routes = MemoryRoutes(redis)
    await routes.write_routes([Route("alice", "phone", "node", SLOT, 0)])
    rocks = RocksBudget(1 << 20, 1 << 20)

    def spec(disk: Disk) -> StageSpec[CursorsPartition]:
        io = memory_table_io(
            kafka,
            redis,
            "cursors",
            CURSORS,
            lambda partition: CursorTable(tmp_path / f"cursors-{partition}", disk),
        )
        return cursors_stage(io, routes, 1)

    return lambda disk=rocks: StageRun(kafka, spec(disk))


def write_cursor(kafka: MemoryKafka, device: str, seq: int) -> None:
    """Somebody has written a cursor of bob's."""
    record = CursorRecord(SCHEMA_VERSION, A, "bob", device, seq, 1)
    kafka.broker.append(CURSORS, 0, encode_event(record))


def last(kafka: MemoryKafka, device: str) -> int:
    """What compaction would keep of a cursor of bob's."""
    cursors = [decode_cursor(record.value) for record in kafka.broker.read_all(CURSORS, 0)]
    return next((cursor.seq for cursor in reversed(cursors) if cursor.device == device), 0)


def say(kafka: MemoryKafka, seq: int, read: bool = False) -> None:
    item = Receipt(A, "bob", "phone", seq, read)
    kafka.broker.append(RECEIPTS, 0, encode_event(ReceiptRecord(SCHEMA_VERSION, [item])))


def marks(partition: CursorsPartition) -> list[tuple[int, int]]:
    return [(mark.received, mark.read) for mark in partition.marks([A])]


async def test_what_is_answered_or_delivered_is_kept_by_kafka(
    kafka: MemoryKafka, make: Callable[[], Run]
) -> None:
    async with make() as run:
        partition = await run.running()
        say(kafka, 3)
        await eventually(lambda: marks(partition) == [(3, 0)])
        await run.done(1)
        before = delivered(kafka, SLOT)
        kafka.broker.lose_leader(CURSORS, 0)
        say(kafka, 5, read=True)
        await asyncio.sleep(0.05)
        assert (marks(partition), delivered(kafka, SLOT)) == ([(3, 0)], before), (
            "another owner would not know of 5"
        )
        kafka.broker.find_leader(CURSORS, 0)
        await eventually(
            lambda: marks(partition) == [(5, 5)] and len(delivered(kafka, SLOT)) == len(before) + 1
        )


async def test_a_late_record_of_an_earlier_owner_lowers_nothing(
    kafka: MemoryKafka, make: Callable[[], Run]
) -> None:
    for device, seq in (
        (RECEIVED, 9),
        (READ, 9),
        ("phone", 9),
        (RECEIVED, 5),
        ("phone", 0),
        (READ, 4),
        (READ, 10),
    ):
        write_cursor(kafka, device, seq)
    async with make() as run:
        assert marks(await run.running()) == [(9, 10)]
    assert [last(kafka, device) for device in (RECEIVED, READ, "phone")] == [9, 10, 0], (
        "what compaction keeps is the highest"
    )


async def test_the_table_is_built_again_without_its_disk(
    kafka: MemoryKafka, make: Callable[[], Run], tmp_path: Path
) -> None:
    async with make() as first:
        partition = await first.running()
        for seq in (1, 4, 7):
            say(kafka, seq, read=seq < 7)
        await eventually(lambda: marks(partition) == [(7, 4)])
        await first.done(3)
        first.commit()
    for again in ("with its disk", "without"):
        if again == "without":
            (tmp_path / "cursors-0").rename(tmp_path / "gone")
        written = kafka.broker.log(CURSORS, 0).end
        async with make() as second:
            found = await second.running()
            assert (marks(found), found.devices("bob")) == ([(7, 4)], ["phone"]), again
        assert kafka.broker.log(CURSORS, 0).end == written, "nothing was late"
    assert found.restore_progress == (written, written), "the overview page shows it"


async def test_a_partition_that_is_taken_away_while_it_restores_can_come_back(
    kafka: MemoryKafka, make: Callable[[], Run]
) -> None:
    write_cursor(kafka, RECEIVED, 9)
    kafka.broker.lose_leader(CURSORS, 0)
    async with make() as first:
        await asyncio.sleep(0.05)
        assert first.partition.status is Status.RESTORING
        assert not first.partition.readable
    async with make() as second:
        await asyncio.sleep(0.05)
        kafka.broker.find_leader(CURSORS, 0)
        assert marks(await second.running()) == [(9, 0)]


async def test_an_input_that_is_shorter_than_what_was_read_is_read_from_its_beginning(
    kafka: MemoryKafka, make: Callable[[], Run]
) -> None:
    kafka.broker.commit("cursors", RECEIPTS, 0, 1000)
    async with make() as run:
        partition = await run.running()
        say(kafka, 3)
        await eventually(lambda: marks(partition) == [(3, 0)])


@pytest.mark.parametrize("what", ["created anew", "lost its tail"])
async def test_an_input_that_was_replaced_under_a_worker_is_read_from_its_beginning(
    kafka: MemoryKafka, make: Callable[[], Run], what: str
) -> None:
    """Fault 6: whatever came at an offset below the position was passed over."""
    async with make() as run:
        for seq in range(1, 6):
            say(kafka, seq)
        first = await run.running()
        await run.done(5)
        run.commit()
        if what == "created anew":
            kafka.broker.recreate(RECEIPTS)
        else:
            kafka.broker.cut_tail(RECEIPTS, 0, 4)
        say(kafka, 9)
        await eventually(lambda: run.figures["inputs_begun_anew"] == 1)
        await eventually(lambda: run.stage.here([0]).get(0, first) is not first)
        await eventually(lambda: marks(run.partition) == [(9, 0)])
        await run.done(kafka.broker.log(RECEIPTS, 0).end)
        assert (await run.health()) == (200, [])


async def test_facts_that_expired_before_they_were_read_raise_an_alarm(
    kafka: MemoryKafka, make: Callable[[], Run]
) -> None:
    """Fault 6: nobody had the partition for longer than its topic keeps records."""
    for seq in range(1, 6):
        say(kafka, seq)
    kafka.broker.commit("cursors", RECEIPTS, 0, 2)
    kafka.broker.expire(RECEIPTS, 0, 4)
    async with make() as run:
        await run.running()
        await run.done(5)
        assert run.figures["lost_records"] == 2


async def test_no_trouble_outside_halts_a_partition(
    kafka: MemoryKafka, redis: MemoryRedis, make: Callable[[], Run]
) -> None:
    """Faults 4 and 20: folding stages halted for good at any exception."""
    async with make() as run:
        partition = await run.running()
        redis.connected = False
        say(kafka, 1)
        await eventually(lambda: "redis" in partition.retry.problem)
        status, problems = await run.health()
        assert status == 503
        assert any("redis is unreachable" in problem for problem in problems)
        redis.connected = True
        await run.done(1)
        kafka.full = True
        say(kafka, 2)
        await eventually(lambda: "kafka" in partition.retry.problem)
        kafka.full = False
        await run.done(2)
        assert partition.status is Status.RUNNING
        assert (await run.health()) == (200, [])


async def test_nothing_is_read_before_the_partition_is_claimed(
    kafka: MemoryKafka, redis: MemoryRedis, make: Callable[[], Run]
) -> None:
    """gateway/queries/worker_client.py relies on it."""
    redis.connected = False
    say(kafka, 1)
    async with make() as run:
        await eventually(lambda: "redis" in run.partition.retry.problem)
        run.intake.assign([0])  # as after a rebalance
        await asyncio.sleep(0.1)
        assert (run.partition.paused, run.figures["records"]) == (True, 0)
        redis.connected = True
        await run.done(1)


async def test_a_full_disk_is_waited_for(kafka: MemoryKafka, make: Callable[..., Run]) -> None:
    """A RocksDB that could not flush writes again some 4 s after there is room."""
    disk = MemoryDisk()
    async with make(disk) as run:
        partition = await run.running()
        disk.full = True
        say(kafka, 1)
        await eventually(lambda: "disk" in partition.retry.problem)
        assert any("disk is unreachable" in problem for problem in (await run.health())[1])
        assert marks(partition) == []
        disk.full = False
        await run.done(1)
        assert (marks(partition), await run.health()) == ([(1, 0)], (200, []))


async def test_a_slot_without_a_leader_ends_no_worker_and_is_served_later(
    kafka: MemoryKafka, make: Callable[[], Run]
) -> None:
    """Of fault 14: the watchdog took a delivery that nobody acknowledges for a hang."""
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        say(kafka, 1)
        await eventually(lambda: marks(partition) == [(1, 0)] and partition.idle)
        assert not any(probe.owed for probe in run.stage.probes())
        assert run.stage.committable(0) == 0, "another owner would have to tell it"
        kafka.broker.find_leader(DELIVERIES, SLOT)
        await run.done(1)
        assert len(delivered(kafka, SLOT)) == 1


async def test_a_mark_that_was_not_delivered_when_the_worker_ended_is_delivered_by_the_next(
    kafka: MemoryKafka, make: Callable[[], Run]
) -> None:
    async with make() as first:
        partition = await first.running()
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        say(kafka, 1)
        await eventually(lambda: marks(partition) == [(1, 0)])
        await asyncio.sleep(0.05)
        first.commit()
        kafka.cut(hears=True)
    await forget_what_was_sent(kafka, SLOT)
    async with make() as second:
        await second.done(1)
        assert len(delivered(kafka, SLOT)) == 1


def _says(event: Delivered, received: int) -> bool:
    return isinstance(event, MarkDelivered) and b'"received":%d,' % received in event.frame


@pytest.mark.parametrize("acknowledged", [True, False])
async def test_a_slot_that_does_not_acknowledge_stops_no_other(
    kafka: MemoryKafka,
    redis: MemoryRedis,
    make: Callable[[], Run],
    monkeypatch: pytest.MonkeyPatch,
    acknowledged: bool,
) -> None:
    """Fault 14: nobody got a mark until the slot had a leader again."""
    monkeypatch.setattr("streams.steps.MAX_UNDER_WAY", 4)
    monkeypatch.setattr("streams.steps.STUCK_SECONDS", 0.05)
    routes = MemoryRoutes(redis)
    await routes.write_routes([Route("alice", "tab", "other node", 0, 0)])
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        for seq in range(1, 31):
            say(kafka, seq)
            await eventually(lambda seq=seq: marks(partition) == [(seq, 0)])  # type: ignore[misc]
        await eventually(lambda: partition.idle)
        assert partition.report()["slots_left_behind"] == [SLOT]
        await eventually(lambda: any(_says(event, 30) for event in delivered(kafka, 0)))
        assert run.stage.committable(0) == 0
        if not acknowledged:
            kafka.break_producers(Loses())
        kafka.broker.find_leader(DELIVERIES, SLOT)
        await run.done(30)
        assert partition.news.behind == []
        *late, last = delivered(kafka, SLOT)
        assert isinstance(last, DeliveriesMissed)
        assert len(late) <= 6, "what waits is bounded"
        say(kafka, 31)
        await run.done(31)
        assert isinstance(delivered(kafka, SLOT)[-1], MarkDelivered)


async def test_partitions_that_fold_at_one_moment_share_a_lookup_and_a_record(
    redis: MemoryRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Kafka request and a call to Redis cost far more than a mark."""
    count = 4
    kafka = MemoryKafka(MemoryBroker({CURSORS: count, RECEIPTS: count, DELIVERIES: 2}))
    routes = MemoryRoutes(redis)
    await routes.write_routes([Route("alice", "phone", "node", SLOT, 0)])
    disk = MemoryDisk()
    io = memory_table_io(
        kafka,
        redis,
        "cursors",
        CURSORS,
        lambda partition: CursorTable(tmp_path / f"cursors-{partition}", disk),
    )
    lookups: list[list[str]] = []
    lookup = routes.lookup

    async def counted(users: list[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        lookups.append(users)
        return await lookup(users)

    monkeypatch.setattr(routes, "lookup", counted)
    async with StageRun(kafka, cursors_stage(io, routes, count), range(count)) as run:
        await eventually(lambda: len(run.stage.here(range(count))) == count)
        await eventually(lambda: not any(run.stage.paused(number) for number in range(count)))
        for number in range(count):
            item = Receipt(A, "bob", "phone", 1, False)
            kafka.broker.append(
                RECEIPTS, number, encode_event(ReceiptRecord(SCHEMA_VERSION, [item]))
            )
        await eventually(lambda: len(delivered(kafka, SLOT)) == count)
    assert len(lookups) <= 2, "the records may have come in two fetches"
    assert kafka.broker.log(DELIVERIES, SLOT).end <= 2
