"""One timer that pings all sockets of a node, and ends those that do not answer."""

import asyncio
from typing import Protocol

_BEATS = 64
"""Into so many parts the sockets are divided; each part is pinged at once."""


class Beating(Protocol):
    """A socket, as its heartbeat sees it."""

    def ping(self) -> None:
        """Send a ping."""

    def look(self) -> None:
        """End the connection if nothing has come since the last ping."""


class Heartbeats:
    """Use it inside a running loop. Each socket is pinged every `seconds`, and has half of that to
    answer."""

    def __init__(self, seconds: float) -> None:
        self._between = seconds / _BEATS
        self._parts: list[set[Beating]] = [set() for _ in range(_BEATS)]
        self._joined = 0
        """The part of the socket that came last: sockets that come together must not be pinged
        together."""
        self._beat = 0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, socket: Beating) -> int:
        """Ping a socket from now on; returns its part."""
        self._joined = (self._joined + 1) % _BEATS
        self._parts[self._joined].add(socket)
        self._count += 1
        if self._timer is None:
            self._wait()
        return self._joined

    def remove(self, socket: Beating, part: int) -> None:
        """Ping a socket no more."""
        self._parts[part].remove(socket)
        self._count -= 1

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._between, self._pulse)

    def _pulse(self) -> None:
        self._timer = None
        self._beat = (self._beat + 1) % _BEATS
        for socket in list(self._parts[self._beat]):
            socket.ping()
        for socket in list(self._parts[self._beat - _BEATS // 2]):
            socket.look()
        if self._count:
            self._wait()
