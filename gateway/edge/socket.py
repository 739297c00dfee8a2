"""The WebSockets of a node: each is the protocol of its TCP connection, reads messages for a
`Connection`, and is its `Transport`. Frames are JSON, or MessagePack if the client asks for it.

A WebSocket has no task of its own: the event loop calls it whenever something happens.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from aiohttp import web

from gateway.edge import websocket
from gateway.edge.connection import Connection
from gateway.edge.heartbeats import Heartbeats
from gateway.edge.msgpack_frames import from_json, to_json
from gateway.edge.pacer import Pacer
from gateway.edge.tcp_info import waited_ms
from gateway.edge.tls import half_closes
from gateway.edge.transport import Transport
from gateway.edge.unavailable import come_again
from schemas.codec import join_frames
from schemas.codes import Close

_CLOSE_SECONDS = 2.0
"""How long a device has to answer a close, or to take what is still to be sent."""


def _nothing() -> None: ...


class Accepts(Protocol):
    """The node, as the edge brings devices to it."""

    def refusal(self) -> str | None:
        """Why no device may come to this node, None if one may."""

    def has_room(self) -> bool:
        """Whether one more may come now."""

    def accept(self, transport: Transport, waited_ms: int, address: str) -> Connection:
        """A device has come from `address`; its request has waited in the kernel for
        `waited_ms`."""


class Sockets:
    """All WebSockets of a node. Use it inside a running loop. `heartbeat` is in seconds; sockets
    that end take their turns at `exit_`."""

    def __init__(self, node: Accepts, exit_: Pacer, heartbeat: float) -> None:
        self.exit = exit_
        self.heartbeats = Heartbeats(heartbeat)
        self._node = node

    def has_room(self) -> bool:
        """Whether one more device may come now. One that is refused needs no room."""
        return self._node.has_room() or self._node.refusal() is not None

    def open(
        self,
        transport: asyncio.Transport,
        opening: websocket.Opening,
        received: bytes,
        address: str = "",
    ) -> None:
        """Answer a request from `address` that opens a WebSocket; `received` is what has come after
        it."""
        refusal = self._node.refusal()
        if refusal is None and not self._node.has_room():  # it has not waited: HTTP had it before
            refusal = "too many devices are arriving"
        if refusal is not None:
            transport.write(come_again(refusal))
            transport.close()
            return
        packed = opening.subprotocol == websocket.MESSAGE_PACK
        socket = (MessagePackSocket if packed else Socket)(self, transport)
        socket.connection = self._node.accept(socket, waited_ms(transport), address)
        transport.set_protocol(socket)
        transport.write(websocket.opened(opening))
        if received:
            socket.data_received(received)

    async def upgrade(self, request: web.Request) -> web.StreamResponse:
        """The HTTP server's handler of the sockets' path. Requests come here that open none, and
        those of connections that have carried other requests before."""
        opening, transport = websocket.opening_by(request.headers), request.transport
        if opening is None or transport is None:
            raise web.HTTPBadRequest(text="this opens no WebSocket of RFC 6455")
        http = request.protocol
        http.transport = None
        self.open(transport, opening, b"")
        http.connection_lost(None)  # the HTTP server forgets it
        raise asyncio.CancelledError


class Socket(asyncio.Protocol):
    """One WebSocket."""

    # There are many of these, most of them idle.
    __slots__ = (
        "_closed",
        "_deaf",
        "_ended",
        "_giving_up",
        "_part",
        "_paused",
        "_quiet",
        "_reader",
        "_said_goodbye",
        "_sockets",
        "_transport",
        "connection",
    )

    def __init__(self, sockets: Sockets, transport: asyncio.Transport) -> None:
        self._sockets = sockets
        self._transport = transport
        self._reader = websocket.MessageReader()
        self._paused = False
        self._closed = False
        """A close frame has been written: nothing may follow it."""
        self._deaf = False
        """Whatever comes now is thrown away."""
        self._said_goodbye = False
        self._ended = False
        self._quiet = False
        """Nothing has come since the last ping."""
        self._giving_up: asyncio.TimerHandle | None = None
        self._part = sockets.heartbeats.add(self)
        self.connection: Connection

    # What the device does

    def data_received(self, data: bytes) -> None:
        self._quiet = False
        if self._deaf:
            return
        self._reader.feed(data)
        if self._paused:
            self._transport.pause_reading()
        else:
            self._read()

    def eof_received(self) -> bool:
        """The connection stays open until its turn: closing it is half of the work."""
        self._leave()
        return half_closes(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._deaf = self._closed = True
        self._leave()

    def _read(self) -> None:
        try:
            while not (self._paused or self._deaf):
                message = self._reader.next()
                if message is None:
                    return
                self._take(*message)
        except websocket.Violation as broken:
            # What follows is read on, or the kernel would reset the connection, and the device
            # would not learn the code.
            self._deaf = True
            self._reader = websocket.MessageReader()
            self._close(broken.code, "")

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == websocket.TEXT:
            self.connection.receive(payload)
        elif kind == websocket.BINARY:
            self.connection.close(Close.NOT_TEXT)
        elif kind == websocket.PING:
            self.connection.beat(lambda: self._pong(payload))
        elif kind == websocket.PONG:
            self.connection.beat(_nothing)
        elif kind == websocket.CLOSE:
            self._deaf = True
            self._said_goodbye = self.connection.closing is None
            if not self._closed:
                self._closed = True
                self._transport.write(websocket.close_frame(websocket.NORMAL, ""))
            self._leave()

    def _pong(self, payload: bytes) -> None:
        if not self._closed:
            self._transport.write(websocket.pong_frame(payload))

    def _leave(self) -> None:
        """Nothing more comes of it: it ends when it is its turn."""
        if not self._ended:
            self._sockets.exit.put(self, self._end)

    def _end(self) -> None:
        self._ended = True
        self._deaf = self._closed = True
        self._sockets.heartbeats.remove(self, self._part)
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        if self.unsent():
            self._give_up_soon()
        self._transport.close()
        self.connection.ended(self._said_goodbye)

    # `Transport`

    def write(self, frames: Sequence[bytes]) -> None:
        if not self._closed:
            self._transport.write(websocket.message_frame(join_frames(frames)))

    def close(self, code: Close, reason: str) -> None:
        self._close(code.number, reason)

    def abort(self) -> None:
        self._closed = True
        self._transport.abort()

    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._read)

    def _close(self, code: int, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._transport.write(websocket.close_frame(code, reason))
        self._give_up_soon()
        self.resume()  # to read the device's answer

    def _give_up_soon(self) -> None:
        self._giving_up = asyncio.get_running_loop().call_later(
            _CLOSE_SECONDS, self._transport.abort
        )

    # `Beating`

    def ping(self) -> None:
        if not self._closed:
            self._quiet = True
            self._transport.write(websocket.PING_FRAME)

    def look(self) -> None:
        if self._quiet:
            self._transport.abort()


class MessagePackSocket(Socket):
    """One whose frames are MessagePack."""

    __slots__ = ()

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == websocket.BINARY:
            self.connection.receive(to_json(payload))
        elif kind == websocket.TEXT:
            self.connection.close(Close.NOT_TEXT)
        else:
            super()._take(kind, payload)

    def write(self, frames: Sequence[bytes]) -> None:
        if not self._closed:
            self._transport.write(websocket.message_frame(from_json(frames), websocket.BINARY))
