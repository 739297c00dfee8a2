"""Tells `presence.submitted` which users have a device on this node.

A device that says goodbye (a close frame) is gone at once. One that merely vanishes has a grace to
come back, here or elsewhere, so that a bad network does not make its user flicker.
"""

import asyncio
from collections.abc import Hashable
from itertools import islice

from connectors.kafka.ports import Producer
from gateway.coalescing_publisher import CoalescingPublisher
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, PresenceChange, PresenceRecord
from schemas.ids import partition_of
from schemas.topics import PRESENCE_SUBMITTED

GRACE_SECONDS = 5.0
_COLLECT_SECONDS, _REST_SECONDS = 0.002, 0.1
"""One change alone is sent at once. Where many users come and go, collecting makes each cheaper,
and 500 ms is early enough."""
_SLICE = 1_000
"""Users published in one turn of the loop."""
_RETRY_SECONDS = 0.5


class PresenceAnnouncer:
    """Use it inside a running loop. `node` is this node's id, `partitions` how many
    `presence.submitted` has.

    What is published of a user is always what is true at that moment, also when it is published
    again: an older fact never follows a newer one.
    """

    def __init__(self, node: str, partitions: int, producer: Producer) -> None:
        self._node = node
        self._partitions = partitions
        self._loop = asyncio.get_running_loop()
        self._connections: dict[str, int] = {}
        """user → connections here."""
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        """Users in their grace."""
        self._unpublished: dict[str, None] = {}
        """Users to publish, in order, in slices; each stands here once."""
        self._publishing = False
        self._publisher = CoalescingPublisher[PresenceChange](
            *(producer, PRESENCE_SUBMITTED, _encode, lambda _, later: later, self._renew),
            *(_COLLECT_SECONDS, _REST_SECONDS),
        )

    def came(self, user: str) -> None:
        """A user has one more connection here."""
        self._connections[user] = self._connections.get(user, 0) + 1
        leaving = self._leaving.pop(user, None)
        if leaving is not None:
            leaving.cancel()
        elif self._connections[user] == 1:
            self._publish(user)

    def went(self, user: str, goodbye: bool) -> None:
        """A connection of a user has ended; `goodbye`: the device said so."""
        left = self._connections.get(user, 0) - 1
        if left > 0:
            self._connections[user] = left
            return
        self._connections.pop(user, None)
        if goodbye:
            self._publish(user)
        else:
            self._leaving[user] = self._loop.call_later(GRACE_SECONDS, self._gone, user)

    def announce(self) -> None:
        """Publish every user who is here: the workers may have taken this node for dead."""
        self._unpublished |= dict.fromkeys((*self._connections, *self._leaving))
        self._publish_soon(0.0)

    def _gone(self, user: str) -> None:
        del self._leaving[user]
        self._publish(user)

    def _change(self, user: str) -> PresenceChange:
        return PresenceChange(user, self._node, user in self._connections or user in self._leaving)

    def _renew(
        self, user: Hashable, change: PresenceChange, _sent_at: float
    ) -> list[tuple[Hashable, PresenceChange]]:
        return [(user, self._change(change.user))]

    def _publish(self, user: str) -> None:
        if not self._put(user):
            self._unpublished[user] = None
            self._publish_soon(_RETRY_SECONDS)

    def _put(self, user: str) -> bool:
        return self._publisher.put(user, partition_of(user, self._partitions), self._change(user))

    def _publish_soon(self, seconds: float) -> None:
        if self._unpublished and not self._publishing:
            self._publishing = True
            self._loop.call_later(seconds, self._publish_slice)

    def _publish_slice(self) -> None:
        self._publishing = False
        for user in list(islice(self._unpublished, _SLICE)):
            if not self._put(user):
                self._publish_soon(_RETRY_SECONDS)
                return
            del self._unpublished[user]
        self._publish_soon(0.0)


def _encode(changes: list[PresenceChange]) -> bytes:
    return encode_event(PresenceRecord(SCHEMA_VERSION, changes))
