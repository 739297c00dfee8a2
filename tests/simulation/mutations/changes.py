"""R18: changes of messages."""

import random
from typing import Any

import gateway.queries.history
from simulation.history import Step
from streams.tables.sequences import SequenceTable
from tests.simulation.mutations.mutation import Mutation
from tests.simulation.mutations.openings import CALM

_CHANGES = {"send": 12, "edit": 10, "delete": 4, "close_app": 4, "open_app": 10}


def _without_changes(frames: Any) -> Any:
    return frames


def _no_changes(self: Any, conversation: str, first: int, last: int) -> dict[int, Any]:
    return {}


def _never(window: Any, changed: int) -> bool:
    return False


def _comes_back(chance: random.Random) -> list[Step]:
    """alice/phone comes back, which makes a window, and bob changes what stands in it."""
    return [
        *(Step(0.1, "send", 2, 0) for _ in range(chance.randint(1, 4))),
        Step(1.0, "close app", 0, 0),
        Step(0.1, "send", 2, 0),
        Step(1.0, "open app", 0, 0),
        Step(2.0, "edit", 2, chance.randint(0, 2)),
    ]


MUTATIONS = [
    Mutation(
        "a page takes messages from a window as they were",
        "R18.2",
        "changes that stand in the window are not looked for",
        [(gateway.queries.history, "with_changes", _without_changes)],
        {**_CHANGES, **CALM},
        opening=_comes_back,
    ),
    Mutation(
        "a worker gives messages as they were",
        "R18.2",
        "the log's changes of a page's messages are not looked for",
        [(SequenceTable, "changes", _no_changes)],
        {**_CHANGES, **CALM},
    ),
    Mutation(
        "a window that ends before the last change counts",
        "R18.3",
        "the number of the last change is not compared with it",
        [(gateway.queries.history, "outdated", _never)],
        {**_CHANGES, **CALM},
        opening=_comes_back,
    ),
]
