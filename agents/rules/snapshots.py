"""Snapshots of a partition's state (R8): which may be used, which is the newest, when the next is
due, what may be deleted, and what an operator must hear.

A snapshot is the fold of log[0..L], so it is true whoever writes it and however late. Nobody ever
overwrites one: each attempt to write one has an id and places of its own in Kafka. So a writer that
was paused can only add a snapshot that is older than the newest.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from agents.rules.fold import VERSIONS
from agents.rules.position import FoundLog, log_differs
from schemas.codec import encode_event
from schemas.events import ChunkPlace, SnapshotChunk, SnapshotRecord

KEPT = 2
"""Whole snapshots that stay: if the newest turns out damaged, there is the one before it."""
LATE_AFTER = 7
"""A newest snapshot that is so many intervals old is an alarm."""


class FoundSnapshot(NamedTuple):
    """A snapshot, and the offset of its record in `snapshots`."""

    offset: int
    record: SnapshotRecord


class FoundChunks(NamedTuple):
    """The partition of `snapshots.chunks` in Kafka: topic id, first offset, offset after the
    last."""

    topic: str
    start: int
    end: int


class Deletable(NamedTuple):
    """What comes before these offsets is of no use any more: in `snapshots`, and in
    `snapshots.chunks`."""

    records: int
    chunks: int


def sealed(record: SnapshotRecord) -> SnapshotRecord:
    """The record with its checksum."""
    return replace(record, crc=_checksum(record))


def _checksum(record: SnapshotRecord) -> int:
    return zlib.crc32(encode_event(replace(record, crc=0)))


def newest_first(found: Sequence[FoundSnapshot]) -> list[FoundSnapshot]:
    """Those that have folded more of the log come first."""
    return sorted(found, key=lambda one: (one.record.log_offset, one.offset), reverse=True)


def not_whole(record: SnapshotRecord, chunks: FoundChunks) -> str | None:
    """Why the snapshot's chunks cannot all be there, or None if they can."""
    if record.crc != _checksum(record):
        return "its record is damaged"
    if record.chunks_topic != chunks.topic:
        return f"snapshots.chunks was re-created (topic id {record.chunks_topic})"
    if record.chunks_from < chunks.start:
        return f"its chunks begin at offset {record.chunks_from}, and Kafka's at {chunks.start}"
    if record.chunks and record.chunks[-1].offset >= chunks.end:
        return f"its chunks end at offset {record.chunks[-1].offset}, and Kafka's before it"
    return None


def not_usable(record: SnapshotRecord, log: FoundLog, partitions: int) -> str | None:
    """Why the state cannot go on from the snapshot, or None if it can. `log` is what Kafka has now,
    in so many partitions."""
    if record.partitions != partitions:
        return f"it is of {record.partitions} partitions, not {partitions}"
    if record.fold_version not in VERSIONS:
        return f"it is of fold version {record.fold_version}: deploy the version that wrote it"
    differs = log_differs(record, log)
    if differs is not None:
        return differs
    if record.log_offset < log.start - 1:
        return f"it ends at log offset {record.log_offset}, and the log begins at {log.start}"
    return None


def chunk_damaged(
    place: ChunkPlace, crc: int, chunk: SnapshotChunk, snapshot: str, number: int
) -> str | None:
    """Why what was read at the place of chunk `number`, with this CRC-32, is not that chunk, or
    None if it is."""
    if crc != place.crc:
        return f"chunk {number} is damaged"
    if (chunk.snapshot, chunk.number) != (snapshot, number):
        return f"chunk {number} is chunk {chunk.number} of snapshot {chunk.snapshot}"
    return None


def is_due(newest: SnapshotRecord | None, log: FoundLog, now: int, interval: int) -> bool:
    """Whether to write a snapshot now. `newest` was usable when its writer looked; `log` ends where
    the state ends; `now` and `interval` in ms."""
    if log.end == 0:
        return False  # nothing is folded
    if newest is None or newest.log_offset < log.start - 1:
        return True
    return newest.log_offset < log.end - 1 and now - newest.written >= interval


def deletable(usable: Sequence[FoundSnapshot]) -> Deletable | None:
    """What nobody needs, if KEPT usable snapshots are there; None if there are fewer.

    Whoever deletes by this leaves the two newest of those it has seen, however late it does. So of
    all that was ever deleted, the highest offsets were those of somebody who has left two.
    """
    kept = newest_first(usable)[:KEPT]
    if len(kept) < KEPT:
        return None
    return Deletable(min(one.offset for one in kept), min(one.record.chunks_from for one in kept))


def alarm(
    newest: SnapshotRecord | None, log: FoundLog, now: int, since: int, interval: int
) -> str | None:
    """What an operator must hear of a partition, or None. `newest` was usable when its writer
    looked; `since`: when it looked first. `log` ends where the state ends."""
    if log.end == 0:
        return None
    if newest is None:
        if log.start > 0:
            return (
                "there is no snapshot, and the log has lost its head: only this disk has the state"
            )
        age, what = now - since, "there is no snapshot"
    elif newest.log_offset < log.start - 1:
        return (
            f"the newest snapshot ends at log offset {newest.log_offset}, and the log begins at"
            f" {log.start}: only this disk has the state"
        )
    elif newest.log_offset >= log.end - 1:
        return None  # nothing has changed since
    else:
        age, what = now - newest.written, "the newest snapshot is old"
    if age < LATE_AFTER * interval:
        return None
    return f"{what}: {age // 3_600_000} hours"


def nothing_to_restore(reason: str, log: FoundLog, refused: Mapping[str, str]) -> str:
    """The text of a halt: `reason` says why the state on the disk does not do, `refused` why each
    snapshot does not."""
    seen = "; ".join(f"snapshot {id_}: {why}" for id_, why in refused.items())
    return (
        f"{reason}; the log begins at offset {log.start}, and "
        + (f"no snapshot can be used ({seen})" if refused else "there is no snapshot")
        + ": put the worker's state directory, or the log, back from a backup, then restart;"
        " starting empty would give new numbers to old messages"
    )
