"""A partition's state when the partition is assigned: checked against Kafka (R3), and completed
from the log (R1, R2), or a reason to halt.

It blocks, and asks `stopped` between fetches.
"""

import logging
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from agents.rules.decisions import Decisions
from agents.rules.position import (
    FoundInput,
    FoundLog,
    cannot_rebuild,
    input_differs,
    log_differs,
    may_be_given_up,
)
from agents.sequencer.log_applier import LogApplier
from connectors.kafka.ports import KafkaUnreachable, Reader
from schemas.codec import decode_log
from schemas.numbering import partitions_differ
from schemas.topics import LOG, SUBMITTED
from streams.partition import Halt, Stopped
from streams.tables.sequences import FORMAT, Header, SequenceTable

log = logging.getLogger(__name__)

_WRITE_EVERY = 4000


class Restored(NamedTuple):
    """`table` holds the log up to `applier.header`; everything up to input offset `delivered` has
    been delivered (R5). The input ended at offset `input_end`; `input_epoch` is the leader epoch of
    its last record that is folded, −1 if not known. The input offsets up to `given_up` are gone,
    and an operator has given them up, by one of the `decisions`."""

    table: SequenceTable
    applier: LogApplier
    delivered: int
    input_end: int
    input_epoch: int
    decisions: Decisions
    given_up: int | None


def restore(
    partition: int,
    open_table: Callable[[], SequenceTable],
    reader: Reader,
    topic_ids: Mapping[str, str],
    partitions: int,
    stopped: Callable[[], bool],
) -> Restored:
    """The state of `partition` up to the end of the log.

    `topic_ids` are Kafka's by topic name, of topics with so many `partitions`; `reader` is of the
    worker's group, whose committed input offset is d + 1. Raises Halt, Stopped, or trouble outside:
    try again.
    """
    for topic in (LOG, SUBMITTED):
        if topic not in topic_ids:
            raise KafkaUnreachable(f"there is no topic {topic} now")
    table = open_table()
    try:
        start, end = reader.watermarks(LOG, partition)
        found = FoundLog(topic_ids[LOG], start, end, None)
        known = table.header
        if known is not None:
            reason = _differs(reader, partition, known, found)
            if reason is not None:
                if cannot_rebuild(0, found):
                    raise Halt(
                        f"{reason}, and the state cannot be rebuilt, because the log begins at"
                        f" offset {start} and there is no snapshot: put the worker's state"
                        " directory, or the log, back from a backup"
                    )
                log.warning(
                    "partition %d: %s; the log is read again from its start", partition, reason
                )
                table.wipe()
                table, known = open_table(), None
        header = known or Header(topic_ids[LOG], topic_ids[SUBMITTED], format=FORMAT)
        if header.position < 0:  # nothing is folded yet, so nothing contradicts another input
            known, header = None, replace(header, input_topic=topic_ids[SUBMITTED])
        reason = partitions_differ(known.partitions, partitions) if known else None
        if reason is not None:
            raise Halt(f"the state {reason}")
        header = replace(header, partitions=partitions)
        reason = cannot_rebuild(header.log_offset + 1, found)
        if reason is not None:
            raise Halt(reason)
        applier = LogApplier(table, header)
        committed = reader.committed(SUBMITTED, partition) or 0
        delivered = max(committed - 1, header.delivered)
        delivered = _apply_log(reader, partition, applier, (start, end), delivered, stopped)
        decisions, _ = decisions_from(reader, partition, applier.header.position + 1, stopped)
        given_up, input_end, epoch = _check_input(
            reader, partition, applier.header, known, topic_ids[SUBMITTED], decisions
        )
    except BaseException:
        table.close()
        raise
    return Restored(table, applier, delivered, input_end, epoch, decisions, given_up)


def _differs(reader: Reader, partition: int, header: Header, found: FoundLog) -> str | None:
    """Why the table is not a fold of the log that Kafka has, or None if it is."""
    if header.format != FORMAT:
        return f"the state's format is {header.format}, not {FORMAT}"
    crc = None
    if found.start <= header.log_offset < found.end:
        record = next(reader.read(LOG, partition, header.log_offset, header.log_offset + 1))
        crc = zlib.crc32(record.value)
    return log_differs(header, found._replace(crc=crc))


def _apply_log(
    reader: Reader,
    partition: int,
    applier: LogApplier,
    found: tuple[int, int],
    delivered: int,
    stopped: Callable[[], bool],
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
