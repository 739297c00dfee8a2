"""One partition of the receipts over a topic in memory: what is answered is kept, and nothing is
ever taken back."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agents.cursors.partition import CursorsPartition
from schemas.codec import decode_cursor, encode_event
from schemas.events import READ, RECEIVED, SCHEMA_VERSION, CursorRecord, Receipt, ReceiptRecord
from schemas.topics import CURSORS, RECEIPTS
from streams.earlier_stage import Status
from streams.tables.rocks import RocksBudget
from tests.harness.fake_gateway import eventually
from tests.harness.fake_kafka import FakeKafka

A = "alice:bob"


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka(CURSORS, RECEIPTS)


def write_cursor(kafka: FakeKafka, device: str, seq: int) -> None:
    """Somebody has written a cursor of bob's."""
    kafka.append(CURSORS, encode_event(CursorRecord(SCHEMA_VERSION, A, "bob", device, seq, 1)))


def last(kafka: FakeKafka, device: str) -> int:
    """What compaction would keep of a cursor of bob's."""
    cursors = [decode_cursor(record.value) for record in kafka.topics[CURSORS]]
    return next((cursor.seq for cursor in reversed(cursors) if cursor.device == device), 0)


@pytest.fixture
async def make(kafka: FakeKafka, tmp_path: Path) -> AsyncIterator[Callable[[], CursorsPartition]]:
    made = []

    async def go_on(partition: int) -> None: ...

    def new() -> CursorsPartition:
        budget = RocksBudget(1 << 20, 1 << 20)
        made.append(CursorsPartition(0, kafka, tmp_path, budget, Counter(), go_on))  # type: ignore[arg-type]
        return made[-1]

    yield new
    kafka.reads.set()
    for partition in made:
        await partition.close()


async def running(partition: CursorsPartition) -> CursorsPartition:
    await eventually(lambda: partition.status is not Status.RESTORING)
    assert partition.status is Status.RUNNING, partition.reason
    return partition


def say(kafka: FakeKafka, partition: CursorsPartition, seq: int, read: bool = False) -> None:
    item = Receipt(A, "bob", "phone", seq, read)
    kafka.append(RECEIPTS, encode_event(ReceiptRecord(SCHEMA_VERSION, [item])))
    partition.feed(kafka.topics[RECEIPTS][-1:])


def marks(partition: CursorsPartition) -> list[tuple[int, int]]:
    return [(mark.received, mark.read) for mark in partition.marks([A]) or ()]


async def test_what_is_answered_or_told_is_kept_by_kafka(
    kafka: FakeKafka, make: Callable[[], CursorsPartition]
) -> None:
    partition = await running(make())
    say(kafka, partition, 3)
    await eventually(lambda: marks(partition) == [(3, 0)])
    kafka.keeps.clear()
    kafka.told.clear()
    say(kafka, partition, 5, read=True)
    await asyncio.sleep(0.05)
    assert (marks(partition), kafka.told) == ([(3, 0)], []), "another owner would not know of 5"
    kafka.keeps.set()
    await eventually(lambda: marks(partition) == [(5, 5)] and len(kafka.told) == 1)


async def test_a_late_record_of_an_earlier_owner_lowers_nothing(
    kafka: FakeKafka, make: Callable[[], CursorsPartition]
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
    partition = await running(make())
    assert marks(partition) == [(9, 10)]
    assert [last(kafka, device) for device in (RECEIVED, READ, "phone")] == [9, 10, 0], (
        "what compaction keeps is the highest"
    )


async def test_the_table_is_built_again_without_its_disk(
    kafka: FakeKafka, make: Callable[[], CursorsPartition], tmp_path: Path
) -> None:
    first = await running(make())
    for seq in (1, 4, 7):
        say(kafka, first, seq, read=seq < 7)
    await eventually(lambda: marks(first) == [(7, 4)])
    await first.close()
    for again in ("with its disk", "without"):
        if again == "without":
            (tmp_path / "cursors-0").rename(tmp_path / "gone")
        written = len(kafka.topics[CURSORS])
        second = await running(make())
        assert (marks(second), second.devices("bob")) == ([(7, 4)], ["phone"]), again
        assert len(kafka.topics[CURSORS]) == written, "nothing was late"
        await second.close()


async def test_a_partition_that_is_taken_away_while_it_restores_can_come_back(
    kafka: FakeKafka, make: Callable[[], CursorsPartition]
) -> None:
    write_cursor(kafka, RECEIVED, 9)
    kafka.reads.clear()
    first = make()
    await asyncio.sleep(0.05)
    await first.close()
    assert not first.readable
    second = make()
    await asyncio.sleep(0.05)
    kafka.reads.set()
    assert marks(await running(second)) == [(9, 0)]


async def test_an_input_that_was_created_anew_is_read_from_its_beginning(
    kafka: FakeKafka, make: Callable[[], CursorsPartition]
) -> None:
    kafka.committed_offset = 1000
    partition = await running(make())
    say(kafka, partition, 3)
    await eventually(lambda: marks(partition) == [(3, 0)])
