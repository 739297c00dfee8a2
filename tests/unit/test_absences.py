"""When a node is dead: its lease has ended, and was not merely forgotten."""

from agents.rules.presence import Absences

LEASE, PATIENCE, EVERY = 5.0, 2.0, 0.5
LONG = 1000.0


def dead_after(absences: Absences, begin: float, remembers: float, heard_at: float = -1.0) -> float:
    """Seconds of looks, from `begin` on, at which n1 has no lease, until it is dead."""
    for n in range(100):
        seconds = n * EVERY
        if seconds == heard_at:
            absences.heard("n1")
        if absences.look(begin + seconds, ["n1", "n2"], {"n2"}, remembers + seconds) == ["n1"]:
            return seconds
    raise AssertionError("never")


def looked_at(until: float) -> Absences:
    """Both nodes had their leases so far."""
    absences = Absences(LEASE, PATIENCE)
    for n in range(int(until / EVERY)):
        assert absences.look(n * EVERY, ["n1", "n2"], {"n1", "n2"}, LONG) == []
    return absences


def test_a_node_whose_lease_has_ended_is_dead_after_a_moment() -> None:
    assert dead_after(looked_at(20), 20, LONG) == PATIENCE


def test_a_lease_that_redis_forgot_has_not_ended() -> None:
    """The node has as long to take it again as it has to renew it."""
    assert dead_after(looked_at(20), 20, remembers=0) == LEASE + PATIENCE


def test_a_lease_that_ended_while_redis_was_away_has_not_ended() -> None:
    assert dead_after(looked_at(20), 30, LONG) == LEASE + PATIENCE


def test_of_what_was_before_the_first_look_nothing_is_known() -> None:
    assert dead_after(Absences(LEASE, PATIENCE), 0, LONG) == LEASE + PATIENCE


def test_a_node_that_says_something_is_not_dead() -> None:
    assert dead_after(looked_at(20), 20, LONG, heard_at=1.5) == 1.5 + PATIENCE


def test_a_node_that_is_back_is_absent_anew() -> None:
    absences = looked_at(20)
    assert absences.look(20, ["n1"], set(), LONG) == []
    assert absences.look(21, ["n1"], {"n1"}, LONG) == []
    assert dead_after(absences, 21.5, LONG) == PATIENCE
