"""Planted faults in a Kafka in memory, and the judge on it."""

from collections.abc import Mapping, Sequence
from itertools import count

from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from ops.audit.pace import Pace
from ops.audit.partition_state import CountersSeen, PartitionState
from ops.audit.topics import TopicsAudit, TopicsState
from ops.audit.verdict import Verdict
from schemas.topics import DELIVERIES, LOG, SUBMITTED
from tests.planted.plant import (
    PARTITIONS,
    SLOT,
    InputSeen,
    Laid,
    Plant,
    honest_log,
    input_values,
    spoil,
)

SLOTS = 8


def planted(plants: Sequence[Plant]) -> tuple[MemoryBroker, dict[str, Laid]]:
    """A broker with these faults in it, and where each is."""
    clock = count(1_000)
    broker = MemoryBroker(
        {SUBMITTED: PARTITIONS, LOG: PARTITIONS, DELIVERIES: SLOTS}, lambda: next(clock)
    )
    laid: dict[str, Laid] = {}
    for partition in range(PARTITIONS):
        for value in input_values(plants, partition):
            broker.append(SUBMITTED, partition, value)
        inputs = [
            InputSeen(record.offset, record.timestamp, record.value)
            for record in broker.read_all(SUBMITTED, partition)
        ]
        before = broker.log(DELIVERIES, SLOT).end
        spoiled = spoil(plants, partition, honest_log(inputs), before)
        for value in spoiled.log:
            broker.append(LOG, partition, value)
        for value in spoiled.delivered:
            broker.append(DELIVERIES, SLOT, value)
        laid |= spoiled.laid
    return broker, laid


def judged(
    broker: MemoryBroker,
    counters: Mapping[int, CountersSeen | None] | None = None,
    state: TopicsState | None = None,
) -> Verdict:
    """What the judge says of it."""
    verdict = Verdict()
    kafka = MemoryKafka(broker)
    audit = TopicsAudit(
        kafka.reader,
        SLOTS,
        state or TopicsState([PartitionState() for _ in range(PARTITIONS)]),
        verdict,
        Pace(),
        lambda: dict(counters or {}),
        patience=0.0,
    )
    while not audit.read_on():
        pass
    audit.close()
    return verdict
