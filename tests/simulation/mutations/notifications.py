"""Who is notified of what, and when that is over (decision 60)."""

import random
from collections.abc import Sequence
from typing import Any

from agents.notifier.partition import NotifierPartition
from agents.rules import cursors
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, ReceiptRecord, Unreached
from schemas.topics import RECEIPTS
from simulation.history import Step
from simulation.world import Shape
from tests.simulation.mutations.mutation import Mutation
from tests.simulation.mutations.openings import AWAY_12, STAGES, ignored, lose_both

NOTIFYING = Shape(workers=((*STAGES, "notifier"), (*STAGES, "notifier")), away=("dave",))
_ALICE, _BOB = 0, 2  # their phones
_TO_BOB, _TO_DAVE = 0, 2


async def _does_not_wait(self: Any, unreached: Sequence[Unreached]) -> None:
    record = encode_event(ReceiptRecord(SCHEMA_VERSION, list(unreached)))
    self._io.producer.send(RECEIPTS, self.number, record)


def _nobody_takes_it_and_the_notifiers_die(chance: random.Random) -> list[Step]:
    return [
        *lose_both(1.0, RECEIPTS, AWAY_12),
        *(Step(0.1, "send", _ALICE, _TO_DAVE) for _ in range(3)),
        *(Step(chance.uniform(3.0, 4.0) * (1 - n), "kill worker", n, 0) for n in (0, 1)),
    ]


def _bob_reads_what_came_while_he_was_away(chance: random.Random) -> list[Step]:
    return [
        *(Step(0.1, "close app", app, 0) for app in (_BOB, _BOB + 1)),
        Step(chance.uniform(1.0, 2.0), "send", _ALICE, _TO_BOB),
        Step(5.0, "open app", _BOB, 0),
        Step(3.0, "read", _BOB, 0),
    ]


MUTATIONS = [
    Mutation(
        "what the notifier says may be lost",
        "guard",
        "the notifier does not wait until Kafka has what it says",
        [(NotifierPartition, "_say", _does_not_wait)],
        {},
        shape=NOTIFYING,
        opening=_nobody_takes_it_and_the_notifiers_die,
        tail=0,
    ),
    Mutation(
        "reading cancels nothing",
        "guard",
        "notifications of what has been read are not over",
        [(cursors, "_cancelled", ignored)],
        {},
        shape=NOTIFYING,
        opening=_bob_reads_what_came_while_he_was_away,
        tail=0,
    ),
]
