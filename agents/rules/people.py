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
    lists = _Lists(known, outcome)
    for change, offset in changes:
        pair = change.user, change.other
        before = outcome.changed.get(pair) or known.state(*pair)
        if before is not None and before.topic == topic and offset <= before.offset:
            outcome.told.add(pair)
            continue
        if (before is None or before.dropped) and not _make_room(lists, change, outcome):
            continue
        lists.put(_after(before, change, topic, offset))
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


class _Lists:
    """What users have decided about others, with what a fold has changed. A list that is asked for
    is read once in a fold: it is long, and many changes of its user may come together."""

    def __init__(self, known: PeopleView, outcome: Outcome) -> None:
        self._known = known
        self._changed = outcome.changed
        self._changed_of: dict[str, dict[str, PersonState]] = {}
        self._read: dict[str, dict[str, PersonState]] = {}
        """user → other → state, as it is now."""

    def put(self, state: PersonState) -> None:
        self._changed[state.user, state.other] = state
        known = self._read.get(state.user)
        if known is None:
            known = self._changed_of.setdefault(state.user, {})
        known[state.other] = state

    def of(self, user: str) -> dict[str, PersonState]:
        states = self._read.get(user)
        if states is None:
            states = {state.other: state for state in self._known.states(user)}
            states |= self._changed_of.pop(user, {})
            self._read[user] = states
        return states


def _make_room(lists: _Lists, change: PersonChange, outcome: Outcome) -> bool:
    """Whether there may be one more about whom the user has decided something, or is asked. What
    says nothing any more makes room, then the oldest declined request; for a decision also one that
    waits, since strangers must not fill the list."""
    user = change.user
    kept = [state for state in lists.of(user).values() if not state.dropped]
    if len(kept) < MAX_PEOPLE:
        return True
    may_go = (one for one in kept if one.says_nothing and not (one.asks and change.request))
    oldest = min(may_go, key=lambda one: (bool(one.request), one.asks, one.offset), default=None)
    if oldest is not None:
        lists.put(replace(oldest, dropped=True))
        if oldest.asks:
            outcome.told.add((user, oldest.other))
    return oldest is not None
