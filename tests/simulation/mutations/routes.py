"""R11.4: which remembered routes count."""

import random
from typing import Any

from agents.sequencer.remembered_routes import RememberedRoutes
from simulation.history import Step
from tests.simulation.mutations.mutation import Mutation
from tests.simulation.mutations.openings import ignored

_init = RememberedRoutes.__init__


def _believes_itself(self: Any, look_up: Any, confirmed: Any, clock: Any) -> None:
    _init(self, look_up, lambda: True, clock)


_ALICE, _BOB = 0, 2  # their phones


def _comes_while_it_is_remembered_as_gone(chance: random.Random) -> list[Step]:
    """Bob has no app when alice writes; it comes, and she writes again soon."""
    return [
        Step(0.0, "close app", _BOB + 1, 0),
        Step(0.1, "kill app", _BOB, 0),
        Step(1.0, "send", _ALICE, 0),
        Step(chance.uniform(0.5, 2.0), "open app", _BOB, 0),
        Step(chance.uniform(1.0, 3.0), "send", _ALICE, 0),
    ]


MUTATIONS = [
    Mutation(
        "who asks is remembered as gone",
        "R11.4",
        "a partition does not forget the routes of a user whose device asks it",
        [(RememberedRoutes, "forget", ignored)],
        {"send": 20, "open_app": 10, "kill_app": 10},
        opening=_comes_while_it_is_remembered_as_gone,
    ),
]
