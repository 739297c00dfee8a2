"""Admission: a node lets devices in a few at a time, and lets them go a few at a time.

When a node dies, its devices come to the others all at once; without admission the node would serve
all whose requests have come in one turn of the loop. Here a connection whose request has not come,
or waits, costs a buffer, and one for which there is no room costs next to nothing. When a network
is cut, its devices go all at once.

A connection that opens a WebSocket goes to the sockets, any other one to the HTTP server. Neither
waits for the other, so health pages answer while devices wait.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from gateway.edge.addresses import Networks, client_address, forwarded_of
from gateway.edge.crowd import Crowd
from gateway.edge.handshakes import Caller, Handshakes
from gateway.edge.local_guard import ANY_PAGE, BrowserGuard
from gateway.edge.pacer import Pace, Pacer, always
from gateway.edge.tls import half_closes
from gateway.edge.unavailable import come_again
from gateway.edge.websocket import PATH, Opening, headers_of, opening_of

MAX_WAITING = 5_000
"""Connections whose requests for a socket, or for something else, wait for their turn; the node
tells more to come again."""
MAX_SILENT = 5_000
"""Connections whose request has not come; if there are more, the oldest one goes of the address
that has the most of them."""
_LET_IN = Pace(8, 2, 32)
"""Connections to the sockets' path that are let in within 4 ms."""
_SERVED = always(5)
"""Connections that the HTTP server gets within 4 ms."""
_LET_OUT = Pace(10, 2, 100)
"""Connections that end within 4 ms."""
MAX_REQUEST_BYTES = 16 * 1024
"""Of a connection that waits, besides what its last read has brought. The node tells a connection
that sends more to come again, too."""
REQUEST_SECONDS = 10.0
"""A connection whose request has not come by then is closed."""
_KERNEL_BYTES = {socket.SO_RCVBUF: 64 * 1024, socket.SO_SNDBUF: 256 * 1024}
"""What the kernel keeps of a connection that is not read, and for one that does not read. Without a
bound it keeps many MiB; a thousand such connections use up its memory for TCP, and all others get
slow."""
_END = b"\r\n\r\n"
"""Of a request's headers."""
_SOCKET = f"GET {PATH}".encode()
_COME_AGAIN = come_again("too many requests wait")


class OpensSockets(Protocol):
    """The node's WebSockets, as admission brings connections to them."""

    def has_room(self) -> bool:
        """Whether one more device may come now."""

    def open(
        self, transport: asyncio.Transport, opening: Opening, received: bytes, address: str
    ) -> None:
        """A connection from `address` opens a WebSocket; `received` is what has come after its
        request."""


class AdmissionControl:
    """Use it inside a running loop: `bind`, then `serve`. A page that `guard` refuses gets no
    socket; the HTTP server says so. `trusted` are the networks of proxies whose word about
    addresses counts."""

    def __init__(self, guard: BrowserGuard = ANY_PAGE, trusted: Networks = ()) -> None:
        self._guard = guard
        self._trusted = trusted
        self.silent = Crowd[_Arrival](asyncio.get_running_loop().time)
        """Connections whose request has not come."""
        self.entry = Pacer(_LET_IN, room=lambda: self._sockets.has_room())
        self.served = Pacer(_SERVED)
        self.exit = Pacer(_LET_OUT)
        self.turned_away = 0
        self._make_protocol: Callable[[], asyncio.Protocol]
        self._sockets: OpensSockets
        self._handshakes: Handshakes | None = None

    async def bind(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
        """Take the port, and let nobody connect yet. With `tls`, a connection comes here when its
        handshake has ended. Raises OSError if the port is not free."""
        handshakes = Handshakes(lambda: _Arrival(self), tls) if tls else None
        self._handshakes = handshakes
        listening = await asyncio.get_running_loop().create_server(
            lambda: Caller(handshakes) if handshakes is not None else _Arrival(self),
            host,
            port,
            backlog=4096,
            start_serving=False,
        )
        for taken in listening.sockets:
            for option, most in _KERNEL_BYTES.items():
                taken.setsockopt(socket.SOL_SOCKET, option, most)  # its connections inherit it
        return listening

    async def serve(
        self,
        listening: asyncio.Server,
        make_protocol: Callable[[], asyncio.Protocol],
        sockets: OpensSockets,
    ) -> None:
        """Let devices connect; `make_protocol` makes the HTTP server's protocol of a connection."""
        self._make_protocol = make_protocol
        self._sockets = sockets
        await listening.start_serving()

    async def stop(self, listening: asyncio.Server) -> None:
        """Let nobody connect any more, and end the handshakes."""
        listening.close()
        if self._handshakes is not None:
            await self._handshakes.stop()

    @property
    def waiting(self) -> int:
        """Connections whose requests wait for their turn."""
        return len(self.entry) + len(self.served)

    def pacer_of(self, request: bytearray) -> Pacer:
        """Where a connection with this request waits for its turn."""
        return self.entry if request.startswith(_SOCKET) else self.served

    def address_of(self, peer: str, request: bytearray) -> str:
        """From where a request comes."""
        if not self._trusted:
            return peer
        return client_address(self._trusted, peer, forwarded_of(request))

    def let_in(self, transport: asyncio.Transport, request: bytes, address: str) -> None:
        """Hand on a connection from `address`, and what it has sent so far."""
        head, _, received = request.partition(_END)
        opening = opening_of(head)
        if opening is not None and not self._refuses(head):
            self._sockets.open(transport, opening, received, address)
            return
        served = self._make_protocol()
        transport.set_protocol(_Guest(self.exit, transport, served))
        served.connection_made(transport)
        served.data_received(request)

    def _refuses(self, head: bytes) -> bool:
        if self._guard is ANY_PAGE:
            return False
        headers = headers_of(head)
        return self._guard.refusal(headers.get("host", ""), headers.get("origin")) is not None

    def turn_away(self, transport: asyncio.Transport) -> None:
        """Tell a connection to come again, and close it."""
        self.turned_away += 1
        transport.write(_COME_AGAIN)
        transport.close()


class _Arrival(asyncio.Protocol):
    """A connection that has not been let in yet."""

    def __init__(self, admission: AdmissionControl) -> None:
        self._admission = admission
        self._request = bytearray()
        self._pacer: Pacer | None = None
        """Where it waits for its turn, once its request has come."""
        self._transport: asyncio.Transport
        self._address = ""
        self._patience: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._address = str((transport.get_extra_info("peername") or ("",))[0])
        silent = self._admission.silent
        silent.add(self, self._address)
        if len(silent) > MAX_SILENT and (oldest := silent.pop()) is not None:
            oldest._transport.abort()
        self._patience = asyncio.get_running_loop().call_later(
            REQUEST_SECONDS, self._transport.close
        )

    def data_received(self, data: bytes) -> None:
        searched = max(0, len(self._request) - len(_END))
        self._request += data
        if self._pacer is None and self._request.find(_END, searched) >= 0:
            self._patience.cancel()
            self._admission.silent.remove(self)
            self._address = self._admission.address_of(self._address, self._request)
            self._pacer = self._admission.pacer_of(self._request)
            if len(self._pacer) >= MAX_WAITING:
                displaced = self._pacer.displace(self._address)
                if displaced is None:
                    self._turn_away()
                    return
                cast(_Arrival, displaced)._turn_away()
            self._pacer.put(self, self._let_in, self._address)
        elif len(self._request) > MAX_REQUEST_BYTES:
            self._turn_away()

    def connection_lost(self, error: Exception | None) -> None:
        self._patience.cancel()
        self._leave()

    def _leave(self) -> None:
        self._admission.silent.remove(self)
        if self._pacer is not None:
            self._pacer.leave(self)

    def _turn_away(self) -> None:
        self._leave()
        self._admission.turn_away(self._transport)

    def _let_in(self) -> None:
        self._admission.let_in(self._transport, bytes(self._request), self._address)


class _Guest(asyncio.Protocol):
    """A connection that the HTTP server has. What it sends goes straight to the server; its end
    waits for its turn."""

    __slots__ = (
        "_exit",
        "_leaving",
        "_served",
        "_transport",
        "data_received",
        "pause_writing",
        "resume_writing",
    )

    def __init__(
        self, exit_: Pacer, transport: asyncio.Transport, served: asyncio.Protocol
    ) -> None:
        self.data_received = served.data_received  # type: ignore[method-assign]
        self.pause_writing = served.pause_writing  # type: ignore[method-assign]
        self.resume_writing = served.resume_writing  # type: ignore[method-assign]
        self._exit = exit_
        self._transport = transport
        self._served = served
        self._leaving = False

    def eof_received(self) -> bool:
        """The connection stays open until its turn: closing it is half of the work."""
        self._exit.put(self, self._leave)
        return half_closes(self._transport)

    def _leave(self) -> None:
        self._leaving = True
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._exit.leave(self)
        if self._leaving:
            self._served.connection_lost(error)
        else:
            self._exit.put(self, lambda: self._served.connection_lost(error))
