"""Folds receipts into cursors (R10). Pure.

A cursor is the maximum of what the devices have claimed, so the order of receipts and repeats do
not matter. A receipt that equals its cursor is published again, since the first publication may
have been lost. A lower receipt changes nothing and is dropped.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from schemas.events import READ, RECEIVED, DeviceForgotten, Receipt
from schemas.frames import Mark

CursorId = tuple[str, str, str]
"""(conversation, user, device). The device may also be RECEIVED or READ (schemas.events)."""


class Cursor(NamedTuple):
    """A cursor stands at `seq`, 0 for none. `time` (ms) is the broker's time of the receipt that
    raised it."""

    seq: int
    time: int


NONE = Cursor(0, 0)


class CursorView(Protocol):
    """The cursors before the fold: the table, or a twin in memory."""

    def get(self, cursor: CursorId) -> tuple[int, int]:
        """The fields of a Cursor; zeros if there is none."""

    def of_device(self, user: str, device: str) -> Iterable[CursorId]:
        """All cursors of this device of the user."""


class Outcome(NamedTuple):
    """`changed`: the new values of cursors (seq 0: delete it). `published`: the marks to publish,
    (conversation, user) → whether the user's own devices need the mark, too."""

    changed: dict[CursorId, Cursor]
    published: dict[tuple[str, str], bool]


def fold_receipts(
    known: CursorView, items: Iterable[tuple[Receipt | DeviceForgotten, int]], outcome: Outcome
) -> None:
    """Fold receipts, each with the broker's time (ms) of its record, into `outcome`."""
    changed, published = outcome
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
                published[place] = published.get(place, False) or name == READ


def is_late(cursor: Cursor, known: Cursor) -> bool:
    """Whether a record of the topic `cursors` is to be left out, because a later one is known. A
    paused owner may wake and append a cursor that is lower than its successor's."""
    return 0 < cursor.seq < known.seq


def mark_of(known: CursorView, conversation: str, user: str) -> Mark:
    """The `mark` frame for a user's cursors in a conversation."""
    received, read = (
        known.get((conversation, user, RECEIVED)),
        known.get((conversation, user, READ)),
    )
    return Mark(conversation, user, received[0], received[1], read[0], read[1])
