"""Receipts into cursors (R10): a cursor is a claim of devices, raised to the maximum of all claims
and never lowered. Pure.

Whatever order receipts come in, and however often, the cursors are the same. One that equals its
cursor is told again: the telling may have been lost. A lower one is old news.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from schemas.events import READ, RECEIVED, CursorRecord, DeviceForgotten, Receipt
from schemas.frames import Mark

CursorId = tuple[str, str, str]
"""(conversation, user, device, or RECEIVED, or READ)."""


class Cursor(NamedTuple):
    """`time` in ms, the broker's, of the receipt that raised it; seq 0: none."""

    seq: int
    time: int


NONE = Cursor(0, 0)


class Known(Protocol):
    """The cursors so far."""

    def get(self, cursor: CursorId) -> tuple[int, int]:
        """The fields of a Cursor, zeros if there is none."""

    def of_device(self, user: str, device: str) -> Iterable[CursorId]:
        """The cursors that are kept by this device."""


class Outcome(NamedTuple):
    """`changed`: cursors as they are now (seq 0: forgotten). `told`: (conversation, user) whose
    marks are to be told, and whether the user's own devices need them."""

    changed: dict[CursorId, Cursor]
    told: dict[tuple[str, str], bool]


def fold_receipts(
    known: Known, items: Iterable[tuple[Receipt | DeviceForgotten, int]], outcome: Outcome
) -> None:
    """Fold receipts, each with the broker's time of its record, adding to `outcome`."""
    changed, told = outcome
    for item, time in items:
        if isinstance(item, DeviceForgotten):
            changed.update(dict.fromkeys(known.of_device(item.user, item.device), NONE))
            changed.update(
                {cursor: NONE for cursor in changed if cursor[1:] == (item.user, item.device)}
            )
            continue
        cursors = [RECEIVED, READ, item.device] if item.read else [RECEIVED]
        for name in cursors:
            cursor = item.conversation, item.user, name
            seq = (changed.get(cursor) or known.get(cursor))[0]
            if item.seq > seq:
                changed[cursor] = Cursor(item.seq, time)
            if item.seq >= seq and name in (RECEIVED, READ):
                place = item.conversation, item.user
                told[place] = told.get(place, False) or name == READ


def fold_kept(
    known: Known,
    records: Iterable[CursorRecord],
    changed: dict[CursorId, Cursor],
    outdone: dict[CursorId, Cursor],
) -> None:
    """Fold records of the topic `cursors`, adding to `changed`, and to `outdone` the cursors that a
    lower record came after.

    An owner that was paused may append what it had folded after its successor went further, and
    compaction would keep that: what is outdone at the end has to be written again.
    """
    for record in records:
        cursor, value = (
            (record.conversation, record.user, record.device),
            Cursor(record.seq, record.time),
        )
        now = changed.get(cursor) or Cursor(*known.get(cursor))
        if 0 < value.seq < now.seq:
            outdone[cursor] = now
        else:
            changed[cursor] = value
            outdone.pop(cursor, None)


def mark_of(known: Known, conversation: str, user: str) -> Mark:
    """What is told of a user's cursors in a conversation."""
    received, read = (
        known.get((conversation, user, RECEIVED)),
        known.get((conversation, user, READ)),
    )
    return Mark(conversation, user, received[0], received[1], read[0], read[1])
