"""Folds what gateway nodes publish into presence: a user is online while any node has a device of
the user. Pure. Times are in ms.

A node may publish a change twice. A node that dies publishes nothing: its users leave it when its
lease has ended.
"""

from collections.abc import Iterable, Set
from typing import NamedTuple, Protocol

from schemas.events import SCHEMA_VERSION, PresenceChange, PresenceState


class PresenceView(Protocol):
    """The states before the fold: the table, or a twin in memory."""

    def state(self, user: str) -> PresenceState | None:
        """The user's state, None if no node has ever named the user."""


class NodeChange(NamedTuple):
    """A change that a node published in input record `offset`, at the broker's `time`."""

    change: PresenceChange
    time: int
    offset: int


class Outcome(NamedTuple):
    """`changed`: the new states of users. `published`: users whose watchers must get it. They came
    online or went offline, or a node says that they are online, though they were: an owner before
    may have told some of the watchers that another node, or this one, is dead, and could not keep
    that. They may have no change."""

    changed: dict[str, PresenceState]
    published: set[str]


def fold_presence(
    known: PresenceView, changes: Iterable[NodeChange], topic: str, outcome: Outcome
) -> None:
    """Fold changes from the input topic with id `topic` into `outcome`. What a user's state covers
    already changes nothing, and is published again: an owner that kept it may have ended before it
    was delivered."""
    for change, time, offset in changes:
        before = _before(known, change.user, outcome)
        if before.topic == topic and offset <= before.offset:
            outcome.published.add(change.user)
            continue
        nodes = {*before.nodes, change.node} if change.online else {*before.nodes} - {change.node}
        _set(before, nodes, time, topic, offset, outcome)
        if change.online:
            outcome.published.add(change.user)


def node_gone(
    known: PresenceView, users: Iterable[str], node: str, time: int, outcome: Outcome
) -> None:
    """Fold the end of a node's lease into `outcome`: none of `users` is online there any more."""
    for user in users:
        before = _before(known, user, outcome)
        _set(before, {*before.nodes} - {node}, time, before.topic, before.offset, outcome)


def is_late(state: PresenceState, known: PresenceState) -> bool:
    """Whether a record of the topic `presence` is to be left out, because a later one is known. A
    paused owner may wake and append a state that is earlier than its successor's."""
    return state != known and not state.supersedes(known)


def _before(known: PresenceView, user: str, outcome: Outcome) -> PresenceState:
    return (
        outcome.changed.get(user)
        or known.state(user)
        or PresenceState(SCHEMA_VERSION, user, (), 0, "", -1)
    )


def _set(
    before: PresenceState, nodes: Set[str], time: int, topic: str, offset: int, outcome: Outcome
) -> None:
    last_seen = time if before.nodes and not nodes else before.last_seen
    state = PresenceState(
        SCHEMA_VERSION, before.user, tuple(sorted(nodes)), last_seen, topic, offset
    )
    outcome.changed[before.user] = state
    if state.online != before.online:
        outcome.published.add(before.user)


class Absences:
    """Decides from repeated looks at the leases which nodes are dead. Times are in seconds.

    A missing lease is not always the end of a node: Redis may have forgotten it (emptied, an older
    file), or nobody could reach Redis to renew it. So a missing lease counts only after Redis has
    answered every look, and has kept its data, for `lease` seconds (how long a lease lives). A
    node that is absent for `patience` seconds after that, and has published nothing, is dead.
    """

    def __init__(self, lease: float, patience: float) -> None:
        self._lease = lease
        self._patience = patience
        self._absent: dict[str, float] = {}
        """Node without a lease → since when its absence counts."""
        self._looked: float | None = None
        self._reliable = 0.0
        """Since when Redis has answered every look."""

    def look(self, now: float, known: Iterable[str], live: Set[str], remembers: float) -> list[str]:
        """The dead nodes of `known`. `live` are the nodes with a lease; `remembers` is how long
        ago (s) Redis was last emptied, restored from a file, or replaced."""
        if self._looked is None or now - self._looked > self._patience:
            self._reliable = now
        self._looked = now
        counts = max(self._reliable, now - remembers) + self._lease
        self._absent = {
            node: max(self._absent.get(node, now), counts) for node in known if node not in live
        }
        return [node for node, since in self._absent.items() if now - since >= self._patience]

    def is_dead(self, node: str, now: float) -> bool:
        """Whether `look` at that time would still say so."""
        return now - self._absent.get(node, now) >= self._patience

    def heard(self, node: str) -> None:
        """The node has published something: its absence, if any, starts again."""
        self._absent.pop(node, None)
