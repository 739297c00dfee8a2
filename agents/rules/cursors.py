"""Folds receipts into cursors (R10), and says who is notified of what. Pure.

A cursor is the maximum of what the devices have claimed, so the order of receipts and repeats do
not matter. A receipt that equals its cursor is published again, since the first publication may
have been lost. A lower receipt changes nothing and is dropped.

A message that found no device connected is notified of once: NOTIFIED is a cursor, too. Reading
cancels (decision 60).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from schemas.events import (
    NOTIFIED,
    READ,
    RECEIVED,
    DeviceForgotten,
    Notification,
    NotificationRaised,
    NotificationsCancelled,
    Receipt,
    Unreached,
)
from schemas.frames import Mark

CursorId = tuple[str, str, str]
"""(conversation, user, device). The device may also be RECEIVED, READ or NOTIFIED
(schemas.events)."""


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
    (conversation, user) → whether the user's own devices need the mark, too. `notifications`, in
    order, must be in Kafka before the new values are."""

    changed: dict[CursorId, Cursor]
    published: dict[tuple[str, str], bool]
    notifications: list[Notification]


def fold_receipts(
    known: CursorView,
    items: Iterable[tuple[Receipt | DeviceForgotten | Unreached, int]],
    outcome: Outcome,
) -> None:
    """Fold receipts, each with the broker's time (ms) of its record, into `outcome`."""
    changed, published, notifications = outcome
    raised_of: defaultdict[tuple[str, str], set[CursorId]] = defaultdict(set)
    """Of each (user, device): a log-out looks at these only, and not at all that has changed."""
    forgotten: set[tuple[str, str]] = set()
    """Whose known cursors are deleted already."""

    def seq_of(cursor: CursorId) -> int:
        return (changed.get(cursor) or known.get(cursor))[0]

    for item, time in items:
        if isinstance(item, DeviceForgotten):
            device = item.user, item.device
            if device not in forgotten:
                forgotten.add(device)
                changed.update(dict.fromkeys(known.of_device(*device), NONE))
            changed.update(dict.fromkeys(raised_of.pop(device, ()), NONE))
            continue
        if isinstance(item, Unreached):
            if (raised := _raised(item, seq_of)) is not None:
                notifications.append(raised)
                changed[item.conversation, item.user, NOTIFIED] = Cursor(item.seq, time)
            continue
        cursors = [RECEIVED, READ, item.device] if item.read else [RECEIVED]
        for name in cursors:
            cursor = item.conversation, item.user, name
            seq = seq_of(cursor)
            if item.seq > seq:
                if name == READ and (over := _cancelled(item, seq, seq_of)) is not None:
                    notifications.append(over)
                changed[cursor] = Cursor(item.seq, time)
                if name == item.device:
                    raised_of[item.user, name].add(cursor)
            if item.seq >= seq and name in (RECEIVED, READ):
                place = item.conversation, item.user
                published[place] = published.get(place, False) or name == READ


def _raised(item: Unreached, seq_of: Callable[[CursorId], int]) -> NotificationRaised | None:
    """None if a device has the message meanwhile, or there is a notification of it."""
    read, received, notified = (
        seq_of((item.conversation, item.user, name)) for name in (READ, RECEIVED, NOTIFIED)
    )
    if item.seq <= max(read, received, notified):
        return None
    return NotificationRaised(
        item.conversation,
        item.user,
        item.sender,
        item.seq,
        item.time,
        item.seq - read,
        item.text,
    )


def _cancelled(
    item: Receipt, before: int, seq_of: Callable[[CursorId], int]
) -> NotificationsCancelled | None:
    """What is over when the user has read further than `before`. A claim counts up to the last
    message that there is a notification of."""
    notified = seq_of((item.conversation, item.user, NOTIFIED))
    if notified <= before:
        return None
    up_to = min(item.seq, notified)
    return NotificationsCancelled(item.conversation, item.user, up_to, notified - up_to)


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
