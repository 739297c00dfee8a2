"""What users decide about others: the last one counts, whoever folds what twice, and no list grows
without end."""

from collections.abc import Sequence

from agents.rules.people import stance_of
from schemas.codec import EVERYBODY
from schemas.events import PersonChange, PersonState, PresenceShown
from schemas.frames import MAX_PEOPLE
from schemas.worker_api import Stance
from tests.harness.people_table import PeopleInMemory


def test_what_is_folded_again_changes_nothing_and_is_told_again() -> None:
    table = PeopleInMemory()
    block, unblock = PersonChange("alice", "bob", True), PersonChange("alice", "bob", False)
    assert table.fold((block, 3), (unblock, 4)) == {"bob"}
    assert table.blocked == set()
    assert table.fold((block, 3)) == {"bob"}
    assert table.blocked == set()
    table.fold((block, 0), topic="created anew")
    assert table.blocked == {"bob"}


def test_a_full_list_takes_nobody_unless_somebody_has_left_it() -> None:
    table = PeopleInMemory()
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


def test_a_fold_reads_a_list_once_however_many_changes_of_its_user_come_together() -> None:
    """A list is long; else a user who decides about many strangers keeps a worker busy."""
    table = PeopleInMemory()
    for number in range(MAX_PEOPLE - 1):
        table.says(f"x{number}", number != 7)
    read: list[str] = []
    states = table.states

    def counting(user: str) -> Sequence[PersonState]:
        read.append(user)
        return states(user)

    table.states = counting  # type: ignore[method-assign]
    changes = [
        PersonChange("alice", "x9", False),
        *(PersonChange("alice", f"new{number}", True) for number in range(50)),
        PersonChange("bob", "x1", True),
    ]
    assert table.fold(*((change, 10_000 + n) for n, change in enumerate(changes))) == {
        "x9",
        "new0",  # has the last place
        "new1",  # that of x7, about whom nothing is said any more
        "new2",  # that of x9, since this fold
        "x1",
    }
    assert read == ["alice", "bob"]
    assert len(table.rows) == MAX_PEOPLE + 1


def test_what_is_not_said_stays_as_it_is() -> None:
    table = PeopleInMemory()
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


FIRST, SECOND = b"1" * 16, b"2" * 16


def test_of_two_first_messages_one_is_the_request_until_it_is_accepted() -> None:
    table = PeopleInMemory()
    assert table.change("alice", "bob", request=FIRST) == {"bob"}
    table.change("alice", "bob", request=SECOND)
    assert stance_of(table.state("alice", "bob"), None) == Stance(False, False, True, True, FIRST)
    assert table.rows["alice", "bob"].asks
    table.change("alice", "bob", declined=True)
    assert not table.rows["alice", "bob"].asks
    assert stance_of(table.state("alice", "bob"), None).request == FIRST, "they are not told"
    table.change("alice", "bob", contact=True)
    assert stance_of(table.state("alice", "bob"), None) == Stance(contact=True)
    table.change("alice", "bob", request=SECOND)
    assert stance_of(table.state("alice", "bob"), None) == Stance(contact=True)
    table.change("alice", "bob", contact=False)
    table.change("alice", "bob", request=SECOND)
    assert stance_of(table.state("alice", "bob"), None).request == SECOND, "a stranger once more"


def test_who_is_blocked_asks_for_nothing_and_a_request_waits_behind_a_block() -> None:
    table = PeopleInMemory()
    table.change("alice", "bob", blocked=True)
    table.change("alice", "bob", request=FIRST)
    assert not table.rows["alice", "bob"].request
    table.change("alice", "carol", request=FIRST)
    table.change("alice", "carol", blocked=True)
    assert not table.rows["alice", "carol"].asks
    table.change("alice", "carol", blocked=False)
    assert table.rows["alice", "carol"].asks


def test_nobody_declines_what_nobody_has_asked() -> None:
    table = PeopleInMemory()
    table.change("alice", "bob", declined=True)
    assert table.rows["alice", "bob"].is_default
    table.change("alice", "bob", request=FIRST)
    assert table.rows["alice", "bob"].asks


def test_strangers_do_not_fill_the_list() -> None:
    table = PeopleInMemory()
    for number in range(MAX_PEOPLE):
        table.change("alice", f"x{number}", request=FIRST)
    assert table.change("alice", "bob", request=FIRST) == set(), "who waits is not pushed out"
    table.change("alice", "x7", declined=True)
    assert table.change("alice", "bob", request=FIRST) == {"bob"}
    assert ("alice", "x7") not in table.rows, "who was declined makes room for another stranger"
    assert table.change("alice", "carol", blocked=True) == {"carol", "x0"}, "and is told"
    assert ("alice", "x0") not in table.rows, "the oldest request makes room for a decision"
    assert len(table.rows) == MAX_PEOPLE
