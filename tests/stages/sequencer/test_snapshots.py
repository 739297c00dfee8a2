"""Snapshots (R8): the state outlives the log's head, the disk, and writers that die or sleep."""

import asyncio
import itertools
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.rules.snapshots import KEPT
from agents.sequencer import restore, snapshot_reading
from agents.sequencer.snapshot_reading import Place
from agents.sequencer.snapshot_store import KafkaSnapshots
from agents.sequencer.snapshot_writer import SnapshotPolicy, SnapshotTurns, SnapshotWriter
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.record import Record
from schemas.codec import decode_chunk, decode_log, decode_snapshot
from schemas.events import SnapshotRecord, SnapshotRow
from schemas.ids import conversation_of, user_id
from schemas.topics import CHUNKS, LOG, SNAPSHOTS, SUBMITTED
from streams.partition import Status
from streams.tables import sequences
from streams.tables.rocks import DiskUnavailable, RocksBudget
from streams.tables.sequences import Header, SequenceTable
from tests.harness.fake_gateway import eventually
from tests.harness.sequencing import A, Make, Run, ask, heads, pushed, send

DAILY = SnapshotPolicy(chunk_bytes=150, slice_bytes=50)
"""In several chunks."""
OFTEN = DAILY._replace(interval_ms=0, look_seconds=1.0)
"""Whenever something has changed."""


def others(number: int) -> str:
    return conversation_of(user_id("alice"), user_id(f"user{number}"))


async def talk(kafka: MemoryKafka, run: Run, first: int, last: int) -> None:
    """Messages first..last of alice and bob, and one of alice to another user after each."""
    for number in range(first, last + 1):
        send(kafka, number)
        send(kafka, 1, conversation=others(number))
    await run.done(2 * last)
    run.commit()


async def write(run: Run) -> Mapping[str, Any]:
    answer = await ask(run, "/sequencer/snapshot/0/")
    found: Mapping[str, Any] = msgspec.json.decode(answer.body)
    assert answer.status == 200, found
    return found


def lose_disk(folder: Path) -> None:
    for table in folder.glob("partition-*"):
        shutil.rmtree(table)


def expire(kafka: MemoryKafka, record: SnapshotRecord | None = None) -> None:
    """The log expires: all that the snapshot has, or all of it."""
    log = kafka.broker.log(LOG, 0)
    kafka.broker.expire(LOG, 0, record.log_offset + 1 if record else log.end)


def snapshots(kafka: MemoryKafka) -> list[SnapshotRecord]:
    return [decode_snapshot(one.value) for one in kafka.broker.read_all(SNAPSHOTS, 0)]


def damage(kafka: MemoryKafka, topic: str, offset: int) -> None:
    """A bit of a record turns over on the brokers' disks."""
    log = kafka.broker.log(topic, 0)
    (record,) = log.read(offset, offset + 1)
    value = bytearray(record.value)
    value[len(value) // 2] ^= 1
    log.replace(Record(0, offset, record.timestamp, bytes(value)))


async def snapshot_and_one_more(kafka: MemoryKafka, make: Make) -> None:
    """A worker writes a snapshot, and then the log goes on."""
    async with make(DAILY) as run:
        await run.running()
        await talk(kafka, run, 1, 3)
        await write(run)
        await talk(kafka, run, 4, 4)


async def goes_on(kafka: MemoryKafka, make: Make, before: list[int]) -> None:
    """A worker restores the state, and the next message gets the next number; what it knows of each
    outbox it still knows."""
    ends = kafka.broker.log(SUBMITTED, 0).end
    async with make(DAILY) as run:
        await run.running()
        last = before[-1]
        send(kafka, last)  # a repeat
        send(kafka, last + 1)
        await run.done(ends + 2)
        assert run.figures["repeats"] == 1
        newest = [decode_log(one.value).taken for one in kafka.broker.read_all(LOG, 0)][-1]
        assert [item.seq for item in newest][-1:] == [last + 1]
        assert (await heads(run))["0"][A] == last + 1
        assert (await heads(run))["0"][others(1)] == 1


async def test_the_log_head_and_the_disk_are_gone(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    async with make(DAILY) as run:
        await run.running()
        await talk(kafka, run, 1, 5)
        await write(run)
        await talk(kafka, run, 6, 8)
        assert len(snapshots(kafka)[-1].chunks) > 3
    expire(kafka, snapshots(kafka)[-1])
    lose_disk(tmp_path)
    await goes_on(kafka, make, pushed(kafka))


@pytest.mark.parametrize("expired", [0, 1])
async def test_messages_from_before_the_snapshot_that_the_log_holds_come_by_number(
    kafka: MemoryKafka, make: Make, tmp_path: Path, expired: int
) -> None:
    async with make(DAILY) as run:
        await run.running()
        await talk(kafka, run, 1, 3)
        await talk(kafka, run, 4, 5)
        await write(run)
        await talk(kafka, run, 6, 8)
    kafka.broker.expire(LOG, 0, expired)
    held = [
        item.seq
        for record in kafka.broker.read_all(LOG, 0)
        for item in decode_log(record.value).taken
        if item.conversation == A
    ]
    lose_disk(tmp_path)
    async with make(DAILY) as run:
        await run.running()
        page = await ask(run, "/sequencer/page/0/", conversation=A, after=str(min(held) - 1))
        assert len(page.body.split(b"\n")) == 1 + len(set(held))


async def test_of_a_log_record_that_counts_for_nothing_nothing_comes_into_the_state(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    """The log lost its tail, its owner wrote on behind the hole, and noticed it after that.
    Simulation seed 917435000029."""
    async with make(DAILY) as run:
        await run.running()
        send(kafka, 1)
        await run.done(1)
        send(kafka, 1, conversation=others(1))
        await run.done(2)
    behind_the_hole = kafka.broker.read_all(LOG, 0)[1].value
    kafka.broker.cut_tail(LOG, 0, 2)
    kafka.broker.append(LOG, 0, behind_the_hole)
    kafka.broker.cut_tail(SUBMITTED, 0, 2)  # so that nothing is folded before the snapshot
    lose_disk(tmp_path)
    async with make(DAILY) as run:
        await run.running()
        assert (await write(run))["rows"] == 0
    send(kafka, 1)
    send(kafka, 1, conversation=others(1))
    lose_disk(tmp_path)
    async with make(DAILY) as run:
        await run.running()
        await run.done(2)
        assert run.figures["repeats"] == 0


async def test_nothing_has_come_since_and_the_whole_log_has_expired(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    async with make(DAILY) as run:
        await run.running()
        await talk(kafka, run, 1, 3)
        await write(run)
    expire(kafka)
    lose_disk(tmp_path)
    async with make(DAILY) as run:
        await run.running()
        send(kafka, 4)
        await run.done(7)
        assert (await heads(run))["0"][A] == 4


@pytest.mark.parametrize("what", ["a chunk", "its record", "a chunk is gone"])
async def test_the_newest_is_damaged_and_the_one_before_is_used(
    kafka: MemoryKafka, make: Make, tmp_path: Path, what: str
) -> None:
    async with make(DAILY) as run:
        await run.running()
        await talk(kafka, run, 1, 3)
        await write(run)
        await talk(kafka, run, 4, 5)
        await write(run)
        await talk(kafka, run, 6, 6)
    before, newest = snapshots(kafka)[-2:]
    if what == "a chunk":
        damage(kafka, CHUNKS, newest.chunks[1].offset)
    elif what == "its record":
        damage(kafka, SNAPSHOTS, kafka.broker.log(SNAPSHOTS, 0).end - 1)
    else:
        kafka.broker.cut_tail(CHUNKS, 0, 1)
    expire(kafka, before)
    lose_disk(tmp_path)
    await goes_on(kafka, make, pushed(kafka))


async def test_none_can_be_used_and_the_partition_halts_with_what_to_do(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    await snapshot_and_one_more(kafka, make)
    for record in snapshots(kafka):
        for place in record.chunks:
            damage(kafka, CHUNKS, place.offset)
    expire(kafka, snapshots(kafka)[-1])
    lose_disk(tmp_path)
    async with make(DAILY) as run:
        await eventually(lambda: run.partition.status is Status.HALTED)
        assert "chunk 0" in run.partition.reason
        assert "put the worker's state directory" in run.partition.reason


async def test_the_log_has_expired_behind_the_state_on_the_disk(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    """A worker that was away for 30 days begins from a snapshot of another."""
    async with make(DAILY) as run:
        await run.running()
        await talk(kafka, run, 1, 2)
    shutil.copytree(tmp_path / "partition-0", tmp_path / "old")
    async with make(DAILY) as run:
        await run.running()
        await talk(kafka, run, 3, 4)
        await write(run)
    expire(kafka, snapshots(kafka)[-1])
    lose_disk(tmp_path)
    (tmp_path / "old").rename(tmp_path / "partition-0")
    await goes_on(kafka, make, pushed(kafka))


async def test_a_newer_format_reads_the_snapshot_and_a_rollback_finds_its_state(
    kafka: MemoryKafka, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 2: the state of the older version was destroyed."""
    await snapshot_and_one_more(kafka, make)
    expire(kafka, snapshots(kafka)[-1])
    with monkeypatch.context() as newer:
        for module in (sequences, restore, snapshot_reading):
            newer.setattr(module, "FORMAT", 6)
        async with make(DAILY) as run:
            await run.running()
            send(kafka, 5)
            await run.done(9)
            assert (await heads(run))["0"][A] == 5
    assert (tmp_path / "partition-0-format-6").is_dir()
    async with make(DAILY) as run:
        partition = await run.running()
        assert "its disk" in partition.restored()
        assert (await heads(run))["0"][A] == 5


async def test_a_state_of_another_format_in_the_folder_is_left_there(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make(DAILY) as run:
        await run.running()
        await talk(kafka, run, 1, 1)
    with monkeypatch.context() as older:
        for module in (sequences, restore, snapshot_reading):
            older.setattr(module, "FORMAT", 4)
        async with make(DAILY) as run:
            await eventually(lambda: run.partition.status is Status.HALTED)
            assert "format 5, and this code reads 4" in run.partition.reason
    async with make(DAILY) as run:
        await run.running()
        assert (await heads(run))["0"][A] == 1


async def test_one_is_written_where_anything_has_changed(kafka: MemoryKafka, make: Make) -> None:
    async with make(OFTEN) as run:
        await run.running()
        await asyncio.sleep(5)
        assert snapshots(kafka) == []
        await talk(kafka, run, 1, 1)
        await eventually(lambda: len(snapshots(kafka)) == 1)
        await asyncio.sleep(5)
        assert len(snapshots(kafka)) == 1
        await talk(kafka, run, 2, 2)
        await eventually(lambda: len(snapshots(kafka)) == 2)


async def test_two_generations_stay(kafka: MemoryKafka, make: Make) -> None:
    async with make(DAILY) as run:
        await run.running()
        for number in range(1, 6):
            await talk(kafka, run, number, number)
            await write(run)
        assert len(snapshots(kafka)) == KEPT
        chunks = kafka.broker.read_all(CHUNKS, 0)
        ids = {decode_chunk(one.value).snapshot for one in chunks}
        assert ids == {record.id for record in snapshots(kafka)}


async def test_a_writer_that_is_killed_after_any_chunk_leaves_the_others_whole(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    async with make(DAILY) as run:
        await run.running()
        await talk(kafka, run, 1, 2)
        await write(run)
    whole = snapshots(kafka)
    for killed_after in range(6):
        number = 3 + killed_after
        async with make(DAILY._replace(pause_seconds=0.2)) as run:
            await run.running()
            await talk(kafka, run, number, number)
            wanted = kafka.broker.log(CHUNKS, 0).end + killed_after
            writing = asyncio.create_task(ask(run, "/sequencer/snapshot/0/"))
            await asyncio.sleep(0.1)
            await eventually(lambda wanted=wanted: kafka.broker.log(CHUNKS, 0).end == wanted)  # type: ignore[misc]
        assert (await writing).status == 503
        assert snapshots(kafka) == whole
        lose_disk(tmp_path)
        expire(kafka, whole[0])
        async with make(DAILY) as run:
            partition = await run.running()
            assert whole[0].id in partition.restored()
            assert (await heads(run))["0"][A] == number


class Sleeper(KafkaSnapshots):
    """Stands still before each chunk until it is woken."""

    awake: asyncio.Event

    async def add_chunk(self, value: bytes) -> int:
        await self.awake.wait()
        return await super().add_chunk(value)


async def test_a_paused_writer_that_wakes_adds_an_older_snapshot(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    async with make(DAILY) as run:
        partition = await run.running()
        await talk(kafka, run, 1, 3)
        await write(run)
        producer = kafka.producer({})
        store = Sleeper(kafka, producer, Place(0, 2), partition.io.threads)
        store.awake = asyncio.Event()
        turns = SnapshotTurns("sleeper", 2, asyncio.Lock())
        sleeper = SnapshotWriter(partition, "sleeper", store, OFTEN, turns, lambda: 5)
        running = asyncio.create_task(sleeper.run(partition.retry))
        old = asyncio.create_task(sleeper.write())
        await asyncio.sleep(1)
        await talk(kafka, run, 4, 4)
        await write(run)
        await talk(kafka, run, 5, 5)
        await write(run)
        store.awake.set()
        late = await old
        running.cancel()
        newest = max(snapshots(kafka), key=lambda one: one.log_offset)
        assert late.log_offset < newest.log_offset
        await talk(kafka, run, 6, 6)
    expire(kafka, newest)
    lose_disk(tmp_path)
    async with make(DAILY) as run:
        partition = await run.running()
        assert newest.id in partition.restored()
        assert (await heads(run))["0"][A] == 6


async def test_what_cannot_be_written_is_said_and_tried_again(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make(OFTEN) as run:
        await run.running()
        kafka.broker.lose_leader(CHUNKS, 0)
        await talk(kafka, run, 1, 1)
        await eventually(lambda: "cannot be written" in str(run.stage.spec.problems(run.stage)))
        status, problems = await run.health()
        assert status == 503
        assert "snapshots.chunks/0" in problems[0]
        await talk(kafka, run, 2, 2)
        kafka.broker.find_leader(CHUNKS, 0)
        await eventually(lambda: snapshots(kafka) != [])
        await eventually(lambda: run.stage.spec.problems(run.stage) == [])


async def test_the_work_goes_on_while_one_is_written(kafka: MemoryKafka, make: Make) -> None:
    async with make(DAILY._replace(pause_seconds=1.0)) as run:
        partition = await run.running()
        await talk(kafka, run, 1, 10)
        writing = asyncio.create_task(ask(run, "/sequencer/snapshot/0/"))
        await eventually(lambda: partition.report()["snapshot"]["writing_rows"])
        header = partition.folded_log.end - 1
        await talk(kafka, run, 11, 12)
        assert not writing.done()
        found = msgspec.json.decode((await writing).body)
        assert found["log_offset"] == header
        assert (await heads(run))["0"][A] == 12


async def test_a_restore_that_dies_leaves_an_empty_table(
    kafka: MemoryKafka, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make(DAILY) as run:
        await run.running()
        await talk(kafka, run, 1, 4)
        await write(run)
    expire(kafka, snapshots(kafka)[-1])
    lose_disk(tmp_path)
    load, loads = SequenceTable.load, itertools.count()

    def fails(table: SequenceTable, rows: Iterable[SnapshotRow], end: Header | None = None) -> None:
        if next(loads) == 3:
            raise DiskUnavailable("a test says so")
        load(table, rows, end)

    monkeypatch.setattr(SequenceTable, "load", fails)
    await goes_on(kafka, make, pushed(kafka))
    assert next(loads) > len(snapshots(kafka)[-1].chunks) + 3  # it began once more


async def test_nothing_on_the_disk_is_deleted_unless_there_is_something_better(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    await snapshot_and_one_more(kafka, make)
    for place in snapshots(kafka)[-1].chunks[-1:]:
        damage(kafka, CHUNKS, place.offset)
    kept = kafka.broker.read_all(LOG, 0)
    kafka.broker.append(LOG, 0, kept[-1].value)
    kafka.broker.append(LOG, 0, kept[-1].value)
    expire(kafka)
    async with make(DAILY) as run:
        await eventually(lambda: run.partition.status is Status.HALTED)
        assert f"offset {kept[-1].offset + 1} is needed" in run.partition.reason
    table = SequenceTable(tmp_path / "partition-0", RocksBudget(1 << 20, 1 << 20))
    assert table.seq(A) == 4
    table.close()
