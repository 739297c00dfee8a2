"""Which snapshot may be used, and what an operator hears (R8)."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.rules.position import FoundLog
from agents.rules.snapshots import (
    KEPT,
    Deletable,
    FoundChunks,
    FoundSnapshot,
    alarm,
    chunk_damaged,
    deletable,
    is_due,
    newest_first,
    not_usable,
    not_whole,
    nothing_to_restore,
    sealed,
)
from schemas.events import ChunkPlace, SnapshotChunk, SnapshotRecord

DAY = 24 * 3600 * 1000


def snapshot(log_offset: int, chunks_from: int = 0, places: Sequence[int] = ()) -> SnapshotRecord:
    return sealed(
        SnapshotRecord(
            version=1,
            id=f"worker {log_offset}",
            written=1000,
            partitions=4,
            log_topic="log",
            input_topic="input",
            log_offset=log_offset,
            log_crc=77,
            position=2 * log_offset,
            input_time=5,
            input_crc=66,
            time=9,
            fold_version=1,
            redeliver_from=0,
            delivered=0,
            members_said="",
            rows=1,
            bytes=10,
            chunks_topic="chunks",
            chunks_from=chunks_from,
            chunks=[ChunkPlace(place, 0) for place in places],
        )
    )


RECORD = snapshot(9, 5, (5, 7))


@pytest.mark.parametrize(
    ("record", "chunks", "why"),
    [
        (RECORD, FoundChunks("chunks", 5, 8), None),
        (RECORD, FoundChunks("chunks", 0, 100), None),
        (RECORD, FoundChunks("chunks", 6, 8), "begin at offset 5"),
        (RECORD, FoundChunks("chunks", 0, 7), "end at offset 7"),
        (RECORD, FoundChunks("others", 0, 8), "re-created"),
        (replace(RECORD, log_offset=8), FoundChunks("chunks", 0, 8), "damaged"),
        (replace(RECORD, crc=1), FoundChunks("chunks", 0, 8), "damaged"),
    ],
)
def test_whole(record: SnapshotRecord, chunks: FoundChunks, why: str | None) -> None:
    said = not_whole(record, chunks)
    assert said is None if why is None else said is not None and why in said


@pytest.mark.parametrize(
    ("record", "log", "why"),
    [
        (RECORD, FoundLog("log", 0, 10, 77), None),
        (RECORD, FoundLog("log", 10, 30, None), None),
        (RECORD, FoundLog("log", 10, 10, None), None),
        (RECORD, FoundLog("log", 11, 30, None), "the log begins at 11"),
        (RECORD, FoundLog("log", 0, 9, None), "the log ends"),
        (RECORD, FoundLog("log", 0, 30, 78), "not the one that was folded"),
        (RECORD, FoundLog("others", 0, 30, None), "re-created"),
        (replace(RECORD, partitions=8), FoundLog("log", 0, 10, 77), "of 8 partitions"),
        (replace(RECORD, fold_version=99), FoundLog("log", 0, 10, 77), "fold version 99"),
    ],
)
def test_usable(record: SnapshotRecord, log: FoundLog, why: str | None) -> None:
    said = not_usable(record, log, 4)
    assert said is None if why is None else said is not None and why in said


def test_a_chunk_is_the_one_that_was_written() -> None:
    place = ChunkPlace(5, 42)
    chunk = SnapshotChunk(1, RECORD.id, 3, [])
    assert chunk_damaged(place, 42, chunk, RECORD.id, 3) is None
    assert chunk_damaged(place, 43, chunk, RECORD.id, 3)
    assert chunk_damaged(place, 42, chunk, RECORD.id, 2)
    assert chunk_damaged(place, 42, chunk, "another", 3)


@pytest.mark.parametrize(
    ("newest", "start", "end", "age", "due"),
    [
        (None, 0, 0, 0, False),  # nothing is folded
        (None, 0, 1, 0, True),
        (RECORD, 0, 10, 9 * DAY, False),  # nothing has changed
        (RECORD, 0, 11, DAY - 1, False),
        (RECORD, 0, 11, DAY, True),
        (RECORD, 11, 12, 0, True),  # the log does not join on
    ],
)
def test_due(newest: SnapshotRecord | None, start: int, end: int, age: int, due: bool) -> None:
    assert is_due(newest, FoundLog("log", start, end, None), 1000 + age, DAY) is due


@pytest.mark.parametrize(
    ("newest", "start", "end", "age", "says"),
    [
        (None, 0, 0, 30 * DAY, None),
        (None, 0, 5, 6 * DAY, None),
        (None, 0, 5, 7 * DAY, "there is no snapshot: 168 hours"),
        (None, 3, 5, 0, "the log has lost its head"),
        (RECORD, 0, 10, 99 * DAY, None),  # nothing has changed
        (RECORD, 10, 12, 6 * DAY, None),
        (RECORD, 10, 12, 7 * DAY, "is old: 168 hours"),
        (RECORD, 11, 12, 0, "only this disk has the state"),
    ],
)
def test_alarm(
    newest: SnapshotRecord | None, start: int, end: int, age: int, says: str | None
) -> None:
    said = alarm(newest, FoundLog("log", start, end, None), 1000 + age, 1000, DAY)
    assert said is None if says is None else said is not None and says in said


def test_a_halt_says_what_was_tried_and_what_to_do() -> None:
    log = FoundLog("log", 12, 20, None)
    text = nothing_to_restore("there is no state on this disk", log, {})
    assert "begins at offset 12, and there is no snapshot" in text
    assert "put the worker's state directory" in text
    assert "(snapshot a: chunk 3 is damaged)" in nothing_to_restore(
        "it differs", log, {"a": "chunk 3 is damaged"}
    )


class Store:
    """A partition of `snapshots`, and one of `snapshots.chunks`."""

    def __init__(self) -> None:
        self.records: list[FoundSnapshot] = []
        self.added = 0
        self.chunks = FoundChunks("chunks", 0, 0)

    def add_chunk(self) -> int:
        self.chunks = self.chunks._replace(end=self.chunks.end + 1)
        return self.chunks.end - 1

    def add(self, record: SnapshotRecord) -> None:
        self.records.append(FoundSnapshot(self.added, record))
        self.added += 1

    def delete(self, before: Deletable) -> None:
        self.records = [one for one in self.records if one.offset >= before.records]
        start = max(self.chunks.start, before.chunks)
        self.chunks = self.chunks._replace(start=start)

    def whole(self) -> list[FoundSnapshot]:
        return [one for one in self.records if not_whole(one.record, self.chunks) is None]


class Writer:
    """Writes snapshots one step at a time, as agents/sequencer/snapshot_writer.py does, and may be
    paused for any time between two steps."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.steps = self.run()
        self.log_offset = 0

    def run(self) -> Iterator[None]:
        while True:
            first, log_offset = self.store.chunks.end, self.log_offset
            yield
            places = []
            for _ in range(log_offset % 4):
                places.append(self.store.add_chunk())
                yield
            record = snapshot(log_offset, first, places)
            if not_whole(record, self.store.chunks) is None:
                yield
                self.store.add(record)
                yield
                before = deletable(self.store.whole())
                yield
                if before is not None:
                    self.store.delete(before)
            yield


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), max_size=60))
def test_whoever_is_paused_wherever_two_snapshots_stay(turns: list[tuple[int, int]]) -> None:
    store = Store()
    writers = [Writer(store) for _ in range(3)]
    had = 0
    for now, (number, steps) in enumerate(turns, 1):
        for _ in range(steps):
            writers[number].log_offset = now  # what it begins now has folded so much
            next(writers[number].steps)
            whole = len(store.whole())
            assert whole >= had
            had = max(had, min(KEPT, whole))


@given(st.lists(st.integers(0, 50), min_size=KEPT, max_size=8, unique=True))
def test_the_two_that_have_folded_most_stay(offsets: list[int]) -> None:
    store = Store()
    for log_offset in offsets:
        first = store.chunks.end
        store.add(snapshot(log_offset, first, [store.add_chunk()]))
    before = deletable(store.whole())
    assert before is not None
    store.delete(before)
    kept = [one.record.log_offset for one in newest_first(store.whole())]
    assert kept[:KEPT] == sorted(offsets, reverse=True)[:KEPT]
