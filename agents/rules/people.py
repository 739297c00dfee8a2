"""Folds what users decide about others into one state for each pair. Pure.

A gateway may publish a change twice, and a later owner may fold a record again: what a state covers
already changes nothing, and is told again.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from schemas.events import SCHEMA_VERSION, PersonChange, PersonState
from schemas.frames import MAX_PEOPLE

Pair = tuple[str, str]
"""Who decides, and about whom."""


class PeopleView(Protocol):
    """The states before the fold: the table, or a twin in memory."""

    def state(self, user: str, other: str) -> PersonState | None:
        """None if nothing is known."""

    def states(self, user: str) -> Sequence[PersonState]:
        """All that a user has decided."""


class Outcome(NamedTuple):
    """`changed`: the new states. `told`: the pairs whose users must be told."""

    changed: dict[Pair, PersonState]
    told: set[Pair]


def fold_people(
    known: PeopleView, changes: Iterable[tuple[PersonChange, int]], topic: str, outcome: Outcome
) -> None:
    """Fold changes, each with the offset of its record, from the input topic with id `topic`."""
    for change, offset in changes:
        pair = change.user, change.other
        before = outcome.changed.get(pair) or known.state(*pair)
        if before is not None and before.topic == topic and offset <= before.offset:
            outcome.told.add(pair)
            continue
        if (before is None or before.dropped) and not _make_room(known, change.user, outcome):
            continue
        outcome.changed[pair] = PersonState(SCHEMA_VERSION, *pair, change.blocked, topic, offset)
        outcome.told.add(pair)


def is_late(state: PersonState, known: PersonState) -> bool:
    """Whether a record of the topic `people` is to be left out, because a later one is known. A
    paused owner may wake and append a state that is earlier than its successor's."""
    return state.topic == known.topic and state.offset < known.offset


def _make_room(known: PeopleView, user: str, outcome: Outcome) -> bool:
    """Whether the user may decide about one more. What says nothing any more makes room, the oldest
    first."""
    states = {state.other: state for state in known.states(user)}
    states |= {other: state for (one, other), state in outcome.changed.items() if one == user}
    kept = [state for state in states.values() if not state.dropped]
    if len(kept) < MAX_PEOPLE:
        return True
    oldest = min((one for one in kept if one.is_default), key=_age, default=None)
    if oldest is not None:
        outcome.changed[user, oldest.other] = replace(oldest, dropped=True)
    return oldest is not None


def _age(state: PersonState) -> int:
    return state.offset
