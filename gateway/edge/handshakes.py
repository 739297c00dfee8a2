"""TLS handshakes of devices: they begin a few at a time, addresses in turn, and only so many are
under way.

A handshake takes as much CPU as a hundred messages, and memory from its beginning. A client that
begins thousands, and ends none of them, must not take either from the others.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Callable
from typing import cast

from gateway.edge.crowd import Crowd
from gateway.edge.pacer import Pace, Pacer
from gateway.log_throttle import LogThrottle

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
"""A connection whose handshake has not ended so long after it began is closed."""
MAX_HANDSHAKES = 1_000
"""Connections whose handshake is under way, or waits to begin; if there are more, the oldest one
goes of the address that has the most of them. So many begin in a second or four, and an honest one
lasts for two ways there and back."""
_BEGUN = Pace(2, 1, 4)
"""Handshakes that begin within 4 ms, 0.5 ms of CPU each: half of a core at most."""


class Handshakes:
    """`make_protocol` makes the protocol of a connection whose handshake has ended. Use it inside a
    running loop."""

    def __init__(
        self, make_protocol: Callable[[], asyncio.Protocol], context: ssl.SSLContext
    ) -> None:
        self._make_protocol = make_protocol
        self._context = context
        self._crowd = Crowd[socket.socket](asyncio.get_running_loop().time)
        self._pacer = Pacer(_BEGUN)
        self._under_way: dict[socket.socket, asyncio.Task[None]] = {}
        self._stopped = False
        self.closed = LogThrottle(log.warning)
        """Says that a connection was closed before its handshake."""

    def __len__(self) -> int:
        """How many are under way, or wait."""
        return len(self._crowd)

    def add(self, connection: socket.socket, address: str) -> None:
        """A client has connected from `address`."""
        if self._stopped:  # the loop had accepted it before
            connection.close()
            return
        self._crowd.add(connection, address)
        self._pacer.put(connection, lambda: self._begin(connection), address)
        if len(self._crowd) > MAX_HANDSHAKES and (oldest := self._crowd.pop()) is not None:
            self._end(oldest)

    async def stop(self) -> None:
        """End all of them, and begin none any more."""
        self._stopped = True
        while (connection := self._crowd.pop()) is not None:
            self._end(connection)
        await asyncio.gather(*self._under_way.values())

    def _begin(self, connection: socket.socket) -> None:
        self._under_way[connection] = asyncio.create_task(self._shake(connection))

    async def _shake(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            # OSError: it took too long, or was no handshake
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(
                    self._make_protocol,
                    connection,
                    ssl=self._context,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                )
        finally:
            self._crowd.remove(connection)
            del self._under_way[connection]

    def _end(self, connection: socket.socket) -> None:
        if connection in self._under_way:
            with contextlib.suppress(OSError):  # its other end has gone
                connection.shutdown(socket.SHUT_RDWR)  # by which the handshake fails
        else:
            self._pacer.leave(connection)
            connection.close()


class Caller(asyncio.Protocol):
    """A connection that has just come. Its socket goes to the handshakes without its transport,
    since uvloop reads from that even if it is told at once to wait."""

    def __init__(self, handshakes: Handshakes) -> None:
        self._handshakes = handshakes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        of_transport = cast(socket.socket, transport.get_extra_info("socket"))
        address = str((transport.get_extra_info("peername") or ("",))[0])
        try:
            connection = socket.socket(fileno=os.dup(of_transport.fileno()))
        except OSError as error:  # the process has too many files open
            self._handshakes.closed(f"a connection from {address} is closed: {error}")
            return
        finally:
            cast(asyncio.Transport, transport).abort()  # the connection itself stays, by its copy
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._handshakes.add(connection, address)
