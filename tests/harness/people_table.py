"""What users have decided about others, in a dictionary."""

from collections.abc import Sequence
from typing import Any

from agents.rules.people import Outcome, fold_people
from schemas.events import PersonChange, PersonState


class PeopleInMemory:
    """`PeopleView` (agents/rules/people.py), which folds what it is told."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], PersonState] = {}
        self.offset = -1

    def state(self, user: str, other: str) -> PersonState | None:
        return self.rows.get((user, other))

    def states(self, user: str) -> Sequence[PersonState]:
        return [state for (one, _), state in self.rows.items() if one == user]

    def fold(self, *changes: tuple[PersonChange, int], topic: str = "topic") -> set[str]:
        """Whom the deciding user's devices are told about."""
        outcome = Outcome({}, set())
        fold_people(self, changes, topic, outcome)
        for pair, state in outcome.changed.items():
            if state.dropped:
                del self.rows[pair]
            else:
                self.rows[pair] = state
        return {other for _, other in outcome.told}

    def says(self, other: str, blocked: bool) -> set[str]:
        return self.change("alice", other, blocked=blocked)

    def change(self, user: str, other: str, **says: Any) -> set[str]:
        """The next record of the input."""
        self.offset += 1
        return self.fold((PersonChange(user, other, **says), self.offset))

    @property
    def blocked(self) -> set[str]:
        return {other for (_, other), state in self.rows.items() if state.blocked}
