"""The adapter of aiohttp's WebSockets: reads messages for a `Connection`, and is its `Transport`.

Another WebSocket library takes aiohttp's place here and nowhere else.
"""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aiohttp import WSMsgType, web

from gateway.edge.admission import come_again
from gateway.edge.connection import Connection, Transport
from gateway.edge.tcp_info import waited_ms
from schemas.codec import join_frames
from schemas.codes import Close
from schemas.frames import MAX_SOCKET_MESSAGE_BYTES

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0
"""How long a device has to answer a close."""


class Accepts(Protocol):
    """The node, as the edge brings devices to it."""

    def refusal(self) -> str | None:
        """Why no device may come now, None if one may."""

    def accept(self, transport: Transport, waited_ms: int) -> Connection:
        """A device has come; its request has waited in the kernel for `waited_ms`."""


def socket_handler(
    node: Accepts, heartbeat: float
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of `/v1/socket`; `heartbeat` in seconds."""

    async def serve(request: web.Request) -> web.StreamResponse:
        refusal = node.refusal()
        if refusal is not None:
            return web.json_response(come_again(refusal), status=503, headers={"Retry-After": "1"})
        waited = waited_ms(request.transport)
        socket = web.WebSocketResponse(
            compress=False,
            max_msg_size=MAX_SOCKET_MESSAGE_BYTES + 1,  # aiohttp refuses what is as large as this
            heartbeat=heartbeat,
            decode_text=False,
            autoclose=False,
        )
        await socket.prepare(request)
        transport = SocketTransport(request.transport)
        await _read(socket, transport, node.accept(transport, waited))
        return socket

    return serve


async def _read(
    socket: web.WebSocketResponse, transport: "SocketTransport", connection: Connection
) -> None:
    """Read until the socket closes."""
    said_goodbye = False
    try:
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.TEXT:
                await connection.receive(message.data)
            elif message.type is WSMsgType.BINARY:
                connection.close(Close.NOT_TEXT)
            else:
                said_goodbye = message.type is WSMsgType.CLOSE and connection.closing is None
                if said_goodbye:
                    await socket.close(drain=False)
                else:
                    # Answered. aiohttp would send another close frame, and a browser would take
                    # the connection for broken.
                    transport.end()
                break
    except ConnectionError:
        pass  # the device went away while its ping was being answered
    except Exception:
        log.exception(
            "a session of %s failed", connection.user or "a device that had not said hello"
        )
        connection.close(Close.INTERNAL)
    finally:
        transport.ended()
        connection.ended(said_goodbye)


class SocketTransport:
    """`Transport` over the TCP connection of an aiohttp request."""

    __slots__ = ("_giving_up", "_transport")

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self._giving_up: asyncio.TimerHandle | None = None

    def write(self, frames: Sequence[bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            payload = join_frames(frames)
            self._transport.write(_text_header(len(payload)) + payload)

    def close(self, code: Close, reason: str) -> None:
        """By hand: aiohttp's own close, called beside `receive`, drops the connection under the
        device's answer, and the device never learns the code."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        payload = struct.pack("!H", code.number) + reason.encode()[:120]
        transport.write(bytes((0x88, len(payload))) + payload)
        self._giving_up = asyncio.get_running_loop().call_later(_CLOSE_SECONDS, transport.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def end(self) -> None:
        """Close the TCP connection, without another word."""
        if self._transport is not None:
            self._transport.close()

    def ended(self) -> None:
        """The socket is closed: nothing is waited for."""
        if self._giving_up is not None:
            self._giving_up.cancel()


def _text_header(length: int) -> bytes:
    """The header of one final, unmasked WebSocket text frame."""
    if length < 126:
        return bytes((0x81, length))
    if length < 65536:
        return struct.pack("!BBH", 0x81, 126, length)
    return struct.pack("!BBQ", 0x81, 127, length)
