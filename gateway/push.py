"""Pushes the deliveries of this node's slot to its connections: one write for each connection and
fetch."""

import logging
from collections.abc import Callable, Sequence

from connectors.kafka.record import Record
from gateway.log_throttle import LogThrottle
from gateway.people.people import People
from gateway.presence.typing import TypingRelay
from gateway.queries.recent import RecentPages
from gateway.registry import ConnectionRegistry
from schemas.codec import NewerVersion, Undecodable, decode_deliveries, salvage_deliveries
from schemas.events import (
    Delivered,
    DeliveriesMissed,
    MarkDelivered,
    MessageDelivered,
    PersonDelivered,
    PresenceDelivered,
    SlotTaken,
    TypingDelivered,
)

log = logging.getLogger(__name__)


class Pusher:
    """`write` writes what the connections have been pushed; `resync` makes all of the node's
    devices ask what they have missed; `slot_taken` gets the node that has taken the slot; `sample`
    gets the first `message` frame of each fetch."""

    def __init__(
        self,
        registry: ConnectionRegistry,
        typing: TypingRelay,
        people: People,
        recent: RecentPages,
        write: Callable[[], None],
        resync: Callable[[], None],
        slot_taken: Callable[[str], None],
        sample: Callable[[bytes], None],
    ) -> None:
        self._registry = registry
        self._typing = typing
        self._people = people
        self._recent = recent
        self._write = write
        self._resync = resync
        self._slot_taken = slot_taken
        self._sample = sample
        self._unreadable = LogThrottle(log.error)
        self.pushed = 0

    def receive(self, records: Sequence[Record]) -> None:
        """Push what a fetch brought."""
        first: MessageDelivered | None = None
        for record in records:
            events = self._decode(record)
            if first is None:
                first = next((e for e in events if type(e) is MessageDelivered), None)
            try:
                self._push(events)
            except Exception:  # a fault of ours; the records behind it must be pushed
                log.exception("the delivery %d/%d failed", record.partition, record.offset)
                self._resync()
        self._write()
        if first is not None:
            self._sample(first.frame)

    def _push(self, events: Sequence[Delivered]) -> None:
        live = self._recent.live
        for event in events:
            if type(event) is MessageDelivered:
                if event.conversation in live:
                    self._recent.passed(event)
                self._registry.deliver(event)
            elif isinstance(event, MarkDelivered):
                self._people.marks.deliver(event)
            elif isinstance(event, PersonDelivered):
                self._people.changed(event)
            elif isinstance(event, PresenceDelivered):
                self._people.subscriptions.deliver(event)
            elif isinstance(event, TypingDelivered):
                self._typing.deliver(event)
            elif isinstance(event, SlotTaken):
                self._slot_taken(event.node)
            elif isinstance(event, DeliveriesMissed):
                self._resync()
            else:
                self._registry.deliver(event)
        self.pushed += len(events)

    def _decode(self, record: Record) -> Sequence[Delivered]:
        """The events of a record. Of one that cannot be read as a whole, those that can be; the
        devices learn of the others by asking."""
        try:
            return decode_deliveries(record.value).events
        except (Undecodable, NewerVersion) as error:
            place = f"{record.partition}/{record.offset}"
            self._unreadable(f"the delivery {place} cannot be read; all devices resync: {error}")
            self._resync()
            return salvage_deliveries(record.value)
