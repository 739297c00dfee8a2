"""Which connections a delivery goes to: user → device → connection, and what each has seen."""

from collections.abc import Iterator
from typing import Protocol

from schemas.codes import Close
from schemas.events import (
    AnswerDelivered,
    Delivered,
    DeviceLoggedOut,
    MarkDelivered,
    MessageDelivered,
    SessionReplaced,
)

MAX_REMEMBERED = 2000
"""Conversations a connection remembers the last pushed seq of; the older half is forgotten when it
is full."""


class Connection(Protocol):
    """One socket, as the hub sees it."""

    user: str
    device: str
    since: int
    """When it came, by `Routes.now`."""
    seen: dict[str, int]

    def push(self, frame: bytes) -> None:
        """Queue a frame; it goes out with the next `flush`."""

    def answer(self, frame: bytes) -> None:
        """The same for the answer to a send."""

    def flush(self) -> None:
        """Write what is queued, in one write."""

    def close(self, code: Close) -> None:
        """Close the socket."""

    async def leave(self) -> None:
        """Take no more frames, wait a little for answers, close with DRAINING; returns when the
        socket has closed."""


class ConnectionRegistry:
    """The sessions of one node. A (user, device) has one; a newer one replaces it."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, Connection]] = {}

    def add(self, connection: Connection) -> Connection | None:
        """Register a connection; returns the one it replaces."""
        devices = self._users.setdefault(connection.user, {})
        replaced = devices.get(connection.device)
        devices[connection.device] = connection
        return replaced

    def remove(self, connection: Connection) -> bool:
        """Forget a connection; False if a newer one has taken its place."""
        devices = self._users.get(connection.user, {})
        if devices.get(connection.device) is not connection:
            return False
        del devices[connection.device]
        if not devices:
            del self._users[connection.user]
        return True

    def has(self, user: str, device: str) -> bool:
        return device in self._users.get(user, ())

    def __len__(self) -> int:
        return sum(len(devices) for devices in self._users.values())

    def __iter__(self) -> Iterator[Connection]:
        return (
            connection
            for devices in list(self._users.values())
            for connection in list(devices.values())
        )

    def deliver(self, event: Delivered, dirty: set[Connection]) -> None:
        """Queue an event at the connections it is for, adding them to `dirty`.

        A connection never gets a (conversation, seq) twice nor out of order.
        """
        if type(event) is MessageDelivered:
            for user in event.users:
                for device, connection in self._users.get(user, {}).items():
                    if user == event.sender and device == event.device:
                        continue
                    seen = connection.seen
                    if event.seq <= seen.get(event.conversation, 0):
                        continue
                    seen.pop(event.conversation, None)  # the latest stand at the end
                    if len(seen) >= MAX_REMEMBERED:
                        for conversation in list(seen)[: MAX_REMEMBERED // 2]:
                            del seen[conversation]
                    seen[event.conversation] = event.seq
                    connection.push(event.frame)
                    dirty.add(connection)
        elif isinstance(event, MarkDelivered):
            for user in event.users:
                for connection in self._users.get(user, {}).values():
                    connection.push(event.frame)
                    dirty.add(connection)
        elif isinstance(event, DeviceLoggedOut):
            out = self._users.get(event.user, {}).get(event.device)
            if out is not None:
                out.close(Close.LOGGED_OUT)
        elif isinstance(event, SessionReplaced):
            earlier = self._users.get(event.user, {}).get(event.device)
            if earlier is not None and earlier.since == event.since:
                earlier.close(Close.REPLACED)
        elif isinstance(event, AnswerDelivered):
            answered = self._users.get(event.user, {}).get(event.device)
            if answered is not None:
                answered.answer(event.frame)
                dirty.add(answered)
