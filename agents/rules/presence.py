"""Who is online: a user is while any node says so. Pure; times in ms, the broker's for what nodes say.

Nodes may say a thing twice, and a node that dies says nothing: its users go when its lease has ended.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from schemas.events import PresenceChange
from schemas.frames import Presence


class UserPresence(NamedTuple):
    """The nodes a user is online on; if none, when the user was last seen (0: never)."""

    nodes: tuple[str, ...]
    last_seen: int


NEVER = UserPresence((), 0)


class Known(Protocol):
    def get(self, user: str) -> UserPresence | None:
        """What is known of a user."""


class Outcome(NamedTuple):
    """`changed`: users as they are now. `told`: those of them whose watchers must hear of it."""

    changed: dict[str, UserPresence]
    told: set[str]


def fold_presence(known: Known, changes: Iterable[tuple[PresenceChange, int]], outcome: Outcome) -> None:
    """Fold what nodes say, each with its broker's time, adding to `outcome`."""
    for change, time in changes:
        _set(known, change.user, change.node, change.online, time, outcome)


def node_gone(known: Known, users: Iterable[str], node: str, time: int, outcome: Outcome) -> None:
    """A node's lease has ended: none of its users is online there."""
    for user in users:
        _set(known, user, node, False, time, outcome)


def _set(known: Known, user: str, node: str, online: bool, time: int, outcome: Outcome) -> None:
    before = outcome.changed.get(user) or known.get(user) or NEVER
    if (node in before.nodes) == online:
        return
    nodes = tuple(sorted({*before.nodes, node} if online else set(before.nodes) - {node}))
    outcome.changed[user] = UserPresence(nodes, before.last_seen if nodes else time)
    if bool(nodes) != bool(before.nodes):
        outcome.told.add(user)


def presence_of(user: str, known: UserPresence | None) -> Presence:
    """What is told of a user."""
    nodes, last_seen = known or NEVER
    return Presence(user, bool(nodes), 0 if nodes else last_seen)
