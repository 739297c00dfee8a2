"""Small facts of devices on their way to Kafka.

The publisher merges facts with the same key while they wait. It sends facts that Kafka does not
take again.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from typing import Generic, TypeVar

from connectors.kafka.ports import Producer, QueueFull
from gateway.submit import MAX_UNACKNOWLEDGED
from schemas.codec import MAX_SUBMITTED_BYTES, pack

log = logging.getLogger(__name__)

MAX_WAITING = 50_000
"""Facts that wait to be sent. `put` refuses more; the publisher always keeps facts that come back
from Kafka."""
_SLICE = 2_000
"""Facts sent in one turn of the loop."""
_RETRY_SECONDS = 1.0
_MAX_FACT_BYTES = 400
"""An upper bound for one encoded fact: three ids of 64 and 129 bytes, and numbers."""

Fact = TypeVar("Fact")


class CoalescingPublisher(Generic[Fact]):
    """Use it inside a running loop.

    `encode` makes one record of facts of one partition. `merge(earlier, later)` makes one fact of
    two with the same key. `renew(key, fact, sent_at)` is called when Kafka has not taken a fact
    that was sent at `sent_at` (loop time, s). It returns the keys and facts to send instead, in
    order: a later fact may have been sent since. Facts are collected for `collect` seconds, and for
    `rest` seconds since the last were sent.
    """

    def __init__(
        self,
        producer: Producer,
        topic: str,
        encode: Callable[[list[Fact]], bytes],
        merge: Callable[[Fact, Fact], Fact],
        renew: Callable[[Hashable, Fact, float], Sequence[tuple[Hashable, Fact]]],
        collect: float,
        rest: float = 0.0,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._encode = encode
        self._merge = merge
        self._renew = renew
        self._collect = collect
        self._rest = rest
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Hashable, tuple[int, Fact]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._patient = False
        """The timer is that of a retry: a new fact does not wait for it."""
        self._not_before = 0.0
        """Loop time before which nothing is sent: the rest, or the pause after a full queue."""
        self.submitted = 0

    def put(self, key: Hashable, partition: int, fact: Fact) -> bool:
        """Queue a fact. False: too many wait, and this one is not queued."""
        known = self._waiting.pop(key, None)  # what is put later is sent later
        if known is not None:
            fact = self._merge(known[1], fact)
        elif len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting[key] = partition, fact
        if self._timer is None or self._patient:
            self._schedule(self._loop.time() + self._collect)
        return True

    def flush(self) -> None:
        """Send what waits now, because the node stops."""
        while self._waiting and self._not_before <= self._loop.time():
            self._flush()

    def _queue(self, key: Hashable, partition: int, fact: Fact) -> None:
        known = self._waiting.pop(key, None)
        self._waiting[key] = partition, fact if known is None else self._merge(known[1], fact)

    def _schedule(self, at: float, patient: bool = False) -> None:
        at = max(at, self._not_before)
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._patient = patient
        self._timer = self._loop.call_at(at, self._flush)

    def _flush(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._not_before = now + self._rest
        partitions: dict[int, list[tuple[Hashable, Fact]]] = {}
        for key, (partition, fact) in list(islice(self._waiting.items(), _SLICE)):
            partitions.setdefault(partition, []).append((key, fact))
            del self._waiting[key]
        for partition, facts in partitions.items():
            for cut in pack((_MAX_FACT_BYTES for _ in facts), MAX_SUBMITTED_BYTES):
                self._send(partition, facts[cut], now)
        if self._waiting:
            if self._not_before == now + self._rest:  # nothing was refused: the next slice at once
                self._not_before = now
            self._schedule(now)

    def _send(self, partition: int, facts: list[tuple[Hashable, Fact]], now: float) -> None:
        if len(self._producer) <= MAX_UNACKNOWLEDGED:
            value = self._encode([fact for _, fact in facts])
            try:
                self._producer.send(
                    self._topic,
                    partition,
                    value,
                    lambda error, _: self._failed(partition, facts, now) if error else None,
                )
                self.submitted += len(facts)
                return
            except QueueFull:
                pass
        self._waiting = {key: (partition, fact) for key, fact in facts} | self._waiting
        self._not_before = now + _RETRY_SECONDS

    def _failed(self, partition: int, facts: list[tuple[Hashable, Fact]], sent_at: float) -> None:
        """Send again, before what waits: that is later."""
        waiting, self._waiting = self._waiting, {}
        for key, fact in facts:
            for new_key, renewed in self._renew(key, fact, sent_at):
                self._queue(new_key, partition, renewed)
        for key, (its_partition, later) in waiting.items():
            self._queue(key, its_partition, later)
        self._schedule(self._loop.time() + _RETRY_SECONDS, patient=True)
