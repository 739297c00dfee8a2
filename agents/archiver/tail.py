"""Compares the last record that an archiver has read of the log with the log that Kafka has now.

A log that has lost its tail uses offsets again. If it grows past the archiver's offset before
anybody looks, the offset alone does not tell that other records stand below it.
"""

from typing import NamedTuple

from agents.rules.archive import message_rows
from connectors.kafka.ports import OffsetGone, Reader
from connectors.kafka.record import Record
from schemas.archive import Row
from schemas.codec import NewerVersion, Undecodable, decode_log
from schemas.topics import LOG
from streams.inputs import Inputs


class Tail(NamedTuple):
    """The last record that was read, and the last input offset that is covered up to it."""

    record: Record
    to: int


def read_tail(reader: Reader, partition: int, offset: int) -> Tail | None:
    """The tail of the log before an offset; None if Kafka has no record there, or one that cannot
    be decoded. Raises ReadTimeout, OffsetGone."""
    start, _ = reader.watermarks(LOG, partition)
    if offset <= start:
        return None
    record = next(reader.read(LOG, partition, offset - 1, offset))
    try:
        return Tail(record, decode_log(record.value).to)
    except (Undecodable, NewerVersion):
        return None


async def is_replaced(inputs: Inputs, partition: int, last: Record) -> bool:
    """Whether another record, or none, stands where the last one was read. Raises ReadTimeout."""
    if last.offset >= await inputs.end(LOG, partition):
        return True
    try:
        return (await inputs.record(LOG, partition, last.offset)).value != last.value
    except OffsetGone:  # it has expired
        return False


def row_before(reader: Reader, partition: int, offset: int, back: int) -> tuple[int, Row | None]:
    """Looks at the last `back` records before an offset, or at fewer if Kafka has fewer. Returns
    the offset of the first of them, and the last row of the first one that has rows. Raises
    ReadTimeout, OffsetGone."""
    start, _ = reader.watermarks(LOG, partition)
    first = min(max(offset - back, start), offset)
    for record in reader.read(LOG, partition, first, offset):
        try:
            rows = message_rows(partition, record.offset, decode_log(record.value).taken)
        except (Undecodable, NewerVersion):
            continue
        if rows:
            return first, rows[-1]
    return first, None
