"""The way in and out: connections are handed to the HTTP server a few at a time, when their
requests have come, in that order, and taken from it a few at a time.

When a node has died its devices come all at once. Letting one in costs the loop 0.3 ms, and the
HTTP server takes as long to turn it away; but all whose requests have come would be served in one
turn. Here those that wait cost a buffer each, and those for whom there is no room next to nothing.
And whoever does not say what it wants is not waited for, as the HTTP server would. When a network
is cut, its devices go all at once: 0.1 ms each.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec

from gateway.edge.pacer import Pacer
from schemas.codes import Code

MAX_WAITING = 5_000
"""Connections whose requests wait for their turn; more are told to come again."""
LET_IN = 5
"""At most so many in 4 ms: 1,250 in a second."""
LET_OUT = 10
"""At most so many in 4 ms."""
MAX_REQUEST_BYTES = 16 * 1024
"""Of a connection that waits, beside what its last read has brought; one that sends more is told to
come again, too."""
REQUEST_SECONDS = 10.0
"""A connection whose request has not come by then is closed."""
_END = b"\r\n\r\n"
"""Of a request's headers."""


def come_again(why: str) -> dict[str, Any]:
    """What a 503 says."""
    return {"code": Code.TRY_LATER.number, "retry": Code.TRY_LATER.retry, "text": why}


_BODY = msgspec.json.encode(come_again("too many requests wait"))
_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class AdmissionControl:
    """Use it inside a running loop."""

    def __init__(self) -> None:
        self.turns = Pacer(LET_IN, gives_way=True)
        self.goodbyes = Pacer(LET_OUT)
        self.turned_away = 0
        self.make_protocol: Callable[[], asyncio.Protocol]

    async def bind(self, host: str, port: int) -> asyncio.Server:
        """Take the port, and let nobody connect yet. Raises OSError if that cannot be."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: _Arrival(self), host, port, backlog=4096, start_serving=False
        )

    async def serve(
        self, listening: asyncio.Server, make_protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        """Let devices connect; `make_protocol` makes the HTTP server's protocol of a connection."""
        self.make_protocol = make_protocol
        await listening.start_serving()


class _Arrival(asyncio.Protocol):
    """A connection until the HTTP server has it."""

    def __init__(self, door: AdmissionControl) -> None:
        self._door = door
        self._request = bytearray()
        self._has_come = False
        self._transport: asyncio.Transport
        self._patience: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._patience = asyncio.get_running_loop().call_later(
            REQUEST_SECONDS, self._transport.close
        )

    def data_received(self, data: bytes) -> None:
        searched = max(0, len(self._request) - len(_END))
        self._request += data
        if not self._has_come and self._request.find(_END, searched) >= 0:
            self._has_come = True
            self._patience.cancel()
            if len(self._door.turns) < MAX_WAITING:
                self._door.turns.put(self, self._let_in)
            else:
                self._turn_away()
        elif len(self._request) > MAX_REQUEST_BYTES:
            self._turn_away()

    def connection_lost(self, error: Exception | None) -> None:
        self._patience.cancel()
        self._door.turns.leave(self)

    def _turn_away(self) -> None:
        self._door.turns.leave(self)
        self._door.turned_away += 1
        self._transport.write(_ANSWER)
        self._transport.close()

    def _let_in(self) -> None:
        served = self._door.make_protocol()
        self._transport.set_protocol(_Guest(self._door, self._transport, served))
        served.connection_made(self._transport)
        served.data_received(bytes(self._request))


class _Guest(asyncio.Protocol):
    """A connection that the HTTP server has: what comes goes straight to it, the end when it is its
    turn."""

    __slots__ = (
        "_goodbyes",
        "_leaving",
        "_served",
        "_transport",
        "data_received",
        "pause_writing",
        "resume_writing",
    )

    def __init__(
        self, door: AdmissionControl, transport: asyncio.Transport, served: asyncio.Protocol
    ) -> None:
        self.data_received = served.data_received  # type: ignore[method-assign]
        self.pause_writing = served.pause_writing  # type: ignore[method-assign]
        self.resume_writing = served.resume_writing  # type: ignore[method-assign]
        self._goodbyes = door.goodbyes
        self._transport = transport
        self._served = served
        self._leaving = False

    def eof_received(self) -> bool:
        """The connection stays open until its turn: to close it is half of the work."""
        self._goodbyes.put(self, self._leave)
        return True

    def _leave(self) -> None:
        self._leaving = True
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._goodbyes.leave(self)
        if self._leaving:
            self._served.connection_lost(error)
        else:
            self._goodbyes.put(self, lambda: self._served.connection_lost(error))
