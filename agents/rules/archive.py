"""What goes into the archive, in what blocks, and from where on: pure.

The fold is a function of the input, so whoever numbered a message, its row is the same. A late append, or one beyond a hole, is
no case of its own here: its rows are right, and repeats change nothing. So the archiver needs no position of R2, which it would
have to find again after every restart; `messenger archive check` reads by R2 and compares.
"""

import zlib
from collections.abc import Iterable
from typing import NamedTuple

from schemas.archive import MESSAGE, Row
from schemas.events import Taken

MAX_ROWS = 10_000
MAX_BYTES = 4 * 1024 * 1024
LINGER_SECONDS = 0.7
"""A block goes out when it is full, or when its oldest row has waited so long."""


class Start(NamedTuple):
    """Read the log from `offset` on. `lost`: how many records have expired before they were archived."""

    offset: int
    lost: int


def start_at(committed: int | None, start: int, end: int) -> Start:
    """Where to go on, given the group's offset and what Kafka has. A log that is shorter than that is another one, or has
    lost its tail: all of it is read again."""
    if committed is None or committed > end:
        return Start(start, 0)
    return Start(max(committed, start), max(0, start - committed))


def rows_of(partition: int, offset: int, taken: Iterable[Taken]) -> list[Row]:
    """The rows of what the log record at `offset` brings. Refusals have none."""
    return [
        Row(
            item.conversation,
            item.seq,
            item.key,
            item.sender,
            item.device,
            item.body,
            item.time,
            MESSAGE,
            partition,
            offset,
        )
        for item in taken
        if item.seq
    ]


class Block(NamedTuple):
    """Rows of consecutive log records first..last, whose values have `bytes` bytes, to be inserted together."""

    first: int
    last: int
    bytes: int
    rows: list[Row]

    def token(self, log: str, partition: int) -> str:
        """The same for every retry of this block, and no other block's: ClickHouse leaves out what comes by a token it knows.
        `log` is the topic's id; keys are in it since a log that has lost its tail uses offsets again."""
        keys = zlib.crc32(b"".join([row.key for row in self.rows]))
        return f"{log}/{partition}/{self.first}-{self.last}/{keys:08x}"


class Gathering:
    """Rows not yet given out, in log order, whole records at a time. `now` in seconds."""

    def __init__(self) -> None:
        self.bytes = 0
        self.count = 0
        self._records: list[tuple[int, list[Row], int]] = []
        self._since = 0.0

    def add(self, offset: int, rows: list[Row], size: int, now: float) -> None:
        """The rows (maybe none) of the record at `offset`, whose value has `size` bytes."""
        if not self._records:
            self._since = now
        self._records.append((offset, rows, size))
        self.count += len(rows)
        self.bytes += size

    def due(self, now: float) -> float:
        """Seconds until the next block should go out, 0 if now, infinite if there is nothing."""
        if not self._records:
            return float("inf")
        if self.count >= MAX_ROWS or self.bytes >= MAX_BYTES:
            return 0.0
        return max(0.0, self._since + LINGER_SECONDS - now)

    def take(self, now: float) -> Block:
        """The next block: as many records as fit, at least one."""
        taken, rows, size = 0, 0, 0
        for _, found, bytes_ in self._records:
            if taken and (rows + len(found) > MAX_ROWS or size + bytes_ > MAX_BYTES):
                break
            taken, rows, size = taken + 1, rows + len(found), size + bytes_
        records, self._records = self._records[:taken], self._records[taken:]
        self.count -= rows
        self.bytes -= size
        self._since = now
        return Block(records[0][0], records[-1][0], size, [row for _, found, _ in records for row in found])
