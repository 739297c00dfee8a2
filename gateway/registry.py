"""The connections of one node (user → device → connection), and what the node has pushed to
each."""

from collections.abc import Hashable, Iterator, Mapping
from itertools import islice
from typing import Protocol

from schemas.codes import Close
from schemas.events import (
    AnswerDelivered,
    Delivered,
    DeviceDisconnected,
    DeviceLoggedOut,
    MessageDelivered,
    Revocation,
    SessionReplaced,
)

MAX_REMEMBERED = 2000
"""Conversations of which a connection's last pushed seq is remembered. When there are so many, the
older half is forgotten."""


class RegisteredConnection(Hashable, Protocol):
    """One device's connection, as the parts of a node see it. `user` and `device` are empty until
    its hello has been read."""

    @property
    def user(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def since(self) -> int:
        """When its connection request reached the node, by `Routes.now`."""

    @property
    def issued(self) -> float:
        """When its token was made, in Unix seconds."""

    def push(self, frame: bytes) -> None:
        """Queue a frame. All that is queued is written, in one write, at the end of the loop
        turn."""

    def answer(self, frame: bytes) -> None:
        """The same for the answer to a send of this device."""

    def close(self, code: Close, reason: str = "") -> None:
        """Write what is queued, then close. Later calls of it change nothing."""

    async def leave(self) -> None:
        """Accept no more frames, wait a little for the answers to sends, close with DRAINING.
        Returns when the connection has ended."""


class _Entry:
    """A connection, and conversation → last seq that it was pushed, the latest at the end."""

    __slots__ = ("connection", "pushed")

    def __init__(self, connection: RegisteredConnection) -> None:
        self.connection = connection
        self.pushed: dict[str, int] = {}

    def push(self, event: MessageDelivered) -> None:
        """Push a message unless this one, or a later one of its conversation, has been pushed."""
        pushed = self.pushed
        if event.seq <= pushed.get(event.conversation, 0):
            return
        pushed.pop(event.conversation, None)
        if len(pushed) >= MAX_REMEMBERED:
            for conversation in list(islice(pushed, MAX_REMEMBERED // 2)):
                del pushed[conversation]
        pushed[event.conversation] = event.seq
        self.connection.push(event.frame)


_NONE: Mapping[str, _Entry] = {}


class ConnectionRegistry:
    """A (user, device) has one connection; a newer one replaces it."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, _Entry]] = {}
        self._count = 0

    def add(self, connection: RegisteredConnection) -> RegisteredConnection | None:
        """Register a connection; returns the one it replaces."""
        devices = self._users.setdefault(connection.user, {})
        replaced = devices.get(connection.device)
        devices[connection.device] = _Entry(connection)
        if replaced is None:
            self._count += 1
            return None
        return replaced.connection

    def remove(self, connection: RegisteredConnection) -> bool:
        """Forget a connection; False if a newer one has taken its place."""
        devices = self._users.get(connection.user, {})
        entry = devices.get(connection.device)
        if entry is None or entry.connection is not connection:
            return False
        del devices[connection.device]
        if not devices:
            del self._users[connection.user]
        self._count -= 1
        return True

    def is_full(self, user: str, device: str, most: int) -> bool:
        """Whether the user has `most` devices here, and this is another one."""
        devices = self._users.get(user, _NONE)
        return len(devices) >= most and device not in devices

    def devices(self, user: str) -> int:
        """How many the user has here."""
        return len(self._users.get(user, _NONE))

    def has(self, user: str, device: str) -> bool:
        return device in self._users.get(user, _NONE)

    def of(self, user: str) -> list[RegisteredConnection]:
        """The user's connections."""
        return [entry.connection for entry in self._users.get(user, _NONE).values()]

    def push(self, user: str, frame: bytes) -> None:
        """Push a frame to all of the user's connections."""
        for entry in self._users.get(user, _NONE).values():
            entry.connection.push(frame)

    def was_pushed(self, user: str, device: str, conversation: str) -> bool:
        """Whether the device's connection was pushed a message of the conversation, lately."""
        entry = self._users.get(user, _NONE).get(device)
        return entry is not None and conversation in entry.pushed

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RegisteredConnection]:
        """The connections there are now."""
        return iter(
            [entry.connection for devices in self._users.values() for entry in devices.values()]
        )

    def slices(self, most: int) -> Iterator[list[RegisteredConnection]]:
        """The connections of all users there are now, in lists of `most` and a few more, for work
        that must let the loop go on between them. A connection that has ended meanwhile is left
        out."""
        some: list[RegisteredConnection] = []
        for user in list(self._users):
            some += [entry.connection for entry in self._users.get(user, _NONE).values()]
            if len(some) >= most:
                yield some
                some = []
        if some:
            yield some

    def deliver(self, event: Delivered) -> None:
        """Push an event to the connections it is for. A connection never gets a (conversation,
        seq) twice nor out of order."""
        if type(event) is MessageDelivered:
            for user in event.users:
                for device, entry in self._users.get(user, _NONE).items():
                    if user != event.sender or device != event.device:
                        entry.push(event)
        elif isinstance(event, AnswerDelivered):
            connection = self._find(event.user, event.device)
            if connection is not None:
                connection.answer(event.frame)
        elif isinstance(event, DeviceLoggedOut):
            connection = self._find(event.user, event.device)
            if connection is not None:
                connection.close(Close.LOGGED_OUT)
        elif isinstance(event, DeviceDisconnected):
            for device, entry in list(self._users.get(event.user, _NONE).items()):
                if event.device in ("", device):
                    entry.connection.close(Close.DISCONNECTED)
        elif isinstance(event, SessionReplaced):
            connection = self._find(event.user, event.device)
            if connection is not None and connection.since == event.since:
                connection.close(Close.REPLACED)

    def revoked(self, revocation: Revocation) -> None:
        """Close the connections whose tokens do not count any more."""
        close = Close.LOGGED_OUT if revocation.logged_out else Close.REVOKED
        for device, entry in list(self._users.get(revocation.user, _NONE).items()):
            meant = revocation.device in ("", device)
            if meant and entry.connection.issued * 1000 < revocation.before:
                entry.connection.close(close)

    def _find(self, user: str, device: str) -> RegisteredConnection | None:
        entry = self._users.get(user, _NONE).get(device)
        return None if entry is None else entry.connection
