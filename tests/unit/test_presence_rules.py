"""Whose watchers are told what nodes say."""

from agents.rules.presence import NodeChange, Outcome, fold_presence, node_gone
from schemas.events import PresenceChange, PresenceState


class Known(dict[str, PresenceState]):
    """A table in memory."""

    def state(self, user: str) -> PresenceState | None:
        return self.get(user)

    def says(self, node: str, online: bool, offset: int) -> set[str]:
        """A node says how alice is; returns whose watchers are told."""
        outcome = Outcome({}, set())
        change = NodeChange(PresenceChange("alice", node, online), 1000 + offset, offset)
        fold_presence(self, [change], "topic", outcome)
        self.update(outcome.changed)
        return outcome.published


def test_what_changes_for_the_watchers_is_told() -> None:
    known = Known()
    assert known.says("n1", True, 0) == {"alice"}
    assert known.says("n2", True, 1) == {"alice"}
    assert known.says("n1", False, 2) == set()
    assert known.says("n2", False, 3) == {"alice"}


def test_what_a_node_says_again_is_told_again() -> None:
    """An owner may have told some watchers that the node is dead, and ended before it kept that."""
    known = Known()
    known.says("n1", True, 0)
    lost = Outcome({}, set())
    node_gone(known, ["alice"], "n1", 2000, lost)
    assert lost.published == {"alice"}
    assert known.says("n1", True, 1) == {"alice"}
    assert known["alice"].supersedes(lost.changed["alice"])


def test_what_a_state_covers_changes_nothing_and_is_told_again() -> None:
    """An owner that kept it may have ended before all slots had it."""
    known = Known()
    known.says("n1", True, 0)
    known.says("n1", False, 1)
    before = known["alice"]
    assert known.says("n1", True, 0) == {"alice"}
    assert known["alice"] is before
