"""A partition's state when it is assigned: checked against Kafka (R3), completed from the log (R1,
R2), or a reason to halt.

Blocking: runs in a thread and asks `stopped` between fetches.
"""

import logging
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from agents.rules.position import FoundInput, FoundLog, cannot_rebuild, input_differs, log_differs
from agents.sequencer.log_applier import Halt, LogApplier
from connectors.kafka.ports import OffsetGone
from connectors.kafka.reader import Reader
from schemas.topics import LOG, SUBMITTED
from streams.tables.rocks import RocksBudget
from streams.tables.sequences import FORMAT, Header, SequenceTable

log = logging.getLogger(__name__)

_WRITE_EVERY = 4000


class Stopped(Exception):
    """The partition was revoked while it was being restored."""


class Restored(NamedTuple):
    """`state` holds the log up to `fold.header`; everything up to input offset `delivered` has been
    delivered (R5)."""

    state: SequenceTable
    fold: LogApplier
    delivered: int


def restore(
    partition: int,
    folder: Path,
    budget: RocksBudget,
    reader: Reader,
    topic_ids: Mapping[str, str],
    stopped: Callable[[], bool],
) -> Restored:
    """The state of `partition`, kept in `folder`, up to the end of the log.

    `topic_ids` are Kafka's by topic name; `reader` is one of the worker's group, whose committed
    input offset is d + 1. Raises Halt, Stopped, ReadTimeout (try again).
    """
    state = SequenceTable(folder, budget)
    try:
        start, end = reader.watermarks(LOG, partition)
        header = state.header
        if header is not None:
            crc = _crc(reader, LOG, partition, header.log_offset, start, end)
            reason = log_differs(header, FoundLog(topic_ids[LOG], start, end, crc))
            if header.format != FORMAT:
                reason = f"the state's format is {header.format}, not {FORMAT}"
            if reason is not None:
                if cannot_rebuild(0, FoundLog(topic_ids[LOG], start, end, None)):
                    raise Halt(
                        f"{reason}, and cannot be rebuilt: it begins at offset {start} and there is no snapshot"
                    )
                log.warning(
                    "partition %d: %s; folding the log again from its start", partition, reason
                )
                state.close()
                SequenceTable.destroy(folder)
                state, header = SequenceTable(folder, budget), None
        known = header
        header = header or Header(topic_ids[LOG], topic_ids[SUBMITTED], format=FORMAT)
        reason = cannot_rebuild(header.log_offset + 1, FoundLog(topic_ids[LOG], start, end, None))
        if reason is not None:
            raise Halt(reason)
        fold = LogApplier(state, header)
        committed = reader.committed(SUBMITTED, partition) or 0
        delivered = _fold_log(reader, partition, fold, end, committed - 1, stopped)
        _check_input(reader, partition, fold.header, known, topic_ids[SUBMITTED])
    except BaseException:
        state.close()
        raise
    return Restored(state, fold, delivered)


def _fold_log(
    reader: Reader,
    partition: int,
    fold: LogApplier,
    end: int,
    delivered: int,
    stopped: Callable[[], bool],
) -> int:
    """Read the log from where the fold stands to `end`; returns d of R5, the largest that group,
    log or state know."""
    first = fold.header.log_offset + 1
    owed: deque[tuple[int, int]] = deque()
    redeliver_from, delivered = fold.header.redeliver_from, max(delivered, fold.header.delivered)
    try:
        for batch in reader.batches(LOG, partition, first, end, stopped):
            for record in batch:
                entry = fold.read(record)
                delivered = max(delivered, entry.delivered)
                owed.append((record.offset + 1, entry.to))
                if fold.unwritten >= _WRITE_EVERY:
                    fold.write(delivered, redeliver_from)
            while owed and owed[0][1] <= delivered:
                redeliver_from = owed.popleft()[0]
    except OffsetGone as error:
        raise Halt(f"the log expired while it was read: {error}") from None
    if stopped():
        raise Stopped
    while owed and owed[0][1] <= delivered:
        redeliver_from = owed.popleft()[0]
    fold.write(delivered, redeliver_from)
    return delivered


def _check_input(
    reader: Reader, partition: int, header: Header, known: Header | None, topic: str
) -> None:
    start, end = reader.watermarks(SUBMITTED, partition)
    fingerprint = None
    if start <= header.position < end:
        record = next(reader.read(SUBMITTED, partition, header.position, header.position + 1))
        fingerprint = record.timestamp, zlib.crc32(record.value)
    reason = input_differs(
        known.input_topic if known else None,
        header.position,
        (header.input_time, header.input_crc),
        FoundInput(topic, start, end, fingerprint),
    )
    if reason is not None:
        raise Halt(
            f"{reason}; numbers given from it would contradict the log. Restore {SUBMITTED}, or begin a new numbering: "
            "see docs/OPERATIONS.md"
        )


def _crc(
    reader: Reader, topic: str, partition: int, offset: int, start: int, end: int
) -> int | None:
    """CRC-32 of a record's value, None if it does not exist."""
    if not start <= offset < end:
        return None
    return zlib.crc32(next(reader.read(topic, partition, offset, offset + 1)).value)
