"""Of which messages somebody may have to be notified (decision 60). Pure."""

from collections.abc import Iterable

from schemas.events import Taken, Unreached
from schemas.ids import is_probe, members_of_valid

OLDEST_MS = 24 * 3600 * 1000
"""Nobody is notified of an older message, by a notifier that was away for so long."""
FIRST_START_MS = 60 * 1000
"""The first notifier there is begins with the messages of the last minute. So it forgets none if it
is killed before it has said how far it is, and nobody is called for what was said before."""


def to_look_at(taken: Iterable[Taken], now: int, most: int) -> list[Unreached]:
    """What holds of the messages of a log record if their recipients have no device connected, at
    `now` in ms. `most` characters of a text go along. A change of a message and a refusal are no
    messages, and a gateway's probe is nobody."""
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
        if item.seq
        and item.changes is None
        and now - item.time < OLDEST_MS
        and not is_probe(item.conversation)
    ]


def _recipient(item: Taken) -> str:
    first, second = members_of_valid(item.conversation)
    return second if item.sender == first else first
