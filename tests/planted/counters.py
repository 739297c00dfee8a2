"""The faults that are planted in the counters of a worker. Kafka holds honest data of these."""

from collections.abc import Sequence
from typing import NamedTuple

from ops.audit.partition_state import CountersSeen
from ops.audit.verdict import Finding, Place
from schemas.topics import LOG
from tests.planted.plant import conversation_in

PARTITION = 0


class CounterPlant(NamedTuple):
    """The worker's counters differ from the log by `more`, and its log offset by `ahead`.
    `finding` is what the judge says if the log has three records, of one conversation."""

    fault: str
    check: str
    more: int
    ahead: int
    finding: Finding

    def counters(self) -> dict[int, CountersSeen | None]:
        return {PARTITION: CountersSeen(2 + self.ahead, {CONVERSATION: 3 + self.more})}


CONVERSATION = conversation_in(PARTITION, 0)
"""Of the only plant there is then."""

COUNTER_PLANTS: Sequence[CounterPlant] = (
    CounterPlant(
        "RocksDB: a counter is ahead of the log",
        "PartitionJudge._check_counters",
        4,
        0,
        Finding(
            "unseen",
            Place("table of the sequencer", PARTITION, -1, CONVERSATION, 3),
            "the worker's table counts 7, the log 3",
        ),
    ),
    CounterPlant(
        "RocksDB: a counter is behind the log",
        "PartitionJudge._check_counters",
        -1,
        0,
        Finding(
            "unseen",
            Place("table of the sequencer", PARTITION, -1, CONVERSATION, 3),
            "the worker's table counts 2, the log 3",
        ),
    ),
    CounterPlant(
        "a cut tail: a worker has folded a record that the log lacks",
        "PartitionJudge._check_ahead",
        0,
        1,
        Finding(
            "lost-write",
            Place(LOG, PARTITION, 3),
            "a worker has folded the log up to here; it ends at 3",
        ),
    ),
)
