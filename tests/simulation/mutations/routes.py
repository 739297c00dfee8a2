"""R11.4: which remembered routes count."""

import random
from typing import Any

from agents.sequencer.remembered_routes import RememberedRoutes
from simulation.history import Step
from tests.simulation.mutations.mutation import Mutation, opened
from tests.simulation.mutations.openings import AWAY_5, NO_ARCHIVE, ignored

_init = RememberedRoutes.__init__


def _believes_itself(self: Any, look_up: Any, confirmed: Any, clock: Any) -> None:
    _init(self, look_up, lambda: True, clock)


_ALICE, _BOB, _CAROL = 0, 2, 4  # their phones


def _comes_while_it_is_remembered_as_gone(chance: random.Random) -> list[Step]:
    """Bob has no app when alice writes; it comes, and she writes again soon."""
    return [
        Step(0.0, "close app", _BOB + 1, 0),
        Step(0.1, "kill app", _BOB, 0),
        Step(1.0, "send", _ALICE, 0),
        Step(chance.uniform(0.5, 2.0), "open app", _BOB, 0),
        Step(chance.uniform(1.0, 3.0), "send", _ALICE, 0),
    ]


def _moves_while_its_owner_stands_still(chance: random.Random) -> list[Step]:
    """Bob's phone comes anew while the owner of bob:carol stands still, and asks the next owner.
    That one is killed, carol writes, and the first wakes and delivers. Alice's message is in the
    same partition: the log record of it says that carol's is delivered."""
    first, comes = chance.randrange(2), chance.uniform(3.7, 4.2)
    return [
        *(Step(0.0, "close app", app, 0) for app in (1, 3, 5)),
        *(Step(0.3, "send", app, 1) for app in (_ALICE, _CAROL, _CAROL)),
        Step(0.2, "pause worker", first, AWAY_5),
        Step(comes, "kill app", _BOB, 0),
        Step(0.05, "open app", _BOB, 0),
        Step(0.3, "kill worker", 1 - first, 0),
        Step(0.1, "send", _CAROL, 1),
        Step(4.6 - comes + chance.uniform(0.05, 0.3), "send", _ALICE, 1),
    ]


MUTATIONS = [
    opened(
        "a woken owner remembers",
        "R11.4",
        "what is remembered counts although another worker may have answered",
        [(RememberedRoutes, "__init__", _believes_itself)],
        most=200,
        opening=_moves_while_its_owner_stands_still,
        shape=NO_ARCHIVE,
    ),
    Mutation(
        "who asks is remembered as gone",
        "R11.4",
        "a partition does not forget the routes of a user whose device asks it",
        [(RememberedRoutes, "forget", ignored)],
        {"send": 20, "open_app": 10, "kill_app": 10},
        opening=_comes_while_it_is_remembered_as_gone,
    ),
]
