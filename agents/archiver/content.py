"""What is archived: a topic, and how its records become rows of a table."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple

from agents.rules.archive import R, cursor_rows, message_rows
from connectors.clickhouse.ports import Archive
from schemas import topics
from schemas.archive import CursorRow, Row
from schemas.codec import decode_cursor, decode_log


class Found(NamedTuple, Generic[R]):
    """What a record holds: rows, and the first and the last input offset that it covers, if it is
    of the log."""

    rows: list[R]
    inputs: tuple[int, int] | None


class Content(NamedTuple, Generic[R]):
    """`read(partition, offset, value)` of a record raises NewerVersion, Undecodable; `insert` is
    one of Archive's. A block waits at most `linger` seconds for more rows, and for those of other
    partitions. Offsets of a `compacted` topic have gaps."""

    topic: str
    linger: float
    read: Callable[[int, int, bytes], Found[R]]
    insert: Callable[[Archive, Sequence[R], str], Awaitable[None]]
    compacted: bool


def _messages(partition: int, offset: int, value: bytes) -> Found[Row]:
    entry = decode_log(value)
    return Found(message_rows(partition, offset, entry.taken), (entry.from_, entry.to))


def _cursors(partition: int, offset: int, value: bytes) -> Found[CursorRow]:
    return Found(cursor_rows(decode_cursor(value)), None)


_LINGER_SECONDS = 1.5
"""Kafka collects before (FETCH in agents/archiver/stage.py), but only up to 256 KiB: under load
this makes inserts few. Each costs ClickHouse as much as thousands of rows."""

MESSAGES = Content(
    topics.LOG,
    _LINGER_SECONDS,
    _messages,
    lambda archive, rows, token: archive.insert(rows, token),
    compacted=False,
)
CURSORS = Content(
    topics.CURSORS,
    _LINGER_SECONDS,
    _cursors,
    lambda archive, rows, token: archive.insert_cursors(rows, token),
    compacted=True,
)
