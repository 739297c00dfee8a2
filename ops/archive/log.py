"""Rows of the archive, made from the topics: the log, read by rule R2, and the cursors."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from agents.rules.archive import cursor_rows, message_rows
from agents.rules.log import Verdict, judge, news
from connectors.kafka.reader import Reader
from schemas.archive import CursorRow, Row
from schemas.codec import decode_cursor, decode_log
from schemas.events import LogRecord, Taken
from schemas.topics import CURSORS, LOG

_CHUNK = 5_000

R = TypeVar("R")


def log_rows(
    reader: Reader, partition: int, end: int, progress: Callable[[int], None]
) -> Iterator[list[Row]]:
    """The rows of a partition's log from its first record to before offset `end`, some thousand at
    a time. Calls `progress` with the number of records read. Raises ReadTimeout, OffsetGone,
    NewerVersion, Undecodable."""
    start, _ = reader.watermarks(LOG, partition)

    def batches() -> Iterator[list[Row]]:
        position: int | None = -1 if start == 0 else None
        for batch in reader.batches(LOG, partition, start, end):
            progress(len(batch))
            for record in batch:
                entry = decode_log(record.value)
                fresh, position = _by_r2(position, entry)
                yield message_rows(partition, record.offset, fresh)

    return chunks(batches())


def topic_cursors(
    reader: Reader, partition: int, end: int, since: int, progress: Callable[[int], None]
) -> Iterator[list[CursorRow]]:
    """The rows of a partition of `cursors` before offset `end`, without those from before `since`
    (ms). Otherwise as log_rows."""
    start, _ = reader.watermarks(CURSORS, partition)

    def batches() -> Iterator[list[CursorRow]]:
        for batch in reader.batches(CURSORS, partition, start, end):
            progress(len(batch))
            rows = (row for record in batch for row in cursor_rows(decode_cursor(record.value)))
            yield [row for row in rows if row.time >= since]

    return chunks(batches())


def chunks(batches: Iterable[list[R]]) -> Iterator[list[R]]:
    """The same rows in lists of _CHUNK, the size of one question to ClickHouse."""
    chunk: list[R] = []
    for batch in batches:
        chunk += batch
        while len(chunk) >= _CHUNK:
            yield chunk[:_CHUNK]
            chunk = chunk[_CHUNK:]
    if chunk:
        yield chunk


def _by_r2(position: int | None, entry: LogRecord) -> tuple[list[Taken], int]:
    """The taken ordinals of a record beyond input position `position`, and the position after it.
    None: the first record, whatever it covers, is the beginning."""
    if position is None:
        return entry.taken, entry.to
    if judge(position, entry) is not Verdict.TAKE:
        return [], position
    return news(position, entry), entry.to
