"""Sends the deliveries of all stages and partitions of a process, by gateway slot: deliveries that
leave for a slot together are one record.

A Kafka request costs far more than the events in it. So the deliveries of a loop turn to one slot
are one record, and deliveries that are not urgent wait a little for others.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from connectors.kafka.ports import Producer, QueueFull, Report
from schemas.codec import encode_deliveries
from schemas.events import Delivered
from schemas.topics import DELIVERIES

_RETRY_SECONDS = 0.05

Told = Callable[[bool], None]
"""Called once: whether Kafka has acknowledged the events."""


class SlotSender:
    """Use it inside a running loop. Its callers bound what waits here: each waits for the reports
    of what it has sent."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, list[tuple[Sequence[Delivered], Told]]] = {}
        self._urgent: set[int] = set()
        """Slots that are sent to at the end of this loop turn."""
        self._timer: asyncio.TimerHandle | None = None
        self._refused: dict[int, deque[tuple[bytes, Report]]] = {}
        """Slot → records that the producer did not take; what comes later waits behind them."""

    def send(
        self, slot: int, events: Sequence[Delivered], told: Told, patience: float = 0.0
    ) -> None:
        """Send events to a slot, behind all that was sent to it before: at the end of this loop
        turn, or with whatever leaves for the slot in the next `patience` seconds."""
        self._waiting.setdefault(slot, []).append((events, told))
        if patience:
            if self._timer is None:
                self._timer = self._loop.call_later(patience, self._patience_ends)
            return
        if not self._urgent:
            self._loop.call_soon(self._turn_ends)
        self._urgent.add(slot)

    def _turn_ends(self) -> None:
        urgent, self._urgent = self._urgent, set()
        for slot in urgent:
            self._flush(slot)

    def _patience_ends(self) -> None:
        self._timer = None
        for slot in list(self._waiting):
            self._flush(slot)

    def _flush(self, slot: int) -> None:
        if slot in self._refused or slot not in self._waiting:
            return
        waiting = self._waiting.pop(slot)
        if len(waiting) == 1:
            values = encode_deliveries(waiting[0][0])
        else:
            values = encode_deliveries([event for events, _ in waiting for event in events])
        report = _report_to([told for _, told in waiting], len(values))
        self._send(slot, deque((value, report) for value in values))

    def _send(self, slot: int, records: deque[tuple[bytes, Report]]) -> None:
        while records:
            value, report = records[0]
            try:
                self.producer.send(DELIVERIES, slot, value, report)
            except QueueFull:
                self._refused[slot] = records
                self._loop.call_later(_RETRY_SECONDS, self._send_again, slot)
                return
            records.popleft()

    def _send_again(self, slot: int) -> None:
        self._send(slot, self._refused.pop(slot))
        self._flush(slot)


def _report_to(riders: Sequence[Told], records: int) -> Report:
    """Tells the riders once all the records that carry their events have a report."""
    left, acknowledged = records, True

    def report(error: Exception | None, offset: int) -> None:
        nonlocal left, acknowledged
        left -= 1
        acknowledged = acknowledged and error is None
        if not left:
            for told in riders:
                told(acknowledged)

    return report
