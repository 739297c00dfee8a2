"""The rows the log stands for, read by rule R2."""

from collections.abc import Callable, Iterator

from agents.rules.archive import rows_of
from agents.rules.log import Verdict, judge, news
from connectors.kafka.reader import Reader
from schemas.archive import Row
from schemas.codec import decode_log
from schemas.events import LogRecord, Taken
from schemas.topics import LOG

_CHUNK = 5_000


def log_rows(reader: Reader, partition: int, end: int, progress: Callable[[int], None]) -> Iterator[list[Row]]:
    """The rows of a partition's log from its first record to before `end`, some thousand at a time. `progress(records)` is
    called as records are read. Raises ReadTimeout, OffsetGone, NewerVersion, Undecodable."""
    start, _ = reader.watermarks(LOG, partition)
    position: int | None = -1 if start == 0 else None
    chunk: list[Row] = []
    for batch in reader.batches(LOG, partition, start, end):
        progress(len(batch))
        for record in batch:
            entry = decode_log(record.value)
            fresh, position = _by_r2(position, entry)
            chunk += rows_of(partition, record.offset, fresh)
        while len(chunk) >= _CHUNK:
            yield chunk[:_CHUNK]
            chunk = chunk[_CHUNK:]
    if chunk:
        yield chunk


def _by_r2(position: int | None, entry: LogRecord) -> tuple[list[Taken], int]:
    """What a record brings beyond `position`, and the position after it. None: whatever is first is the beginning."""
    if position is None:
        return entry.taken, entry.to
    if judge(position, entry) is not Verdict.TAKE:
        return [], position
    return news(position, entry), entry.to
