"""What a device keeps over a restart."""

import random
from typing import Any

import messenger_sdk.inbox
from messenger_sdk.timelines import Timelines
from simulation.history import Step
from tests.simulation.mutations.mutation import Mutation
from tests.simulation.mutations.openings import AWAY_12


def _begins_anew_without_heads(shown: Any, begun: bool) -> Timelines:
    return Timelines(shown if begun else {}, begun)


def _dead_before_its_first_heads(chance: random.Random) -> list[Step]:
    """Alice has a conversation, and no worker can be asked about it. A new phone of hers shows what
    is pushed to it, and dies; another message comes; it begins again."""
    new, bob = 6, 2
    return [
        Step(0.0, "send", bob, 0),
        *(Step(0.3, "cut from workers", gateway, AWAY_12) for gateway in (0, 1)),
        Step(0.1, "install", 0, 0),
        *(Step(chance.uniform(0.1, 1.0), "send", bob, 0) for _ in range(2)),
        Step(chance.uniform(0.0, 1.0), "kill app", new, 0),
        Step(0.1, "send", bob, 0),
        Step(chance.uniform(0.0, 1.0), "open app", new, 0),
    ]


MUTATIONS = [
    Mutation(
        "a device without its first heads begins anew",
        "guard",
        "what was shown before the first heads is forgotten",
        [(messenger_sdk.inbox, "Timelines", _begins_anew_without_heads)],
        {"kill_app": 10, "open_app": 12, "cut_from_workers": 5},
        opening=_dead_before_its_first_heads,
    ),
]
