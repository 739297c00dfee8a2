"""R9, R10, R13: what devices ask, and what they say of themselves."""

import random
from typing import Any

import agents.cursors.partition
from agents.rules.cursors import fold_receipts
from gateway.queries.worker_client import WorkerClient
from gateway.receipt_gate import ReceiptGate
from messenger_sdk.marks import MarkBook
from schemas.topics import SUBMITTED
from simulation.history import Step
from streams.stage import Stage
from streams.tables.sequences import SequenceTable
from tests.simulation.mutations.mutation import Mutation, opened
from tests.simulation.mutations.openings import (
    AWAY_5,
    AWAY_12,
    NO_ARCHIVE,
    lose_both,
)


def _publishes_news_only(known: Any, items: Any, outcome: Any) -> None:
    fold_receipts(known, items, outcome)
    news = {cursor[:2] for cursor in outcome.changed}
    for place in [place for place in outcome.published if place not in news]:
        del outcome.published[place]


_answer = MarkBook.answer


def _says_nothing_again(self: Any, marks: Any, now: float) -> Any:
    news = _answer(self, marks, now)
    self._unsent.clear()
    return news


_ask_owners = WorkerClient.ask_owners


async def _always_complete(self: Any, *args: Any) -> Any:
    found, _ = await _ask_owners(self, *args)
    return found, True


_ALICE, _BOB = 0, 2  # their phones


def _asked_after_its_pause(chance: random.Random) -> list[Step]:
    """Alice's phone is off, and her partition changes its owner twice. The first one wakes when the
    second is silent, claims the partition, cannot read what it missed, and is asked."""
    first = chance.randrange(2)
    return [
        *(Step(0.0, "close app", app, 0) for app in (1, 3)),
        Step(0.1, "send", _ALICE, 0),
        Step(1.0, "kill app", _ALICE, 0),
        Step(0.0, "pause worker", first, AWAY_12),
        *(Step(1.5, "send", _BOB, 0) for _ in range(3)),
        Step(1.5, "pause worker", 1 - first, AWAY_12),
        *lose_both(5.8, SUBMITTED, AWAY_5),
        Step(chance.uniform(0.2, 0.5), "open app", _ALICE, 0),
    ]


def _takes_all(self: Any, receipt: Any, refused: Any) -> None:
    self._take(receipt, refused)


MUTATIONS = [
    Mutation(
        "no places in the log",
        "R9.1",
        "the table does not know which log record holds a message",
        [(SequenceTable, "places", lambda self, *_: [])],
        {"open_app": 12, "close_app": 8, "send": 20},
        shape=NO_ARCHIVE,
    ),
    Mutation(
        "an equal mark is not published again",
        "R10.3",
        "a receipt that equals its cursor is dropped",
        [(agents.cursors.partition, "fold_receipts", _publishes_news_only)],
        {"kill_worker": 20, "read": 15, "send": 20, "cut_from_redis": 6, "lose_leader": 8},
        200,
    ),
    Mutation(
        "a device does not say its marks again",
        "R10.4",
        "what the server does not know is not repeated",
        [(MarkBook, "answer", _says_nothing_again)],
        {"kill_gateway": 15, "fill_producers": 8, "cut_from_kafka": 12, "read": 15, "send": 20},
        200,
    ),
    opened(
        "a receipt without a message",
        "R10.5",
        "a gateway takes receipts of conversations in which nobody has written",
        [(ReceiptGate, "submit", _takes_all)],
        shape=NO_ARCHIVE,
        opening=lambda chance: [Step(1.0, "claim", chance.randrange(6), chance.randrange(2))],
    ),
    Mutation(
        "a part counts as the whole",
        "R13.2",
        "an answer of some owners is complete",
        [(WorkerClient, "ask_owners", _always_complete)],
        {"cut_from_workers": 8, "kill_worker": 10, "pause_worker": 10, "reset": 10, "send": 20},
        200,
    ),
    opened(
        "an owner that was paused answers",
        "guard, fault 22",
        "a worker answers for partitions that it may have lost",
        [(Stage, "confirmed", property(lambda self: True))],
        most=40,
        opening=_asked_after_its_pause,
    ),
]
