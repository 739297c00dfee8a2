"""What is archived: a topic, and how its records become rows of a table."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple

from agents.rules.archive import R, cursor_rows, message_rows
from connectors.clickhouse.archive import Archive
from schemas import topics
from schemas.archive import CursorRow, Row
from schemas.codec import decode_cursor, decode_log


class Content(NamedTuple, Generic[R]):
    """`rows(partition, offset, value)` of a record raises NewerVersion, Undecodable; `insert` is
    one of Archive's. A block waits at most `linger` seconds for more rows, and for those of other
    partitions. Offsets of a `compacted` topic have gaps."""

    topic: str
    linger: float
    rows: Callable[[int, int, bytes], list[R]]
    insert: Callable[[Archive, Sequence[R], str], Awaitable[None]]
    compacted: bool


def _message_rows(partition: int, offset: int, value: bytes) -> list[Row]:
    return message_rows(partition, offset, decode_log(value).taken)


def _cursor_rows(partition: int, offset: int, value: bytes) -> list[CursorRow]:
    return cursor_rows(decode_cursor(value))


MESSAGES = Content(
    topics.LOG,
    0.8,
    _message_rows,
    lambda archive, rows, token: archive.insert(rows, token),
    compacted=False,
)
CURSORS = Content(
    topics.CURSORS,
    3.0,
    _cursor_rows,
    lambda archive, rows, token: archive.insert_cursors(rows, token),
    compacted=True,
)
"""Nobody waits for them, and fewer blocks are less work for ClickHouse."""
