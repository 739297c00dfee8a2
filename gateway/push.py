"""Deliveries of this node's slot to its sockets: one write per socket per burst."""

import logging

from connectors.kafka.record import Record
from gateway.presence.subscriptions import PresenceSubscriptions
from gateway.presence.typing import TypingRelay
from gateway.registry import Connection, ConnectionRegistry
from schemas.codec import NewerVersion, Undecodable, decode_deliveries
from schemas.events import PresenceDelivered, TypingDelivered

log = logging.getLogger(__name__)


class Pusher:
    def __init__(
        self, hub: ConnectionRegistry, subscriptions: PresenceSubscriptions, typing: TypingRelay
    ) -> None:
        self._hub = hub
        self._subscriptions = subscriptions
        self._typing = typing
        self.pushed = 0

    def take(self, records: list[Record]) -> None:
        """Push what a fetch brought. A record that cannot be read is logged; its messages are in
        the log."""
        dirty: set[Connection] = set()
        for record in records:
            try:
                events = decode_deliveries(record.value).events
            except (Undecodable, NewerVersion) as error:
                log.error("delivery %d/%d: %s", record.partition, record.offset, error)
                continue
            for event in events:
                if isinstance(event, PresenceDelivered):
                    self._subscriptions.deliver(event)
                elif isinstance(event, TypingDelivered):
                    self._typing.deliver(event)
                else:
                    self._hub.deliver(event, dirty)
            self.pushed += len(events)
        for connection in dirty:
            connection.flush()
