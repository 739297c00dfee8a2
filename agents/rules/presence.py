"""Who is online: a user is while any node says so. Pure; times in ms, the broker's for what nodes say.

Nodes may say a thing twice, and a node that dies says nothing: its users go when its lease has ended.
"""

from collections.abc import Iterable, Set
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


class Absences:
    """Which nodes are dead, by looks at the leases; in seconds.

    A lease of `lease` that is not there may have been forgotten by Redis instead of having ended, or have ended because nobody
    reached Redis: so Redis must have been there, and have remembered, for as long as a lease lives. Then the node is dead when
    it has been absent for `patience` more, and has said nothing meanwhile.
    """

    def __init__(self, lease: float, patience: float) -> None:
        self._lease = lease
        self._patience = patience
        self._absent: dict[str, float] = {}
        """Nodes without a lease, since when that counts."""
        self._looked: float | None = None
        self._reliable = 0.0
        """Since when Redis has been there at every look."""

    def look(self, now: float, known: Iterable[str], live: Set[str], remembers: float) -> list[str]:
        """The dead ones of the nodes `known`, if those with a lease are `live`, and Redis `remembers` for so long."""
        if self._looked is None or now - self._looked > self._patience:
            self._reliable = now
        self._looked = now
        counts = max(self._reliable, now - remembers) + self._lease
        self._absent = {node: max(self._absent.get(node, now), counts) for node in known if node not in live}
        return [node for node, since in self._absent.items() if now - since >= self._patience]

    def heard(self, node: str) -> None:
        """The node has said something: its absence begins anew."""
        self._absent.pop(node, None)
