"""One write a connection and turn of the loop, whatever was queued in it."""

import asyncio
import logging
from typing import Protocol

log = logging.getLogger(__name__)


class QueuesFrames(Protocol):
    """A connection, as its writer sees it."""

    def write_queued(self) -> None:
        """Write all queued frames, in one write."""

    def abort(self) -> None:
        """End the connection now."""


class TurnWriter:
    """Writes what connections have queued: at the end of each loop turn, or when told to."""

    def __init__(self) -> None:
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

    def count_slow_reader(self) -> None:
        """A connection was closed because its device does not read."""
        self.slow_readers += 1
