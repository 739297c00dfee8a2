"""Of which messages somebody may have to be notified (decision 60). Pure."""

from collections.abc import Iterable

from schemas.events import Taken, Unreached
from schemas.ids import members_of_valid

OLDEST_MS = 24 * 3600 * 1000
"""Nobody is notified of an older message: not by a notifier that was away for so long, and not by
one that reads the log for the first time."""


def to_look_at(taken: Iterable[Taken], now: int, most: int) -> list[Unreached]:
    """What holds of the messages of a log record if their recipients have no device connected, at
    `now` in ms. `most` characters of a text go along. A change of a message and a refusal are no
    messages."""
    return [
        Unreached(
            item.conversation,
            _recipient(item),
            item.sender,
            item.seq,
            item.time,
            item.body[:most],
        )
        for item in taken
        if item.seq and item.changes is None and now - item.time < OLDEST_MS
    ]


def _recipient(item: Taken) -> str:
    first, second = members_of_valid(item.conversation)
    return second if item.sender == first else first
