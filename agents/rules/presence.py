"""Who is online: a user is while any node says so. Pure; times in ms, the broker's for what nodes
say.

Nodes may say a thing twice, and a node that dies says nothing: its users go when its lease has
ended.
"""

from collections.abc import Iterable, Set
from typing import NamedTuple, Protocol

from schemas.events import SCHEMA_VERSION, PresenceChange, PresenceState


class Known(Protocol):
    def state(self, user: str) -> PresenceState | None:
        """What is known of a user."""


class Said(NamedTuple):
    """What a node said in record `offset` of the input, at the broker's `time`."""

    change: PresenceChange
    time: int
    offset: int


class Outcome(NamedTuple):
    """`changed`: users as they are now. `told`: those of them whose watchers must hear of it."""

    changed: dict[str, PresenceState]
    told: set[str]


def fold_presence(known: Known, said: Iterable[Said], topic: str, outcome: Outcome) -> None:
    """Fold what nodes said in the input, whose id is `topic`, adding to `outcome`. What a state
    knows is passed over."""
    for change, time, offset in said:
        before = _before(known, change.user, outcome)
        if before.topic == topic and offset <= before.offset:
            continue
        nodes = {*before.nodes, change.node} if change.online else {*before.nodes} - {change.node}
        _set(before, nodes, time, topic, offset, outcome)


def node_gone(known: Known, users: Iterable[str], node: str, time: int, outcome: Outcome) -> None:
    """A node's lease has ended: none of its users is online there."""
    for user in users:
        before = _before(known, user, outcome)
        _set(before, {*before.nodes} - {node}, time, before.topic, before.offset, outcome)


def fold_kept(
    known: Known,
    states: Iterable[PresenceState],
    changed: dict[str, PresenceState],
    outdone: dict[str, PresenceState],
) -> None:
    """Fold states as the topic has them into `changed`. `outdone`: users whose last there is not
    what is known of them; it must be written again, for compaction to keep."""
    for state in states:
        before = changed.get(state.user) or known.state(state.user)
        if before is None or state.outdoes(before):
            changed[state.user] = state
            outdone.pop(state.user, None)
        elif state == before:
            outdone.pop(state.user, None)
        else:
            outdone[state.user] = before


def _before(known: Known, user: str, outcome: Outcome) -> PresenceState:
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
        outcome.told.add(before.user)


class Absences:
    """Which nodes are dead, by looks at the leases; in seconds.

    A lease of `lease` that is not there may have been forgotten by Redis instead of having ended,
    or have ended because nobody reached Redis: so Redis must have been there, and have remembered,
    for as long as a lease lives. Then the node is dead when it has been absent for `patience` more,
    and has said nothing meanwhile.
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
        """The dead ones of the nodes `known`, if those with a lease are `live`, and Redis
        `remembers` for so long."""
        if self._looked is None or now - self._looked > self._patience:
            self._reliable = now
        self._looked = now
        counts = max(self._reliable, now - remembers) + self._lease
        self._absent = {
            node: max(self._absent.get(node, now), counts) for node in known if node not in live
        }
        return [node for node, since in self._absent.items() if now - since >= self._patience]

    def heard(self, node: str) -> None:
        """The node has said something: its absence begins anew."""
        self._absent.pop(node, None)
