"""Folds what users decide about others into one state for each pair. Pure.

A gateway may publish a change twice, and a later owner may fold a record again: what a state covers
already changes nothing, and is told again.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from schemas.events import SCHEMA_VERSION, PersonChange, PersonState, PresenceShown
from schemas.frames import MAX_PEOPLE
from schemas.worker_api import Stance

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
        if (before is None or before.dropped) and not _make_room(known, change, outcome):
            continue
        outcome.changed[pair] = _after(before, change, topic, offset)
        outcome.told.add(pair)


def stance_of(about: PersonState | None, everybody: PersonState | None) -> Stance:
    """What a user has decided about another one, by what is said about that one and for
    everybody."""
    blocked = about is not None and about.blocked
    contact = about is not None and about.contact
    shown = everybody.presence if everybody is not None else PresenceShown.EVERYONE
    hides = shown >= PresenceShown.NOBODY or (shown == PresenceShown.CONTACTS and not contact)
    hides_reads = everybody is not None and everybody.hides_reads
    request = about.request if about is not None else b""
    hidden = blocked or bool(request)
    return Stance(blocked, contact, hidden or hides, hidden or hides_reads, request)


def is_late(state: PersonState, known: PersonState) -> bool:
    """Whether a record of the topic `people` is to be left out, because a later one is known. A
    paused owner may wake and append a state that is earlier than its successor's."""
    return state.topic == known.topic and state.offset < known.offset


def _after(
    before: PersonState | None, change: PersonChange, topic: str, offset: int
) -> PersonState:
    """Of two first messages of a stranger the first is the request, until it is accepted."""
    state = before or PersonState(SCHEMA_VERSION, change.user, change.other, False)
    says = {
        name: said
        for name in ("blocked", "contact", "presence", "hides_reads")
        if (said := getattr(change, name)) is not None
    }
    if change.contact:
        says |= {"request": b"", "declined": False}
    elif change.request and not (state.request or state.contact or state.blocked):
        says["request"] = change.request
    elif change.declined:
        says["declined"] = bool(state.request)
    return replace(state, **says, topic=topic, offset=offset, dropped=False)


def _make_room(known: PeopleView, change: PersonChange, outcome: Outcome) -> bool:
    """Whether there may be one more about whom the user has decided something, or is asked. What
    says nothing any more makes room, then the oldest declined request; for a decision also one that
    waits, since strangers must not fill the list."""
    user = change.user
    states = {state.other: state for state in known.states(user)}
    states |= {other: state for (one, other), state in outcome.changed.items() if one == user}
    kept = [state for state in states.values() if not state.dropped]
    if len(kept) < MAX_PEOPLE:
        return True
    may_go = (one for one in kept if one.says_nothing and not (one.asks and change.request))
    oldest = min(may_go, key=lambda one: (bool(one.request), one.asks, one.offset), default=None)
    if oldest is not None:
        outcome.changed[user, oldest.other] = replace(oldest, dropped=True)
        if oldest.asks:
            outcome.told.add((user, oldest.other))
    return oldest is not None
