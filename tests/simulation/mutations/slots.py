"""Slots of `deliveries` that do not acknowledge: what cursors and presence owe them."""

import asyncio
import random
from typing import Any

import agents.presence.partition
import streams.steps
from agents.rules.presence import Outcome, fold_presence
from schemas.topics import DELIVERIES
from simulation.faults.kafka import LEADERLESS, TOPICS
from simulation.history import Step
from streams.partition import Partition
from streams.slot_news import SlotNews
from streams.table_partition import TablePartition
from tests.simulation.mutations.mutation import opened
from tests.simulation.mutations.openings import AWAY_5, one_app_each, sends


def _tells_nothing_again(known: Any, changes: Any, topic: str, outcome: Outcome) -> None:
    for change in changes:
        before = outcome.changed.get(change.change.user) or known.state(change.change.user)
        if before is None or before.topic != topic or change.offset > before.offset:
            fold_presence(known, [change], topic, outcome)


async def _never(self: Any) -> None:
    await asyncio.Event().wait()


def _slot_away(chance: random.Random, away: int) -> Step:
    """A slot has no leader for a while."""
    slot = chance.randrange(2)
    return Step(0.5, "lose leader", TOPICS.index(DELIVERIES), slot * len(LEADERLESS) + away)


def _owner_dies_before_a_slot_has_it(chance: random.Random) -> list[Step]:
    """People come and go, talk and read, while a slot does not acknowledge; then both workers
    die."""
    return [
        *one_app_each(chance),
        _slot_away(chance, AWAY_5),
        *sends(chance, 3),
        *(Step(0.1, "read", app, 0) for app in (0, 2, 4)),
        Step(0.3, "close app", chance.choice((0, 2, 4)), 0),
        Step(chance.uniform(1.2, 2.5), "kill worker", 0, 0),
        Step(0.0, "kill worker", 1, 0),
    ]


def slot_away_while_people_talk(chance: random.Random) -> list[Step]:
    """People talk, read and go while a slot does not acknowledge."""
    return [
        *one_app_each(chance),
        _slot_away(chance, AWAY_5),
        *(step for _ in range(8) for step in (*sends(chance, 2), Step(0.3, "read", 0, 0))),
        Step(0.3, "close app", chance.choice((0, 2, 4)), 0),
        *(step for _ in range(4) for step in (*sends(chance, 2), Step(0.3, "read", 2, 0))),
    ]


MUTATIONS = [
    opened(
        "what was kept and not delivered is not told again",
        "R5.6",
        "presence folds again what its table covers, and tells nobody",
        [(agents.presence.partition, "fold_presence", _tells_nothing_again)],
        opening=_owner_dies_before_a_slot_has_it,
    ),
    opened(
        "what is folded counts as delivered",
        "R5.6",
        "cursors and presence commit what a slot has not acknowledged",
        [(TablePartition, "committable", Partition.committable)],
        opening=_owner_dies_before_a_slot_has_it,
    ),
    opened(
        "a slot that was left behind is not told to ask",
        "R5.6",
        "what was dropped stays dropped (a slot is left behind after two steps)",
        [(SlotNews, "run", _never), (streams.steps, "MAX_UNDER_WAY", 1)],
        opening=slot_away_while_people_talk,
    ),
]
