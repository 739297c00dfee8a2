"""Writes to each connection once in a turn of the loop, however many frames were queued in it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)

MAX_UNREAD_BYTES = 1024 * 1024
"""What may wait in a transport for a device that does not read; then the device is closed, and
comes back."""
_OF_A_USER = 8 * MAX_UNREAD_BYTES
"""For all devices of a user together: each may have its part."""
_ALWAYS = 64 * 1024
"""So little may wait for any device."""


class QueuesFrames(Protocol):
    """A connection, as its writer sees it."""

    def write_queued(self) -> None:
        """Write all queued frames, in one write."""

    def abort(self) -> None:
        """End the connection now."""


class TurnWriter:
    """Writes what connections have queued: at the end of each loop turn, or when told to.
    `devices`: how many a user has here."""

    def __init__(self, devices: Callable[[str], int]) -> None:
        self._devices = devices
        self._loop = asyncio.get_running_loop()
        self._queued: list[QueuesFrames] = []
        self.slow_readers = 0

    def add(self, connection: QueuesFrames) -> None:
        """A connection has queued its first frame since its last write."""
        if not self._queued:
            self._loop.call_soon(self.write)
        self._queued.append(connection)

    def write(self) -> None:
        """Write what is queued now."""
        queued, self._queued = self._queued, []
        for connection in queued:
            try:
                connection.write_queued()
            except Exception:  # the frames of the others must be written
                log.exception("a connection cannot be written to, and is ended")
                connection.abort()

    def is_too_slow(self, user: str, unread: int) -> bool:
        """Whether a device of the user is to be closed because so many bytes wait for it."""
        if unread <= _ALWAYS:
            return False
        most = min(MAX_UNREAD_BYTES, _OF_A_USER // max(1, self._devices(user)))
        slow = unread > max(_ALWAYS, most)
        self.slow_readers += slow
        return slow
