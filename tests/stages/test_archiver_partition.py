"""One partition of the archiver, of either topic: nothing moves before it is acknowledged, nothing
is given up."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from agents.archiver import partition as module
from agents.archiver.budget import PARTITION_BYTES, Budget
from agents.archiver.content import CURSORS, MESSAGES, Content
from agents.archiver.inserts import Inserts
from agents.archiver.partition import Partition
from agents.archiver.stage import ArchiverStage
from agents.rules.archive import Start
from connectors.clickhouse.client import ArchiveRefused
from connectors.clickhouse.memory import MemoryArchive
from schemas.archive import DELIVERED, READ, Row
from schemas.codec import encode_event
from schemas.events import READ as READ_CURSOR
from schemas.events import RECEIVED, SCHEMA_VERSION, CursorRecord, LogRecord, Taken
from streams.earlier_stage import Status

CURSORS_SOON = CURSORS._replace(linger=0.05)


class Read(NamedTuple):
    offset: int
    value: bytes | None


def record(offset: int, count: int = 1, body: str = "hi") -> Read:
    """The log record at `offset`: the next `count` messages of a conversation."""
    first = offset * count
    taken = [
        Taken(
            n,
            1000 + n,
            "alice:bob",
            "alice",
            "phone",
            bytes(16),
            n + 1,
            n.to_bytes(16),
            n + 1,
            0,
            body,
        )
        for n in range(first, first + count)
    ]
    return Read(
        offset,
        encode_event(LogRecord(SCHEMA_VERSION, 1, first, first + count - 1, 1, 0, 0, 0, taken)),
    )


def cursor(offset: int, device: str, seq: int, time: int = 1000) -> Read:
    """The record at `offset` of `cursors`."""
    return Read(
        offset, encode_event(CursorRecord(SCHEMA_VERSION, "alice:bob", "bob", device, seq, time))
    )


class Source:
    topic_id = "log-id"

    def __init__(self) -> None:
        self.at = Start(0, 0)

    async def start(self, partition: int) -> Start:
        return self.at

    async def numbering(self) -> str:
        return "numbering"


class Bench:
    """A partition and what is around it."""

    def __init__(self) -> None:
        self.archive = MemoryArchive()
        self.source = Source()
        self.budget = Budget()
        self.figures: Counter[str] = Counter()
        self.sought: list[int | None] = []
        self.partition: Partition[Any]

    def begin(self, content: Content[Any] = MESSAGES) -> Partition[Any]:
        async def go_on(number: int) -> None:
            self.sought.append(self.partition.next_offset)

        inserts = Inserts(content, self.archive, self.budget.turns, self.figures)
        self.partition = Partition(
            1, content, self.source, self.archive, inserts, self.budget, self.figures, go_on
        )
        return self.partition

    async def running(self, content: Content[Any] = MESSAGES) -> Partition[Any]:
        partition = self.begin(content)
        await until(lambda: partition.status is Status.RUNNING)
        return partition


async def until(condition: object, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(module, "_BACKOFF", (0.01,))
    made = Bench()
    yield made
    await made.partition.close()
    assert made.budget.bytes == 0


async def test_the_offset_moves_when_the_rows_are_there(bench: Bench) -> None:
    partition = await bench.running()
    assert bench.sought == [0]
    assert partition.committable == 0
    partition.feed([record(0), record(1)])
    assert (partition.next_offset, partition.committable, partition.idle) == (2, 0, False)
    await until(lambda: partition.committable == 2)
    assert sorted(seq for _, seq in bench.archive.rows) == [1, 2]
    assert [token.rpartition("/")[0] for token in bench.archive.tokens] == ["log-id/1/0-1"]
    assert partition.idle


async def test_an_archive_away_is_waited_for_and_the_same_block_comes_again(bench: Bench) -> None:
    partition = await bench.running()
    bench.archive.away = "gone fishing"
    partition.feed([record(0)])
    await until(lambda: bench.figures["errors"] >= 3)
    assert (partition.committable, partition.reason, partition.status) == (
        0,
        "gone fishing",
        Status.RUNNING,
    )
    partition.feed([record(1)])
    bench.archive.away = None
    await until(lambda: partition.committable == 2)
    assert [token.rpartition("/")[0] for token in bench.archive.tokens] == [
        "log-id/1/0-0",
        "log-id/1/1-1",
    ]
    assert partition.reason == ""
    assert partition.report()["last_error"] == "gone fishing"


async def test_a_refusal_is_tried_again_until_somebody_mends_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = await bench.running()
    whole, answers = (
        bench.archive.insert,
        iter([ArchiveRefused("no such table"), ArchiveRefused("no such table"), None]),
    )

    async def insert(rows: Sequence[Row], token: str) -> None:
        error = next(answers)
        if error:
            raise error
        await whole(rows, token)

    monkeypatch.setattr(bench.archive, "insert", insert)
    partition.feed([record(0)])
    await until(lambda: partition.committable == 1)
    assert partition.status is Status.RUNNING


async def test_a_slow_archive_makes_it_read_no_more(bench: Bench) -> None:
    partition = await bench.running()
    bench.archive.away = "slow"
    offset = 0
    while not partition.held:
        partition.feed([record(offset, count=100, body="x" * 1000)])
        offset += 1
    assert PARTITION_BYTES <= bench.budget.bytes < PARTITION_BYTES * 1.1
    bench.archive.away = None
    await until(lambda: partition.committable == offset)
    assert not partition.held
    assert len(bench.archive.rows) == offset * 100
    assert len(bench.archive.tokens) > 1


async def test_a_newer_record_halts_and_what_was_before_it_is_archived(bench: Bench) -> None:
    partition = await bench.running()
    newer = Read(1, msgspec.msgpack.encode([SCHEMA_VERSION + 1, "from the future"]))
    partition.feed([record(0), newer, record(2)])
    assert partition.status is Status.HALTED
    assert partition.held
    assert f"version {SCHEMA_VERSION + 1}" in partition.reason
    await until(lambda: partition.committable == 1)
    assert [seq for _, seq in bench.archive.rows] == [1]
    assert "version" in partition.reason


async def test_records_read_again_after_a_rebalance_are_known(bench: Bench) -> None:
    partition = await bench.running()
    partition.feed([record(0), record(1)])
    partition.feed([record(0), record(1), record(2)])
    await until(lambda: partition.committable == 3)
    assert bench.figures["rows"] == 3


async def test_what_expired_unarchived_is_told(bench: Bench) -> None:
    bench.source.at = Start(40, 30)
    partition = await bench.running()
    assert bench.sought == [40]
    assert "30 records before offset 40 expired" in partition.lost


async def test_another_numbering_halts(bench: Bench) -> None:
    await bench.archive.prepare("another")
    partition = bench.begin()
    await until(lambda: partition.status is Status.HALTED)
    assert "another" in partition.reason
    assert partition.next_offset is None


async def test_cursors_of_users_become_rows_and_those_of_devices_none(bench: Bench) -> None:
    partition = await bench.running(CURSORS_SOON)
    partition.feed(
        [
            cursor(0, RECEIVED, 5),
            cursor(1, READ_CURSOR, 3),
            cursor(2, "phone", 3),
            cursor(3, RECEIVED, 90, time=1070),
        ]
    )
    await until(lambda: partition.committable == 4)
    assert bench.archive.cursors == {
        ("alice:bob", "bob", DELIVERED, 5): 1000,
        ("alice:bob", "bob", READ, 3): 1000,
        ("alice:bob", "bob", DELIVERED, 90): 1070,
    }
    assert bench.figures["rows"] == 3, "none for each of 90 messages"


async def test_cursors_that_compaction_has_thinned_out_and_late_ones_are_taken(
    bench: Bench,
) -> None:
    partition = await bench.running(CURSORS_SOON)
    partition.feed(
        [
            cursor(4, RECEIVED, 9),
            cursor(17, RECEIVED, 5, time=900),
            cursor(18, RECEIVED, 9, time=2000),
        ]
    )
    await until(lambda: partition.committable == 19)
    assert bench.archive.cursors == {
        ("alice:bob", "bob", DELIVERED, 5): 900,
        ("alice:bob", "bob", DELIVERED, 9): 1000,
    }
    assert bench.archive.rows == {}


async def test_cursors_killed_before_the_commit_come_again_and_change_nothing(bench: Bench) -> None:
    records = [cursor(offset, RECEIVED, offset + 1, time=1000 + offset) for offset in range(20)]
    partition = await bench.running(CURSORS_SOON)
    partition.feed(records)
    await until(lambda: partition.committable == 20)
    before = dict(bench.archive.cursors)
    await partition.close()
    bench.source.at = Start(3, 0)
    partition = await bench.running(CURSORS_SOON)
    partition.feed(records[3:])
    await until(lambda: partition.committable == 20)
    assert bench.archive.cursors == before
    assert len(before) == 20


async def test_a_newer_cursor_halts_and_says_where(bench: Bench) -> None:
    partition = await bench.running(CURSORS_SOON)
    partition.feed([Read(7, msgspec.msgpack.encode([SCHEMA_VERSION + 1, "from the future"]))])
    assert partition.status is Status.HALTED
    assert partition.reason.startswith("record 7 of cursors: record of schema version")


async def test_closed_in_the_middle_it_commits_only_what_is_there(bench: Bench) -> None:
    partition = await bench.running()
    partition.feed([record(0)])
    await until(lambda: partition.committable == 1)
    bench.archive.away = "away"
    partition.feed([record(1)])
    await partition.close()
    assert partition.committable == 1


async def running_stage(archive: MemoryArchive) -> ArchiverStage:
    """Of three partitions, which feed 1, 1 and 2,000 rows by now."""

    async def go_on(number: int) -> None:
        pass

    stage = ArchiverStage(MESSAGES._replace(linger=0.1), Source(), archive, Budget(), go_on)
    await stage.assigned({0, 1, 2})
    await until(
        lambda: all(partition.status is Status.RUNNING for partition in stage.partitions.values())
    )
    for number, count in enumerate((1, 1, 2_000)):
        stage.feed(number, [record(0, count)])
    return stage


async def test_small_blocks_go_in_one_insert_and_large_ones_alone() -> None:
    archive = MemoryArchive()
    stage = await running_stage(archive)
    await until(lambda: all(partition.idle for partition in stage.partitions.values()))
    tokens = sorted(
        sorted(part.rpartition("/")[0] for part in token.split()) for token in archive.tokens
    )
    assert tokens == [["log-id/0/0-0", "log-id/1/0-0"], ["log-id/2/0-0"]]
    assert (stage.figures["inserts"], stage.figures["rows"]) == (2, 2_002)
    await stage.stop()


async def test_what_was_refused_together_comes_again_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BACKOFF", (0.01,))
    archive = MemoryArchive()
    whole = archive.insert

    async def insert(rows: Sequence[Row], token: str) -> None:
        if "/0/" in token:
            raise ArchiveRefused("partition 0 brings what cannot be")
        await whole(rows, token)

    monkeypatch.setattr(archive, "insert", insert)
    stage = await running_stage(archive)
    await until(lambda: stage.partitions[1].idle and stage.partitions[2].idle)
    assert [partition.committable for partition in stage.partitions.values()] == [0, 1, 1]
    assert stage.partitions[0].reason == "partition 0 brings what cannot be"
    await stage.stop()
