"""A partition's state when the partition is assigned: checked against Kafka (R3), begun from a
snapshot if need be (R8), and completed from the log (R1, R2), or a reason to halt.

It blocks, and asks `stopped` between fetches.
"""

import logging
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from agents.rules.decisions import Decisions
from agents.rules.log import Verdict, judge, news
from agents.rules.position import (
    FoundInput,
    FoundLog,
    cannot_rebuild,
    input_differs,
    log_differs,
    may_be_given_up,
)
from agents.rules.snapshots import nothing_to_restore
from agents.sequencer.log_applier import LogApplier, decode_record
from agents.sequencer.snapshot_reading import Place, find_chunks, load, log_crc, newest_usable
from connectors.kafka.ports import KafkaUnreachable, Reader
from schemas.codec import decode_log
from schemas.events import SnapshotRecord, Taken
from schemas.numbering import partitions_differ
from schemas.topics import CHUNKS, LOG, SUBMITTED
from streams.partition import Halt, Stopped
from streams.tables.sequence_layout import FORMAT
from streams.tables.sequences import Header, SequenceTable

log = logging.getLogger(__name__)

_WRITE_EVERY = 4000


class Restored(NamedTuple):
    """`table` holds the log up to `applier.header`; everything up to input offset `delivered` has
    been delivered (R5). The input ended at offset `input_end`; `input_epoch` is the leader epoch of
    its last record that is folded, −1 if not known. The input offsets up to `given_up` are gone,
    and an operator has given them up, by one of the `decisions`. The log began at `log_start`.
    `origin`: what the state was restored from, beside the log."""

    table: SequenceTable
    applier: LogApplier
    delivered: int
    input_end: int
    input_epoch: int
    decisions: Decisions
    given_up: int | None
    log_start: int
    origin: str


def restore(
    place: Place,
    open_table: Callable[[], SequenceTable],
    reader: Reader,
    topic_ids: Mapping[str, str],
    stopped: Callable[[], bool],
    at: Callable[[int, int], None] = lambda done, of: None,
) -> Restored:
    """The state of the partition up to the end of the log: from the disk; else from the newest
    snapshot that can be used; else from the whole log (R8).

    `topic_ids` are Kafka's by topic name; `reader` is of the worker's group, whose committed input
    offset is d + 1; `at` is told how many records of the log are applied, and of how many. Raises
    Halt, Stopped, or trouble outside: try again.
    """
    for topic in (LOG, SUBMITTED, CHUNKS):
        if topic not in topic_ids:
            raise KafkaUnreachable(f"there is no topic {topic} now")
    partition = place.partition
    start, end = reader.watermarks(LOG, partition)
    found = FoundLog(topic_ids[LOG], start, end, None)
    table, origin = open_table(), "its disk"
    try:
        reason = _unfit(reader, place, table.header, found)
        if reason is not None:
            snapshot = _snapshot(reader, place, found, topic_ids[CHUNKS], reason, stopped)
            table.wipe()
            table, origin = open_table(), "the whole log"
            if snapshot is not None:
                _index(reader, partition, table, (start, snapshot.log_offset + 1), stopped)
                load(reader, partition, snapshot, table, stopped)
                origin = f"snapshot {snapshot.id}"
        known = table.header
        header = known or Header(topic_ids[LOG], topic_ids[SUBMITTED], format=FORMAT)
        if header.position < 0:  # nothing is folded yet, so nothing contradicts another input
            known, header = None, replace(header, input_topic=topic_ids[SUBMITTED])
        header = replace(header, partitions=place.partitions)
        applier = LogApplier(table, header)
        committed = reader.committed(SUBMITTED, partition) or 0
        delivered = max(committed - 1, header.delivered)
        delivered = _apply_log(reader, partition, applier, (start, end), delivered, stopped, at)
        decisions, _ = decisions_from(reader, partition, applier.header.position + 1, stopped)
        given_up, input_end, epoch = _check_input(
            reader, partition, applier.header, known, topic_ids[SUBMITTED], decisions
        )
    except BaseException:
        table.close()
        raise
    return Restored(table, applier, delivered, input_end, epoch, decisions, given_up, start, origin)


def _unfit(reader: Reader, place: Place, header: Header | None, found: FoundLog) -> str | None:
    """Why the state cannot go on from what the disk has, or None if it can. Raises Halt."""
    if header is None:
        return "there is no state on this disk"
    if header.format != FORMAT:
        raise Halt(
            f"the state on this disk has format {header.format}, and this code reads {FORMAT}: move"
            " the partition's folder out of the state directory, and restart; the state comes back"
            " from a snapshot, or from the log"
        )
    made_for = partitions_differ(header.partitions, place.partitions)
    if made_for is not None:
        raise Halt(f"the state {made_for}")
    crc = log_crc(reader, place.partition, header.log_offset, found.start, found.end)
    differs = log_differs(header, found._replace(crc=crc))
    return differs or cannot_rebuild(header.log_offset + 1, found)


def _snapshot(
    reader: Reader,
    place: Place,
    found: FoundLog,
    chunks_topic: str,
    reason: str,
    stopped: Callable[[], bool],
) -> SnapshotRecord | None:
    """The snapshot to begin with; None to begin with the whole log. Raises Halt."""
    chunks = find_chunks(reader, place.partition, chunks_topic)
    snapshot, refused = newest_usable(reader, place, found, chunks, stopped)
    if snapshot is None and found.start > 0:
        raise Halt(nothing_to_restore(reason, found, refused))
    log.log(
        logging.WARNING if found.end else logging.INFO,
        "partition %d: %s; it is restored from %s",
        *(place.partition, reason, f"snapshot {snapshot.id}" if snapshot else "the whole log"),
    )
    return snapshot


def _index(
    reader: Reader,
    partition: int,
    table: SequenceTable,
    held: tuple[int, int],
    stopped: Callable[[], bool],
) -> None:
    """Bring the places (R9) of what the log still holds of the time before a snapshot (its first
    offset, and the one after its last) into a table without a header. Without them a page of these
    messages would be called gone. All else comes from the snapshot: what a record says of an outbox
    may be wrong, since the fold does not take records behind a hole."""
    position = None if held[0] else -1
    records: list[tuple[int, list[Taken]]] = []
    for batch in reader.batches(LOG, partition, *held, stopped):
        for record in batch:
            entry = decode_record(record)
            position = entry.from_ - 1 if position is None else position
            if judge(position, entry) is Verdict.TAKE:
                records.append((record.offset, news(position, entry)))
                position = entry.to
        table.write_places(records)
        records = []
    if stopped():
        raise Stopped


def _apply_log(
    reader: Reader,
    partition: int,
    applier: LogApplier,
    found: tuple[int, int],
    delivered: int,
    stopped: Callable[[], bool],
    at: Callable[[int, int], None],
) -> int:
    """Apply the log up to its end; `found` is where it begins and ends. Returns d of R5: the
    largest that the group, the log or the state know."""
    start, end = found
    first = applier.header.log_offset + 1
    owed: deque[tuple[int, int]] = deque()
    redeliver_from = applier.header.redeliver_from
    if redeliver_from < start:
        delivered = max(delivered, _expired(reader, partition, found, delivered))
        redeliver_from = start
    for batch in reader.batches(LOG, partition, first, end, stopped):
        for record in batch:
            entry = applier.read(record)
            delivered = max(delivered, entry.delivered)
            owed.append((record.offset + 1, entry.to))
            if applier.unwritten >= _WRITE_EVERY:
                applier.write(delivered, redeliver_from)
        at(batch[-1].offset + 1 - first, end - first)
        while owed and owed[0][1] <= delivered:
            redeliver_from = owed.popleft()[0]
    if stopped():
        raise Stopped
    while owed and owed[0][1] <= delivered:
        redeliver_from = owed.popleft()[0]
    applier.write(delivered, redeliver_from)
    return delivered


def _expired(reader: Reader, partition: int, found: tuple[int, int], delivered: int) -> int:
    """The last input offset of which the log has expired. Deliveries after `delivered` up to there
    are not made."""
    start, end = found
    if start == end:
        return -1
    last = decode_log(next(reader.read(LOG, partition, start, start + 1)).value).from_ - 1
    if last > delivered:
        log.error(
            "partition %d: deliveries of input offsets %d to %d have expired with the log; devices"
            " learn of those messages when they connect again",
            *(partition, delivered + 1, last),
        )
    return last


def decisions_from(
    reader: Reader, partition: int, first: int, stopped: Callable[[], bool] = lambda: False
) -> tuple[Decisions, int]:
    """What operators have decided in the input from offset `first` on, and where it ends. Raises
    Stopped, or trouble outside."""
    start, end = reader.watermarks(SUBMITTED, partition)
    decisions = Decisions()
    if max(start, first) < end:
        for batch in reader.batches(SUBMITTED, partition, max(start, first), end, stopped):
            decisions = decisions.and_then(batch)
    if stopped():
        raise Stopped
    return decisions, end


def _check_input(
    reader: Reader,
    partition: int,
    header: Header,
    known: Header | None,
    topic: str,
    decisions: Decisions,
) -> tuple[int | None, int, int]:
    """Raises Halt if the state cannot go on from this input; returns up to where it is given up,
    where it ends, and the leader epoch of the last record that was folded."""
    start, end = reader.watermarks(SUBMITTED, partition)
    fingerprint, epoch = None, -1
    if start <= header.position < end:
        record = next(reader.read(SUBMITTED, partition, header.position, header.position + 1))
        fingerprint, epoch = (record.timestamp, zlib.crc32(record.value)), record.epoch
    state_topic = known.input_topic if known else None
    folded = header.input_time, header.input_crc
    found = FoundInput(topic, start, end, fingerprint)
    gone = may_be_given_up(state_topic, header.position, folded, found)
    if gone is not None and decisions.skip_to(*gone):
        return gone[1], end, -1
    reason = input_differs(state_topic, header.position, folded, found)
    if reason is not None:
        raise Halt(
            f"{reason}; numbers given from it would contradict the log. Restore {SUBMITTED}, or"
            " begin a new numbering: see docs/OPERATIONS.md",
            gone,
        )
    return None, end, epoch
