"""Devices' sends go to `messages.submitted`: one record a partition and departure.

At light load a departure is the end of a loop turn. On a busy node departures keep a distance:
messages that leave together stay together at every hop to their recipients, so a message costs the
less, the more others go with it.
"""

import asyncio
import logging
from collections.abc import Callable

from connectors.kafka.ports import Producer, QueueFull
from connectors.kafka.traffic import Traffic
from schemas.codec import MAX_SUBMITTED_BYTES, encode_event, pack
from schemas.codes import Code
from schemas.events import (
    CHANGES_VERSION,
    SCHEMA_VERSION,
    ChangeSubmitted,
    Submitted,
    SubmittedItem,
    SubmittedRecord,
)
from schemas.ids import partition_of
from schemas.topics import SUBMITTED

log = logging.getLogger(__name__)

MAX_UNACKNOWLEDGED = 20_000
"""Records that Kafka has not acknowledged. Beyond it the node tells devices to try later; their
ordinals keep the order."""

MAX_UNACKNOWLEDGED_BYTES = 64 * 1024 * 1024
"""The bytes of these records. librdkafka counts them: it reports only errors to us."""

BUSY = 500
"""Items a second from which on departures keep a distance."""
DISTANCE_SECONDS = 0.003
"""Of a busy node's departures. A message waits half of it, and leaves with those of a departure."""

Failed = Callable[[Code], None]
"""Called once if an item could not be handed to Kafka."""

PRODUCER = {
    "linger.ms": 0,
    "delivery.report.only.error": True,
    # A partition has another leader within 4 s of the old one's end, mostly (decision 38). Who
    # writes when there is none is told so instead of being kept waiting.
    "message.timeout.ms": 4_000,
    "queue.buffering.max.kbytes": MAX_UNACKNOWLEDGED_BYTES // 1024,
}


class Submitter:
    """Collects items, and sends them at the next departure. Use it inside a running loop. `slot` is
    where the senders' routes lead, None while they lead nowhere."""

    def __init__(self, producer: Producer, partitions: int, slot: Callable[[], int | None]) -> None:
        self._producer = producer
        self._slot = slot
        self._pending: list[list[tuple[SubmittedItem, Failed]]] = [[] for _ in range(partitions)]
        self._with_changes: set[int] = set()
        """Partitions with a change among what is pending."""
        self._partition_of: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._departed = 0.0
        """Loop time of the last departure."""
        self._traffic = Traffic()
        self.submitted = 0
        self.turned_away = 0

    def submit(self, item: SubmittedItem, failed: Failed) -> None:
        """Queue an item; it leaves at the end of this loop turn, or DISTANCE_SECONDS later at
        most."""
        partition = self._partition_of.get(item.conversation)
        if partition is None:
            if len(self._partition_of) >= 100_000:
                self._partition_of.clear()
            partition = self._partition_of[item.conversation] = partition_of(
                item.conversation, len(self._pending)
            )
        self._pending[partition].append((item, failed))
        if type(item) is ChangeSubmitted:
            self._with_changes.add(partition)
        if not self._scheduled:
            self._scheduled = True
            now, next_ = self._loop.time(), self._departed + DISTANCE_SECONDS
            if now >= next_ or self._traffic.per_second(now) < BUSY:
                self._loop.call_soon(self._flush)
            else:
                self._loop.call_at(next_, self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        self._departed = self._loop.time()
        self._traffic.passed(sum(map(len, self._pending)), self._departed)
        for partition, pending in enumerate(self._pending):
            if pending:
                self._pending[partition] = []
                changes = partition in self._with_changes
                self._send(partition, pending, CHANGES_VERSION if changes else SCHEMA_VERSION)
        self._with_changes.clear()

    def _send(
        self, partition: int, pending: list[tuple[SubmittedItem, Failed]], version: int
    ) -> None:
        if len(self._producer) > MAX_UNACKNOWLEDGED:
            self._fail(pending)
            return
        slot = self._slot()
        items: list[Submitted] = [item for item, _ in pending]
        value = encode_event(SubmittedRecord(version, items, -1 if slot is None else slot))
        if len(value) > MAX_SUBMITTED_BYTES and len(pending) > 1:
            sizes = (len(encode_event(item)) for item, _ in pending)
            for cut in list(pack(sizes, MAX_SUBMITTED_BYTES - 64)):
                self._send(partition, pending[cut], version)
            return
        try:
            self._producer.send(
                SUBMITTED,
                partition,
                value,
                lambda error, _offset: self._fail(pending) if error else None,
            )
            self.submitted += len(pending)
        except QueueFull:
            self._fail(pending)

    def _fail(self, pending: list[tuple[SubmittedItem, Failed]]) -> None:
        self.turned_away += len(pending)
        for _, failed in pending:
            failed(Code.TRY_LATER)
