"""What users decide about others: the last one counts, whoever folds what twice, and no list grows
without end."""

from collections.abc import Sequence

from agents.rules.people import Outcome, fold_people, stance_of
from schemas.codec import EVERYBODY
from schemas.events import PersonChange, PersonState, PresenceShown
from schemas.frames import MAX_PEOPLE
from schemas.worker_api import Stance


class Table:
    """`PeopleView`, and what was told."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], PersonState] = {}
        self.offset = -1

    def state(self, user: str, other: str) -> PersonState | None:
        return self.rows.get((user, other))

    def states(self, user: str) -> Sequence[PersonState]:
        return [state for (one, _), state in self.rows.items() if one == user]

    def fold(self, *changes: tuple[PersonChange, int], topic: str = "topic") -> set[str]:
        """Whom alice's devices are told about."""
        outcome = Outcome({}, set())
        fold_people(self, changes, topic, outcome)
        for pair, state in outcome.changed.items():
            if state.dropped:
                del self.rows[pair]
            else:
                self.rows[pair] = state
        return {other for _, other in outcome.told}

    def says(self, other: str, blocked: bool) -> set[str]:
        self.offset += 1
        return self.fold((PersonChange("alice", other, blocked), self.offset))

    @property
    def blocked(self) -> set[str]:
        return {other for (_, other), state in self.rows.items() if state.blocked}


def test_what_is_folded_again_changes_nothing_and_is_told_again() -> None:
    table = Table()
    block, unblock = PersonChange("alice", "bob", True), PersonChange("alice", "bob", False)
    assert table.fold((block, 3), (unblock, 4)) == {"bob"}
    assert table.blocked == set()
    assert table.fold((block, 3)) == {"bob"}
    assert table.blocked == set()
    table.fold((block, 0), topic="created anew")
    assert table.blocked == {"bob"}


def test_a_full_list_takes_nobody_unless_somebody_has_left_it() -> None:
    table = Table()
    for number in range(MAX_PEOPLE):
        table.says(f"x{number}", True)
    assert table.says("bob", True) == set()
    assert "bob" not in table.blocked
    for number in (7, 5):
        assert table.says(f"x{number}", False) == {f"x{number}"}
    assert table.says("bob", True) == {"bob"}
    assert ("alice", "x7") not in table.rows, "what was said first and says nothing any more"
    assert ("alice", "x5") in table.rows
    assert len(table.rows) == MAX_PEOPLE
    assert table.says("carol", True) == {"carol"}
    assert table.says("dave", True) == set()


def test_what_is_not_said_stays_as_it_is() -> None:
    table = Table()
    changes = [
        PersonChange("alice", "bob", blocked=True),
        PersonChange("alice", "bob", contact=True),
        PersonChange("alice", "bob", blocked=False),
    ]
    assert table.fold(*zip(changes, range(3), strict=True)) == {"bob"}
    state = table.rows["alice", "bob"]
    assert (state.blocked, state.contact, state.offset) == (False, True, 2)


def test_what_is_shown_to_whom() -> None:
    blocked = PersonState(1, "alice", "bob", True)
    contact = PersonState(1, "alice", "bob", False, contact=True)

    def everybody(presence: int, hides_reads: bool = False) -> PersonState:
        return PersonState(1, "alice", EVERYBODY, False, presence=presence, hides_reads=hides_reads)

    assert stance_of(None, None) == Stance()
    assert stance_of(blocked, None) == Stance(True, False, True, True)
    assert stance_of(contact, everybody(PresenceShown.CONTACTS)) == Stance(contact=True)
    assert stance_of(None, everybody(PresenceShown.CONTACTS)) == Stance(hides_presence=True)
    nobody = everybody(PresenceShown.NOBODY, hides_reads=True)
    assert stance_of(contact, nobody) == Stance(False, True, True, True)
