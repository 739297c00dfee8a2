"""What goes into the archive, in what blocks, and from where on: pure.

The fold is a function of the input, so whoever numbered a message, its row is the same. A late
append, or one beyond a hole, is no case of its own here: its rows are right, and repeats change
nothing. So the archiver needs no position of R2, which it would have to find again after every
restart; `messenger archive check` reads by R2 and compares.

A record of `cursors` is true whoever wrote it, and stays true when another follows. Its row says up
to where, not from where on: a reader takes the earliest that reaches a message. So rows may come
twice, in any order, or never (compaction).
"""

import zlib
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from schemas import events
from schemas.archive import DELIVERED, MESSAGE, READ, CursorRow, Row

MAX_ROWS = 10_000
MAX_BYTES = 4 * 1024 * 1024
RECORD_BYTES = 512
"""What a record holds in memory beside its value: records of `cursors` are small and many."""

_KINDS = {events.RECEIVED: DELIVERED, events.READ: READ}

R = TypeVar("R")
"""A row of the table in question."""


class Start(NamedTuple):
    """Read the topic from `offset` on. `lost`: how many records have expired before they were
    archived."""

    offset: int
    lost: int


def start_at(committed: int | None, start: int, end: int) -> Start:
    """Where to go on, given the group's offset and what Kafka has. A topic that is shorter than
    that is another one, or has lost its tail: all of it is read again."""
    if committed is None or committed > end:
        return Start(start, 0)
    return Start(max(committed, start), max(0, start - committed))


def message_rows(partition: int, offset: int, taken: Iterable[events.Taken]) -> list[Row]:
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


def cursor_rows(record: events.CursorRecord) -> list[CursorRow]:
    """The row of a cursor that was raised. What a single device has read has none, nor has what is
    forgotten."""
    kind = _KINDS.get(record.device)
    if kind is None or not record.seq:
        return []
    return [CursorRow(record.conversation, record.user, kind, record.seq, record.time)]


class Block(NamedTuple, Generic[R]):
    """Rows of consecutive records first..last, which hold `bytes` bytes, to be inserted together.
    `crc` is of their values."""

    first: int
    last: int
    bytes: int
    crc: int
    rows: list[R]

    def token(self, topic: str, partition: int) -> str:
        """The same for every retry of this block, and no other block's: ClickHouse leaves out what
        comes by a token it knows. `topic` is the topic's id; the values are in it since a topic
        that has lost its tail uses offsets again."""
        return f"{topic}/{partition}/{self.first}-{self.last}/{self.crc:08x}"


class _Gathered(NamedTuple, Generic[R]):
    offset: int
    value_crc: int
    bytes: int
    rows: list[R]


class Gathering(Generic[R]):
    """Rows not yet given out, in the order of their topic, whole records at a time. A block goes
    out when it is full, or with the next multiple of `linger` seconds, which is the same for all
    partitions. `now` in seconds."""

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self.bytes = 0
        self.count = 0
        self._records: list[_Gathered[R]] = []
        self._since = 0.0
        """When the oldest came, or the last block went out."""

    def add(self, offset: int, value: bytes, rows: list[R], now: float) -> int:
        """The rows (maybe none) of the record at `offset`; how many bytes they hold."""
        if not self._records:
            self._since = now
        gathered = _Gathered(offset, zlib.crc32(value), len(value) + RECORD_BYTES, rows)
        self._records.append(gathered)
        self.count += len(rows)
        self.bytes += gathered.bytes
        return gathered.bytes

    def due(self, now: float) -> float:
        """Seconds until the next block should go out, 0 if now, infinite if there is nothing."""
        if not self._records:
            return float("inf")
        if self.count >= MAX_ROWS or self.bytes >= MAX_BYTES:
            return 0.0
        return max(0.0, (self._since // self._linger + 1) * self._linger - now)

    def take(self, now: float) -> Block[R]:
        """The next block: as many records as fit, at least one."""
        taken, count, size, crc = 0, 0, 0, 0
        for record in self._records:
            if taken and (count + len(record.rows) > MAX_ROWS or size + record.bytes > MAX_BYTES):
                break
            taken, count, size = taken + 1, count + len(record.rows), size + record.bytes
            crc = zlib.crc32(record.value_crc.to_bytes(4), crc)
        records, self._records = self._records[:taken], self._records[taken:]
        self.count -= count
        self.bytes -= size
        self._since = now
        return Block(
            records[0].offset,
            records[-1].offset,
            size,
            crc,
            [row for record in records for row in record.rows],
        )
