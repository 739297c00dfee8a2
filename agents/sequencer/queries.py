"""What the state says to gateways: pages of a conversation (R9), and what a user has missed.

A page is cut from the log records that the table names. What it says is the fold of the log, so it
is true whoever says it; a worker that has lost the partition merely knows less.

A user may have many thousands of conversations: whatever walks over them gives the loop back after
each slice, and stops once the table is `gone`.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from agents.rules.fanout import current_frame
from connectors.kafka.ports import OffsetGone
from connectors.kafka.record import Record
from schemas.codec import decode_log
from schemas.events import Taken
from schemas.frames import MAX_HEADS, MAX_PAGE_MESSAGES
from schemas.worker_api import MAX_PAGE_BYTES, Newest, RangeGone

T = TypeVar("T")

SLICE = 500
"""Rows of the table that are read at once: one or two milliseconds."""


class Page(NamedTuple):
    """Finished `message` frames after+1, after+2 … without a hole, each as its last change says.
    `known` is the last seq of the conversation, as far as this worker knows, and `changed` that of
    its last change."""

    known: int
    frames: list[bytes]
    changed: int = 0


class LastSeqs(Protocol):
    """What the state knows of conversations; see streams/tables/sequences.py."""

    def seq(self, conversation: str) -> int: ...

    def conversations(self, user: str, after: str, until: str) -> Iterator[str]: ...


class Places(LastSeqs, Protocol):
    """And when they were last written to, and where in the log their messages are."""

    def newest(self, conversation: str) -> tuple[int, int]: ...

    def places(self, conversation: str, after: int, limit: int) -> list[int]: ...

    def changes(self, conversation: str, first: int, last: int) -> dict[int, tuple[int, int]]: ...

    def last_change(self, conversation: str) -> int: ...


TakenByConversation = Mapping[str, Sequence[Taken]]
"""What a log record brings: conversation → taken ordinals, in order."""


def by_conversation(record: Record) -> TakenByConversation:
    """What a log record brings."""
    found: dict[str, list[Taken]] = {}
    for item in decode_log(record.value).taken:
        found.setdefault(item.conversation, []).append(item)
    return found


class LogRecords(Protocol):
    async def read_records(self, offsets: Sequence[int]) -> list[TakenByConversation]:
        """The log's records at these offsets. Raises ReadTimeout, OffsetGone."""


class TableGone(Exception):
    """The table was closed while it was read."""


async def in_slices(rows: Iterable[T], gone: Callable[[], bool]) -> AsyncIterator[list[T]]:
    """The rows, SLICE at a time; between them the loop does other things. Raises TableGone."""
    some: list[T] = []
    for row in rows:
        some.append(row)
        if len(some) == SLICE:
            yield some
            some = []
            await asyncio.sleep(0)
            if gone():
                raise TableGone
    yield some


async def find_heads(
    state: LastSeqs,
    gone: Callable[[], bool],
    user: str,
    span: tuple[str, str],
    cursors: Mapping[str, int],
) -> dict[str, int]:
    """One partition's part of a HeadsAnswer: of the conversations after span[0] up to span[1],
    those that have gone on after their cursor, the first MAX_HEADS by name. Raises TableGone."""
    heads: dict[str, int] = {}
    async for conversations in in_slices(state.conversations(user, *span), gone):
        for conversation in conversations:
            seq = state.seq(conversation)
            if seq > cursors.get(conversation, 0):
                heads[conversation] = seq
                if len(heads) == MAX_HEADS:
                    return heads
    return heads


async def find_newest(
    state: Places,
    gone: Callable[[], bool],
    user: str,
    limit: int,
    before: tuple[int, str] | None,
) -> list[Newest]:
    """One partition's part of a NewestAnswer: newest first. Raises TableGone."""
    found: list[Newest] = []
    async for conversations in in_slices(state.conversations(user, "", ""), gone):
        for conversation in conversations:
            seq, time = state.newest(conversation)
            if before is None or (time, conversation) < before:
                found.append(Newest(time, conversation, seq))
        found = heapq.nlargest(limit, found)
    return found


async def read_page(
    state: Places, log: LogRecords, conversation: str, after: int, limit: int
) -> Page:
    """A page of at most `limit` messages after `after`. Raises RangeGone, ReadTimeout."""
    known, changed = state.seq(conversation), state.last_change(conversation)
    if known <= after:
        return Page(known, [], changed)
    limit = min(limit, MAX_PAGE_MESSAGES)
    places = state.places(conversation, after, limit)
    changes = state.changes(conversation, after + 1, after + limit) if changed > after else {}
    try:
        items = _in_order(await log.read_records(places), conversation, after, limit)
        for item in items if changed > after else ():
            if item.changes is not None:
                changes |= state.changes(conversation, item.changes.seq, item.changes.seq)
        last = await _last_changes(log, conversation, changes)
    except OffsetGone:
        raise RangeGone(f"{conversation} after {after}") from None
    frames: list[bytes] = []
    size = 0
    for item in items:
        frame = current_frame(item, last.get(item.changes.seq if item.changes else item.seq))
        size += len(frame)
        if frames and size > MAX_PAGE_BYTES:
            break
        frames.append(frame)
    if not frames:
        raise RangeGone(f"{conversation} after {after}")
    return Page(known, frames, changed)


def _in_order(
    records: Iterable[TakenByConversation], conversation: str, after: int, limit: int
) -> list[Taken]:
    """The messages after+1, after+2 … of these records, at most `limit`."""
    items: list[Taken] = []
    for record in records:
        for item in record.get(conversation, ()):
            if item.seq == after + len(items) + 1 and len(items) < limit:
                items.append(item)
    return items


async def _last_changes(
    log: LogRecords, conversation: str, changes: Mapping[int, tuple[int, int]]
) -> dict[int, Taken]:
    """Number of a message → its last change, from (number, log offset) of these changes."""
    if not changes:
        return {}
    records = await log.read_records(sorted({offset for _, offset in changes.values()}))
    found = {item.seq: item for record in records for item in record.get(conversation, ())}
    return {seq: found[number] for seq, (number, _) in changes.items()}
