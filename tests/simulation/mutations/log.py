"""R1 to R7: the fold, the log, and what is delivered from it."""

import random
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

import agents.sequencer.log_applier
import agents.sequencer.partition
import agents.sequencer.restore
import agents.sequencer.stage
from agents.rules.batch import Batch, fold_records
from agents.rules.decisions import Decisions
from agents.rules.fold import FoldState
from agents.rules.folded_input import FoldedInput
from agents.rules.log import Verdict
from agents.sequencer.appender import Appender
from agents.sequencer.deliverer import Deliverer
from agents.sequencer.partition import SequencerPartition
from schemas.topics import LOG, SUBMITTED
from simulation.history import Step
from simulation.world import Shape
from tests.simulation.mutations.mutation import Mutation, opened
from tests.simulation.mutations.openings import (
    AWAY_2,
    AWAY_5,
    AWAY_12,
    CALM,
    KILLS,
    PAUSES,
    STAGES,
    ignored,
    lose_both,
    returns_true,
    sends,
)


def _drops_repeats(state: FoldState, records: Any, skip: Any) -> Iterator[Batch]:
    for batch in fold_records(state, records, skip):
        if batch.outcome.taken or batch.outcome.dead:
            yield batch


_submit = FoldState._submit


def _takes_any_ordinal(self: Any, offset: int, index: int, item: Any, outcome: Any) -> None:
    conversation = self._conversations.get(item.conversation) or self._load(item.conversation)
    outbox = conversation.outboxes.get((item.sender, item.outbox)) if conversation else None
    if outbox is not None:
        outbox.ordinal = item.ordinal - 1
    _submit(self, offset, index, item, outcome)


_restore = SequencerPartition._restore


def _jumps_to_the_end(self: Any) -> int:
    position = _restore(self)
    reader = self.io._io.kafka.reader(5.0)
    end: int = reader.watermarks(SUBMITTED, self.number)[1]
    if end > position:
        self._state.position = end - 1
        return end
    return position


def _delivers_nothing_again(self: Any) -> int:
    position = _restore(self)
    self._deliverer = Deliverer(self.io, self.retry, position - 1, position - 1, 0)
    return position


def _done_when_appended(self: Any) -> int:
    position: int = self._applier.header.position
    return position


def _believes_every_report(self: Any, item: Any, ok: bool, offset: int) -> None:
    self._unreported -= 1
    if self._closed or item not in self._in_flight:
        return
    self._in_flight.remove(item)
    self._bytes -= len(item.value)
    following = self._applier.header.log_offset + 1
    self._applier.header = replace(self._applier.header, log_offset=max(offset, following) - 1)
    self._applier.apply(max(offset, following), 0, item.entry)
    self._partition.landed(max(offset, following), item.entry.to)


def _stops_at_poison(state: FoldState, records: Any, skip: Any) -> Iterator[Batch]:
    for batch in fold_records(state, records, skip):
        if batch.outcome.dead:
            raise ValueError("it cannot be read")
        yield batch


def _skips_nothing(state: FoldState, records: Any, skip: Any) -> Iterator[Batch]:
    return fold_records(state, records)


async def _clears(dead: list[Any]) -> None:
    dead.clear()


def _halted(chance: random.Random) -> list[Step]:
    """Both partitions take a record that halts them, then messages; an operator decides."""
    return [
        *sends(chance, 6),
        Step(0.5, "write ahead", 0, AWAY_2),
        Step(0.0, "write ahead", 1, AWAY_2),
        *sends(chance, 6),
        Step(6.0, "send", 0, 0),
    ]


def _late_append(chance: random.Random) -> list[Step]:
    """A worker is paused with appends that it has not sent; another takes over; then it wakes, and
    sends them; then the owner dies."""
    return [
        *sends(chance, 6),
        *lose_both(0.5, LOG, AWAY_5),
        *sends(chance, 6),
        Step(0.2, "pause worker", chance.randrange(2), AWAY_12),
        Step(7.0, "send", 0, 0),
        *sends(chance, 10),
        Step(5.5, "send", 0, 0),
        Step(0.5, "kill worker", 0, 0),
        Step(0.0, "kill worker", 1, 0),
        Step(6.0, "send", 0, 0),
        *sends(chance, 6),
    ]


def _lost_appends(chance: random.Random) -> list[Step]:
    """The client of the log fails, with appends under way."""
    return [
        *sends(chance, 2),
        *lose_both(0.5, LOG, AWAY_2),
        *sends(chance, 4),
        Step(0.3, "break producers", 2, chance.randrange(1000)),
        Step(0.0, "break producers", 3, chance.randrange(1000)),
    ]


def _append_of_a_dead_owner(chance: random.Random) -> list[Step]:
    """An owner wakes that was paused, appends what its successor has not read yet, cannot deliver
    it, and dies. The successor finds it in the log before it can read the input. The sender is
    gone, so nobody sends again."""
    paused, bob = chance.randrange(3), 2
    successors = [2 + worker for worker in range(3) if worker != paused]
    return [
        *(Step(0.0, "close app", app, 0) for app in (1, 3)),
        *(Step(0.1, "send", bob, 0) for _ in range(3)),
        Step(1.0, "pause worker", paused, AWAY_12),
        *lose_both(11.6, LOG, AWAY_2),
        Step(0.05, "send", bob, 0),
        *(Step(0.12, "cut from kafka", part, 3 * AWAY_2) for part in successors),
        Step(0.0, "cut from redis", 2 + paused, AWAY_5),
        Step(0.03, "send", bob, 0),
        Step(0.4, "kill app", bob, 0),
        *lose_both(chance.uniform(1.3, 1.5), SUBMITTED, AWAY_2),
        Step(0.05, "kill worker", paused, 0),
    ]


def _appended_and_not_delivered(chance: random.Random) -> list[Step]:
    """Workers cannot look for routes; they append what people say, and die."""
    return [
        *sends(chance, 3),
        *(Step(0.5, "cut from redis", worker, AWAY_12) for worker in (2, 3)),
        *sends(chance, 4),
        Step(1.0, "kill worker", 0, 0),
        Step(0.0, "kill worker", 1, 0),
    ]


def _leader_without_acknowledged(chance: random.Random) -> list[Step]:
    """A leader comes that lacks the last input, and gives its offset to another message before
    anybody has looked."""
    return [
        *sends(chance, 8),
        Step(0.5, "lose acknowledged", 0, 0),
        Step(0.0, "lose acknowledged", 1, 0),
        *(Step(0.0, "burst", chance.randrange(6), chance.randrange(1000)) for _ in range(4)),
    ]


MUTATIONS = [
    Mutation(
        "repeats leave no log record",
        "R1.1",
        "a batch of repeats alone is not appended",
        [(agents.sequencer.partition, "fold_records", _drops_repeats)],
        {"cut_from_kafka": 8, "lose_network": 8, "send": 30, "go_offline": 8},
    ),
    Mutation(
        "the fold takes any ordinal",
        "R1.4",
        "a send that comes again is numbered again",
        [(FoldState, "_submit", _takes_any_ordinal)],
        {"lose_network": 8, "send": 30, "kill_gateway": 8},
    ),
    Mutation(
        "a reader takes every record",
        "R2",
        "a late append of a woken owner is applied",
        [
            (agents.sequencer.log_applier, "judge", lambda position, entry: Verdict.TAKE),
            (agents.sequencer.log_applier, "news", lambda position, entry: entry.taken),
        ],
        {**PAUSES, "cut_log": 1, "break_producers": 20, "lose_leader": 8},
        100,
        opening=_late_append,
    ),
    Mutation(
        "a new owner jumps to the end of the input",
        "R3.2",
        "the position is where Kafka is, not where the state is",
        [(SequencerPartition, "_restore", _jumps_to_the_end)],
        KILLS,
    ),
    Mutation(
        "whatever follows is folded",
        "R3.5",
        "a new leader's records are folded without a look at the record before them",
        [(FoldedInput, "joins", lambda self, record: True)],
        {**CALM, "lose_acknowledged": 1, "send": 30, "burst": 10},
        opening=_leader_without_acknowledged,
    ),
    Mutation(
        "nothing is delivered again",
        "R5.2",
        "a new owner takes what is in the log for delivered",
        [(SequencerPartition, "_restore", _delivers_nothing_again)],
        {**KILLS, "stop_redis": 6, "lose_leader": 6},
        opening=_appended_and_not_delivered,
    ),
    Mutation(
        "d moves without deliveries",
        "R5.1",
        "what is appended counts as delivered",
        [(SequencerPartition, "_done", property(_done_when_appended))],
        {**KILLS, "stop_redis": 8, "lose_leader": 10},
        opening=_appended_and_not_delivered,
    ),
    Mutation(
        "the appender believes every report",
        "R6.1",
        "an append that failed counts as landed (and R3.5, which would heal it, is off)",
        [
            (Appender, "_reported", _believes_every_report),
            (SequencerPartition, "log_is", ignored),
        ],
        {**CALM, "break_producers": 25, "lose_leader": 25, "send": 25, "burst": 15},
        opening=_lost_appends,
    ),
    Mutation(
        "poison stops a partition",
        "R7.1",
        "what no decoder reads is an exception",
        [(agents.sequencer.partition, "fold_records", _stops_at_poison)],
        {"write_garbage": 10},
    ),
    Mutation(
        "no dead letters",
        "R7.2",
        "what cannot be read is covered by the log and not set aside",
        [(Appender, "_set_aside", lambda self, dead: _clears(dead))],
        {"write_garbage": 10},
    ),
    Mutation(
        "nobody looks behind a halt",
        "R7.8",
        "a halted partition does not look for what an operator has decided",
        [(agents.sequencer.stage, "look_for_decisions", returns_true)],
        {**CALM, "write_ahead": 10},
        opening=_halted,
    ),
    Mutation(
        "a restored partition does not know decisions",
        "R7.8",
        "an owner folds before it has looked for what an operator has decided",
        [(agents.sequencer.restore, "decisions_from", lambda *_: (Decisions(), 0))],
        {**KILLS, "write_ahead": 10},
        opening=_halted,
    ),
    Mutation(
        "what is skipped is folded",
        "R7.7",
        "a record that an operator has set aside counts like any other",
        [(agents.sequencer.partition, "fold_records", _skips_nothing)],
        {**CALM, "write_ahead": 10},
        opening=_halted,
    ),
    opened(
        "the log ahead is not delivered",
        "guard, fault 16",
        "what another owner has appended is left to that owner to deliver",
        [(Deliverer, "owe", ignored)],
        most=40,
        shape=Shape(workers=(STAGES, STAGES, STAGES)),
        opening=_append_of_a_dead_owner,
    ),
]
