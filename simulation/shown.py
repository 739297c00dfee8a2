"""Messages as an app shows them: changes change them, a deletion is final."""

from collections.abc import Sequence
from typing import NamedTuple

GONE = -1


class Shown(NamedTuple):
    """A message as an app shows it, and as the log has it. `changes`: it is a change of that
    message. `version`: the change whose `body` it has (0: none; GONE: it is deleted)."""

    seq: int
    sender: str
    key: str
    body: str
    changes: int = 0
    version: int = 0


def shown_of(seq: int, sender: str, key: str, body: str, changes: int, version: int) -> Shown:
    return Shown(seq, sender, key, body, changes, version if body else GONE)


def show(messages: list[Shown], one: Shown) -> None:
    """Add the next message of a conversation. A change changes its message, and what has changed
    that before; a deletion is final."""
    if one.changes and any(old.version == GONE and old.seq == one.changes for old in messages):
        one = one._replace(body="", version=GONE)
    for place, old in enumerate(messages if one.changes else ()):
        newer = one.version == GONE or one.version > old.version
        if one.changes in (old.seq, old.changes) and newer and old.version != GONE:
            messages[place] = old._replace(body=one.body, version=one.version)
    messages.append(one)


def changed(messages: Sequence[Shown]) -> list[Shown]:
    """The messages of a conversation, each as the last change says."""
    found: list[Shown] = []
    for one in messages:
        show(found, one)
    return found
