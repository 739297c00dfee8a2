"""Small facts of devices into a topic: what queues for the same thing is merged, and what Kafka
does not take is said again."""

import asyncio
import logging
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from connectors.kafka.ports import QueueFull
from connectors.kafka.producer import KafkaProducer
from schemas.codec import MAX_SUBMITTED_BYTES, pack

log = logging.getLogger(__name__)

MAX_WAITING = 50_000
"""Facts that wait to be submitted; more are not taken."""
_RETRY_SECONDS = 1.0
_MAX_BYTES = 400
"""Of one encoded fact, at most: three ids of 64 and 129 bytes, and numbers."""

Fact = TypeVar("Fact")


class CoalescingPublisher(Generic[Fact]):
    """Use it inside a running loop. `record` encodes facts of one partition, `merge(earlier,
    later)` makes one of two with the same key. Facts are collected for `seconds`, and for `rest`
    since the last were submitted.
    """

    def __init__(
        self,
        producer: KafkaProducer,
        topic: str,
        record: Callable[[list[Fact]], bytes],
        merge: Callable[[Fact, Fact], Fact],
        seconds: float,
        rest: float = 0.0,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._record = record
        self._merge = merge
        self._seconds = seconds
        self._rest = rest
        self._rested = 0.0
        """When that is over."""
        self._waiting: dict[Hashable, tuple[int, Fact]] = {}
        self._scheduled = False
        self.submitted = 0

    def put(self, key: Hashable, partition: int, fact: Fact) -> bool:
        """Take a fact; False: too many wait, and this one is not taken."""
        known = self._waiting.get(key)
        if known is None and len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting[key] = partition, fact if known is None else self._merge(known[1], fact)
        self._schedule(self._seconds)
        return True

    def _schedule(self, seconds: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time() + seconds, self._rested), self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        self._rested = asyncio.get_running_loop().time() + self._rest
        waiting, self._waiting = self._waiting, {}
        partitions: dict[int, list[tuple[Hashable, Fact]]] = {}
        for key, (partition, fact) in waiting.items():
            partitions.setdefault(partition, []).append((key, fact))
        for partition, facts in partitions.items():
            for cut in pack((_MAX_BYTES for _ in facts), MAX_SUBMITTED_BYTES):
                self._send(partition, facts[cut])

    def _send(self, partition: int, facts: list[tuple[Hashable, Fact]]) -> None:
        value = self._record([fact for _, fact in facts])
        try:
            self._producer.send(
                self._topic,
                partition,
                value,
                lambda error, _: self._again(partition, facts) if error else None,
            )
            self.submitted += len(facts)
        except QueueFull:
            self._again(partition, facts)

    def _again(self, partition: int, facts: list[tuple[Hashable, Fact]]) -> None:
        """Once more, merged with what has come since."""
        for key, fact in facts:
            later = self._waiting.get(key)
            if later is not None or len(self._waiting) < MAX_WAITING:
                self._waiting[key] = (
                    partition,
                    fact if later is None else self._merge(fact, later[1]),
                )
        self._schedule(_RETRY_SECONDS)
