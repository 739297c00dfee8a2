"""The log by number (R9): pages of a conversation from its log records, found by the index in the
state.

What it says is the fold of the log, so it is true whoever says it; a worker that has lost the
partition merely knows less.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from agents.rules.fanout import message_frame
from connectors.kafka.ports import OffsetGone
from connectors.kafka.record import Record
from schemas.codec import decode_log
from schemas.events import Taken
from schemas.frames import MAX_HEADS, MAX_PAGE_MESSAGES
from schemas.worker_api import MAX_PAGE_BYTES, Newest, RangeGone


class Page(NamedTuple):
    """Finished `message` frames after+1, after+2 … without a hole; `known` is the last seq there is
    as far as we know."""

    known: int
    frames: list[bytes]


class LastSeqs(Protocol):
    """What the state knows of conversations."""

    def seq(self, conversation: str) -> int: ...

    def conversations(self, user: str, after: str, until: str) -> Iterator[str]: ...


class Places(LastSeqs, Protocol):
    """And of when and where in the log their messages are."""

    def newest(self, conversation: str) -> tuple[int, int]: ...

    def places(self, conversation: str, after: int, limit: int) -> list[int]: ...


Taking = Mapping[str, Sequence[Taken]]
"""What a log record brings: conversation → taken ordinals, in order."""


def by_conversation(record: Record) -> Taking:
    """A log record, read."""
    taking: dict[str, list[Taken]] = {}
    for item in decode_log(record.value).taken:
        taking.setdefault(item.conversation, []).append(item)
    return taking


class RecordCache:
    """Log records lately asked for, within `budget` bytes of their values: devices that come back
    together have missed the same ones, and each holds messages of hundreds of conversations."""

    def __init__(self, budget: int = 16 * 1024 * 1024) -> None:
        self._budget = budget
        self._held: OrderedDict[tuple[int, int], tuple[Taking, int]] = OrderedDict()
        self._bytes = 0

    def get(self, partition: int, offset: int) -> Taking | None:
        held = self._held.get((partition, offset))
        if held is None:
            return None
        self._held.move_to_end((partition, offset))
        return held[0]

    def put(self, record: Record) -> Taking:
        taking = by_conversation(record)
        _, replaced = self._held.pop((record.partition, record.offset), ({}, 0))
        self._held[record.partition, record.offset] = taking, len(record.value)
        self._bytes += len(record.value) - replaced
        while self._bytes > self._budget:
            self._bytes -= self._held.popitem(last=False)[1][1]
        return taking


class RecordAccess(Protocol):
    async def read_records(self, offsets: Sequence[int]) -> list[Taking]:
        """The log's records at these offsets. Raises ReadTimeout, OffsetGone."""


def find_heads(
    state: LastSeqs, user: str, after: str, until: str, cursors: Mapping[str, int]
) -> dict[str, int]:
    """Of one partition's part of a HeadsQuestion: those that have gone on after their cursor, the
    first MAX_HEADS by name."""
    heads: dict[str, int] = {}
    for conversation in state.conversations(user, after, until):
        seq = state.seq(conversation)
        if seq > cursors.get(conversation, 0):
            heads[conversation] = seq
            if len(heads) == MAX_HEADS:
                break
    return heads


def find_newest(
    state: Places, user: str, limit: int, before: tuple[int, str] | None
) -> list[Newest]:
    """Of one partition's part of a NewestQuestion: newest first."""
    found = (
        Newest(time, conversation, seq)
        for conversation in state.conversations(user, "", "")
        for seq, time in (state.newest(conversation),)
        if before is None or (time, conversation) < before
    )
    return heapq.nlargest(limit, found)


async def read_page(
    state: Places, access: RecordAccess, conversation: str, after: int, limit: int
) -> Page:
    """A page of at most `limit` messages after `after`. Raises RangeGone, ReadTimeout."""
    known = state.seq(conversation)
    if known <= after:
        return Page(known, [])
    limit = min(limit, MAX_PAGE_MESSAGES)
    try:
        records = await access.read_records(state.places(conversation, after, limit))
    except OffsetGone:
        raise RangeGone(f"{conversation} after {after}") from None
    frames: list[bytes] = []
    size = 0
    for record in records:
        for item in record.get(conversation, ()):
            if item.seq != after + len(frames) + 1 or len(frames) >= limit:
                continue
            frame = message_frame(item)
            size += len(frame)
            if frames and size > MAX_PAGE_BYTES:
                return Page(known, frames)
            frames.append(frame)
    if not frames:
        raise RangeGone(f"{conversation} after {after}")
    return Page(known, frames)
