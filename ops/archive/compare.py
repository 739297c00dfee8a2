"""Compares the archive with its topics, and inserts what it lacks."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from connectors.clickhouse.admin import ArchiveAdmin
from connectors.kafka.reader import Reader
from ops.archive.log import chunks, log_rows, topic_cursors
from schemas.archive import CursorRow, Row
from schemas.topics import CURSORS, LOG

_EXAMPLES = 10
_RETRY_SECONDS = 1.0

R = TypeVar("R")


class Compared(NamedTuple):
    """Rows of the log that the archive lacks, holds more than once, or holds with other content."""

    missing: list[Row]
    twice: list[Row]
    different: list[Row]


def compare_rows(expected: Iterable[Row], found: Iterable[Row]) -> Compared:
    """Compare rows of the log with the rows that a reader of the archive finds for the same
    messages. The log partition and offset of a row do not count, and a message that was changed
    later, or erased, is right."""
    counts = Counter((row.conversation, row.seq) for row in found)
    rows = {(row.conversation, row.seq): row for row in found}
    missing, twice, different = [], [], []
    for row in expected:
        there = rows.get((row.conversation, row.seq))
        if there is None:
            missing.append(row)
        elif counts[row.conversation, row.seq] > 1:
            twice.append(row)
        elif there.version < row.version:
            missing.append(row)
        elif there.version == row.version and there != row._replace(
            log_partition=there.log_partition, log_offset=there.log_offset
        ):
            different.append(row)
    return Compared(missing, twice, different)


class Report:
    """Counts of all messages, and `examples` of the first faults."""

    def __init__(self) -> None:
        self.figures: Counter[str] = Counter(messages=0, missing=0, twice=0, different=0)
        self.examples: list[str] = []

    def add(self, kind: str, rows: Sequence[Row]) -> None:
        self.figures[kind] += len(rows)
        room = max(0, _EXAMPLES - len(self.examples))
        self.examples += [
            f"{kind}: {row.conversation}/{row.seq} (log {row.log_partition}/{row.log_offset})"
            for row in rows[:room]
        ]

    @property
    def clean(self) -> bool:
        return not (self.figures["missing"] or self.figures["twice"] or self.figures["different"])


def compare(
    reader: Reader,
    admin: ArchiveAdmin,
    partitions: int,
    patience: float,
    progress: Callable[[int], None],
) -> Report:
    """Look up every message that the log holds now. Missing ones are looked up again for `patience`
    seconds, since the archiver may be behind. Raises as log_rows and ArchiveAdmin do."""
    report = Report()
    missing: list[Row] = []
    for rows in _log(reader, partitions, progress):
        compared = compare_rows(rows, admin.found(_places(rows)))
        report.figures["messages"] += len(rows)
        missing += compared.missing
        report.add("twice", compared.twice)
        report.add("different", compared.different)
    report.add(
        "missing",
        _looked_for(
            missing,
            lambda chunk: compare_rows(chunk, admin.found(_places(chunk))).missing,
            patience,
        ),
    )
    return report


def fill(
    reader: Reader, admin: ArchiveAdmin, partitions: int, progress: Callable[[int], None]
) -> Report:
    """Insert every message of the log that the archive lacks; never replace one. In the report,
    `missing` counts the inserted messages."""
    report = Report()
    for rows in _log(reader, partitions, progress):
        compared = compare_rows(rows, admin.found(_places(rows)))
        report.figures["messages"] += len(rows)
        report.figures["missing"] += len(compared.missing)
        if compared.missing:
            admin.insert(compared.missing)
        report.add("twice", compared.twice)
        report.add("different", compared.different)
    return report


class CursorReport(NamedTuple):
    """How many cursors the topic has, and how many of them the archive lacks (or lacked before
    `fill_cursors`)."""

    cursors: int
    missing: int


def compare_cursors(
    reader: Reader,
    admin: ArchiveAdmin,
    partitions: int,
    since: int,
    patience: float,
    progress: Callable[[int], None],
) -> CursorReport:
    """Look up every cursor that the topic holds now, except those from before `since` (ms).
    Otherwise as `compare`."""
    found, missing = 0, []
    for rows in _cursors(reader, partitions, since, progress):
        found += len(rows)
        missing += admin.lacking(rows)
    return CursorReport(found, len(_looked_for(missing, admin.lacking, patience)))


def fill_cursors(
    reader: Reader,
    admin: ArchiveAdmin,
    partitions: int,
    since: int,
    progress: Callable[[int], None],
) -> CursorReport:
    """Insert every such cursor that the archive lacks. Raises as `compare` does."""
    found = filled = 0
    for rows in _cursors(reader, partitions, since, progress):
        missing = admin.lacking(rows)
        if missing:
            admin.insert_cursors(missing)
        found, filled = found + len(rows), filled + len(missing)
    return CursorReport(found, filled)


def _looked_for(missing: list[R], look: Callable[[list[R]], list[R]], patience: float) -> list[R]:
    """The rows that `look` still reports as missing after `patience` seconds."""
    until = time.monotonic() + patience
    while missing and time.monotonic() < until:
        time.sleep(_RETRY_SECONDS)
        missing = [row for chunk in chunks([missing]) for row in look(chunk)]
    return missing


def _log(reader: Reader, partitions: int, progress: Callable[[int], None]) -> Iterable[list[Row]]:
    ends = {partition: reader.watermarks(LOG, partition)[1] for partition in range(partitions)}
    for partition, end in ends.items():
        yield from log_rows(reader, partition, end, progress)


def _cursors(
    reader: Reader, partitions: int, since: int, progress: Callable[[int], None]
) -> Iterable[list[CursorRow]]:
    for partition in range(partitions):
        yield from topic_cursors(
            reader, partition, reader.watermarks(CURSORS, partition)[1], since, progress
        )


def _places(rows: Sequence[Row]) -> list[tuple[str, int]]:
    return [(row.conversation, row.seq) for row in rows]
