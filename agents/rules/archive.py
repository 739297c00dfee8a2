"""Rows of the archive from records, blocks of rows, and the offset to start from. Pure.

The archiver does not need rule R2. The sequencer's fold is a function of its input, so a late
append of a paused worker holds the same rows as the regular one, and ClickHouse merges repeated
rows. `messenger archive check` does read the log by R2, and compares.

A record of `cursors` stays true when a later one follows. Its row says how far a cursor was raised
and not from where, and a reader takes the earliest row that reaches a message. So rows may come
twice, in any order, or be missing after compaction.
"""

import zlib
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from schemas import events
from schemas.archive import DELETION, DELIVERED, MESSAGE, READ, CursorRow, Row

MAX_ROWS = 10_000
MAX_BYTES = 4 * 1024 * 1024
RECORD_BYTES = 512
"""What a gathered record takes in memory beside its value, in bytes. Records of `cursors` are small
and many."""

_KINDS = {events.RECEIVED: DELIVERED, events.READ: READ}

R = TypeVar("R")
"""`Row` or `CursorRow`."""


def message_rows(partition: int, offset: int, taken: Iterable[events.Taken]) -> list[Row]:
    """The rows of a log record: one for each message, none for a refusal. `partition` and `offset`
    name the record.

    A change has a row without a body, and its message another one with the new text. So no text
    stays that was changed or deleted.
    """
    rows = []
    for item in taken:
        if item.seq:
            changes = item.changes
            rows.append(
                Row(
                    item.conversation,
                    item.seq,
                    item.key,
                    item.sender,
                    item.device,
                    item.body if changes is None else "",
                    item.time,
                    MESSAGE,
                    partition,
                    offset,
                    0 if changes is None else changes.seq,
                )
            )
            if changes is not None:
                version = item.seq if item.body else DELETION + item.seq
                rows.append(
                    rows[-1]._replace(
                        seq=changes.seq,
                        key=changes.key,
                        body=item.body,
                        time=changes.time,
                        version=version,
                        changes=0,
                    )
                )
    return rows


def cursor_rows(record: events.CursorRecord) -> list[CursorRow]:
    """The row of a cursor, if the archive keeps that kind: neither a single device's cursor nor a
    deleted one has a row."""
    kind = _KINDS.get(record.device)
    if kind is None or not record.seq:
        return []
    return [CursorRow(record.conversation, record.user, kind, record.seq, record.time)]


class Block(NamedTuple, Generic[R]):
    """Rows of the records at offsets `first` to `last`, to be inserted together. `bytes` is what
    they take in memory; `crc` is computed from the records' values."""

    first: int
    last: int
    bytes: int
    crc: int
    rows: list[R]

    def token(self, topic: str, partition: int) -> str:
        """The insert token: ClickHouse skips a block whose token it knows.

        Every retry of this block has the same token and no other block has it. `topic` is the
        topic's id. The token contains the CRC because a topic that has lost its tail uses offsets
        again.
        """
        return f"{topic}/{partition}/{self.first}-{self.last}/{self.crc:08x}"


class _Gathered(NamedTuple, Generic[R]):
    offset: int
    value_crc: int
    bytes: int
    rows: list[R]


class Gathering(Generic[R]):
    """Collects rows of one partition into blocks of whole records.

    A block is due when it is full, or at the next multiple of `linger` seconds, so that all
    partitions insert at the same moment. `now` is a time in seconds.
    """

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self.bytes = 0
        self.count = 0
        self._records: list[_Gathered[R]] = []
        self._since = 0.0
        """When the oldest record was added, or the last block was taken."""

    def add(self, offset: int, value: bytes, rows: list[R], now: float) -> int:
        """Add the rows (maybe none) of the record at `offset`; returns the bytes they take."""
        if not self._records:
            self._since = now
        gathered = _Gathered(offset, zlib.crc32(value), len(value) + RECORD_BYTES, rows)
        self._records.append(gathered)
        self.count += len(rows)
        self.bytes += gathered.bytes
        return gathered.bytes

    def due(self, now: float) -> float:
        """Seconds until the next block is due; infinite if there are no records."""
        if not self._records:
            return float("inf")
        if self.count >= MAX_ROWS or self.bytes >= MAX_BYTES:
            return 0.0
        return max(0.0, (self._since // self._linger + 1) * self._linger - now)

    def take(self, now: float) -> Block[R]:
        """Remove and return the next block: as many records as fit, at least one."""
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
