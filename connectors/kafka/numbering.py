"""For how many partitions the log in Kafka was made. A process that is told another number would
look for conversations in other partitions, where they would be numbered from 1 again."""

import contextlib
from collections.abc import Iterator

from connectors.kafka.ports import KafkaUnreachable, OffsetGone, Reader, ReadTimeout
from schemas.codec import NewerVersion, Undecodable, decode_log
from schemas.events import LogRecord
from schemas.ids import partition_of
from schemas.numbering import partitions_differ
from schemas.topics import LOG

_TOGETHER_SECONDS = 5.0
_MAX_FAILURES = 3
"""Partitions that do not answer, before it is Kafka that does not: each costs a timeout."""


class LogDiffers(Exception):
    """The log was made for another number of partitions; the text says which."""


def require_partitions(reader: Reader, partitions: int) -> bool:
    """Whether the log says that it was made for so many partitions; False if there is no log yet,
    or an older version has written all of it. Raises LogDiffers if it was made for another number,
    KafkaUnreachable."""
    failures, answered = 0, False
    for number in _with_records(reader, partitions):
        try:
            entry = _last_entry(reader, number)
        except (ReadTimeout, OffsetGone) as error:
            failures += 1
            if failures == _MAX_FAILURES and not answered:
                raise KafkaUnreachable(f"nobody answers for the log: {error}") from None
            continue
        answered = True
        if entry is not None:
            _require(entry, number, partitions)
            if entry.partitions:
                return True
    return False


def _last_entry(reader: Reader, number: int) -> LogRecord | None:
    """The last record of a partition of the log; None if there is none, or if it cannot be decoded,
    which halts the partition later. Raises ReadTimeout, OffsetGone."""
    start, end = reader.watermarks(LOG, number)
    if start == end:
        return None
    with contextlib.suppress(NewerVersion, Undecodable):
        return decode_log(next(reader.read(LOG, number, end - 1, end)).value)
    return None


def _require(entry: LogRecord, number: int, partitions: int) -> None:
    reason = partitions_differ(entry.partitions, partitions)
    if reason is not None:
        raise LogDiffers(f"the log {reason}")
    for item in entry.taken:
        right = partition_of(item.conversation, partitions)
        if right != number:
            raise LogDiffers(
                f"the log has {item.conversation} in partition {number}, and of {partitions}"
                f" partitions it belongs to {right}: set MESSENGER_PARTITIONS to what the topics"
                " were created with"
            )


def _with_records(reader: Reader, partitions: int) -> Iterator[int]:
    """The partitions of the log that have a record, or may have one."""
    try:
        found = reader.all_watermarks(LOG, range(partitions), _TOGETHER_SECONDS)
    except ReadTimeout:  # one has no leader, perhaps
        yield from range(partitions)
        return
    yield from (number for number, (start, end) in found.items() if end > start)
