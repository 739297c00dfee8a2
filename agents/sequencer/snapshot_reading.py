"""Reading a partition's snapshots from Kafka, and bringing one into a table (R8). All of it
blocks."""

import logging
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from agents.rules.position import FoundLog
from agents.rules.snapshots import (
    FoundChunks,
    FoundSnapshot,
    chunk_damaged,
    newest_first,
    not_usable,
    not_whole,
)
from connectors.kafka.ports import OffsetGone, Reader, ReadTimeout
from connectors.kafka.record import Record
from schemas.codec import NewerVersion, Undecodable, decode_chunk, decode_snapshot
from schemas.events import SnapshotChunk, SnapshotRecord
from schemas.topics import CHUNKS, LOG, SNAPSHOTS
from streams.partition import Stopped
from streams.tables.sequence_layout import FORMAT
from streams.tables.sequences import Header, SequenceTable

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """A partition of the log, and how many the log has."""

    partition: int
    partitions: int


class Damaged(Exception):
    """The snapshot is not whole; the text says why."""


def find_snapshots(
    reader: Reader, place: Place, found: FoundLog, chunks: FoundChunks
) -> tuple[list[FoundSnapshot], dict[str, str]]:
    """The snapshots from which the state can go on with the log `found`, newest first, as far as
    their records say; and why the others cannot be used, by id. Raises ReadTimeout."""
    usable, refused = list[FoundSnapshot](), dict[str, str]()
    for one in newest_first(_records(reader, place.partition)):
        record = one.record
        crc = log_crc(reader, place.partition, record.log_offset, found.start, found.end)
        why = not_whole(record, chunks)
        why = why or not_usable(record, found._replace(crc=crc), place.partitions)
        if why is None:
            usable.append(one)
        else:
            refused[record.id] = why
    return usable, refused


def _records(reader: Reader, partition: int) -> list[FoundSnapshot]:
    found = []
    for record in reader.read(SNAPSHOTS, partition, *reader.watermarks(SNAPSHOTS, partition)):
        try:
            found.append(FoundSnapshot(record.offset, decode_snapshot(record.value)))
        except (NewerVersion, Undecodable) as error:
            log.error(
                "partition %d: the record of a snapshot cannot be read at offset %d: %s",
                *(partition, record.offset, error),
            )
    return found


def find_chunks(reader: Reader, partition: int, topic_id: str) -> FoundChunks:
    """Raises ReadTimeout."""
    return FoundChunks(topic_id, *reader.watermarks(CHUNKS, partition))


def log_crc(reader: Reader, partition: int, log_offset: int, start: int, end: int) -> int | None:
    """CRC-32 of a record of the log that begins at `start` and ends before `end`; None if that is
    not there. Raises ReadTimeout, OffsetGone."""
    if not start <= log_offset < end:
        return None
    return zlib.crc32(next(reader.read(LOG, partition, log_offset, log_offset + 1)).value)


def newest_usable(
    reader: Reader,
    place: Place,
    found: FoundLog,
    chunks: FoundChunks,
    stopped: Callable[[], bool],
) -> tuple[SnapshotRecord | None, dict[str, str]]:
    """The newest usable snapshot, all of whose chunks have been read and checked; and why others
    cannot be used, by id. Raises ReadTimeout, Stopped."""
    usable, refused = find_snapshots(reader, place, found, chunks)
    for one in usable:
        try:
            _verify(reader, place.partition, one.record, stopped)
        except Damaged as error:
            refused[one.record.id] = str(error)
            log.error(
                "partition %d: snapshot %s is damaged: %s", place.partition, one.record.id, error
            )
        else:
            return one.record, refused
    return None, refused


def load(
    reader: Reader,
    partition: int,
    record: SnapshotRecord,
    table: SequenceTable,
    stopped: Callable[[], bool],
) -> None:
    """Bring a snapshot that is whole into an empty table, which counts as empty until its header is
    written, last of all. Raises Damaged, ReadTimeout, Stopped, DiskUnavailable."""
    for chunk in _chunks(reader, partition, record, stopped):
        table.load(chunk.rows)
    table.load((), header_of(record))


def header_of(record: SnapshotRecord) -> Header:
    """Where the state stands after the snapshot."""
    return Header(
        record.log_topic,
        record.input_topic,
        record.log_offset,
        record.log_crc,
        record.position,
        record.input_time,
        record.input_crc,
        record.time,
        record.fold_version,
        record.redeliver_from,
        record.delivered,
        FORMAT,
        record.members_said,
        record.partitions,
    )


def _verify(
    reader: Reader, partition: int, record: SnapshotRecord, stopped: Callable[[], bool]
) -> None:
    rows = sum(len(chunk.rows) for chunk in _chunks(reader, partition, record, stopped))
    if rows != record.rows:
        raise Damaged(f"it has {rows} rows, not {record.rows}")


def _chunks(
    reader: Reader, partition: int, record: SnapshotRecord, stopped: Callable[[], bool]
) -> Iterator[SnapshotChunk]:
    """The chunks of a snapshot, in order. Raises Damaged, ReadTimeout, Stopped."""
    places = record.chunks
    number = 0
    try:
        for batch in _read(reader, partition, record, stopped):
            for found in batch:
                if stopped():  # the watchdog sees each chunk
                    raise Stopped
                if found.offset < places[number].offset:
                    continue  # of another writer
                if found.offset > places[number].offset:
                    raise Damaged(f"chunk {number} is not there")
                chunk, crc = decode_chunk(found.value), zlib.crc32(found.value)
                why = chunk_damaged(places[number], crc, chunk, record.id, number)
                if why is not None:
                    raise Damaged(why)
                number += 1
                yield chunk
    except (OffsetGone, NewerVersion, Undecodable) as error:
        raise Damaged(f"chunk {number}: {error}") from None
    except ReadTimeout as error:
        reader.watermarks(CHUNKS, partition)  # raises, too, if Kafka does not answer at all
        raise Damaged(f"chunk {number} cannot be read: {error}") from None
    if stopped():
        raise Stopped
    if number < len(places):
        raise Damaged(f"chunk {number} is not there")


def _read(
    reader: Reader, partition: int, record: SnapshotRecord, stopped: Callable[[], bool]
) -> Iterator[list[Record]]:
    if record.chunks:
        first, last = record.chunks[0].offset, record.chunks[-1].offset
        yield from reader.batches(CHUNKS, partition, first, last + 1, stopped)
