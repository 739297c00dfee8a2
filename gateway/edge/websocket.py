"""The server's side of RFC 6455 without I/O: bytes in, messages out. No extensions."""

import struct
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from hashlib import sha1
from typing import NamedTuple

from aiohttp._websocket.helpers import websocket_mask  # private: the fastest that is installed

from schemas.frames import MAX_SOCKET_MESSAGE_BYTES

PATH = "/v1/socket"
JSON, MESSAGE_PACK = "messenger.json", "messenger.msgpack"
"""Subprotocols: how frames are written. A client that names none gets JSON."""
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
"""Opcodes of frames."""
MAX_FRAGMENTS = 1_000
"""Of a message, after its first: each costs as much as a message, also if it is empty."""
NORMAL, PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1000, 1002, 1007, 1009
"""Close codes of the RFC that this server sends."""
PING_FRAME = b"\x89\x00"
_SENT_CODES = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
"""Codes below 3000 that an endpoint may send."""
_FINAL, _RESERVED, _OPCODE, _CONTROL = 0x80, 0x70, 0x0F, 0x08
"""Bits of a frame's first byte."""
_MASKED = 0x80
"""Of its second byte."""
_NO_MASK = bytes(4)
_START = f"GET {PATH}".encode()
_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Violation(Exception):
    """The client has broken the RFC's rules; `code` is the close code that says so."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Opening(NamedTuple):
    """What a request says that opens a device's WebSocket. `subprotocol`: the first of those that
    the client names and this server knows, empty without one."""

    key: str
    subprotocol: str = ""


def opening_of(head: bytes) -> Opening | None:
    """None if this is another request, or a wrong one. `head` is the request without the empty
    line."""
    if not head.startswith(_START):
        return None
    request, *lines = head.decode("latin-1").split("\r\n")
    words = request.split(" ")
    if len(words) != 3 or words[1].partition("?")[0] != PATH or words[2] != "HTTP/1.1":
        return None
    return opening_by(_headers(lines))


def headers_of(head: bytes) -> dict[str, str]:
    """The headers of a request, without the empty line; their names are in lower case."""
    return _headers(head.decode("latin-1").split("\r\n")[1:])


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers


def opening_by(headers: Mapping[str, str]) -> Opening | None:
    """The opening by these headers of a request (names in lower case), None if they open no
    WebSocket."""
    key = headers.get("sec-websocket-key", "")
    connection = [word.strip() for word in headers.get("connection", "").lower().split(",")]
    try:
        random = b64decode(key, validate=True)
    except (ValueError, NotBase64):
        return None
    if (
        len(random) != 16
        or headers.get("upgrade", "").lower() != "websocket"
        or "upgrade" not in connection
        or headers.get("sec-websocket-version") != "13"
    ):
        return None
    named = headers.get("sec-websocket-protocol")
    if named is None:
        return Opening(key)
    known = (each for name in named.split(",") if (each := name.strip()) in (JSON, MESSAGE_PACK))
    return Opening(key, next(known, ""))


def opened(opening: Opening) -> bytes:
    """The answer to the request."""
    accept = b64encode(sha1(opening.key.encode() + _SUFFIX).digest())
    chosen = b""
    if opening.subprotocol:
        chosen = b"Sec-WebSocket-Protocol: %b\r\n" % opening.subprotocol.encode()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"%bSec-WebSocket-Accept: %b\r\n\r\n" % (chosen, accept)
    )


def message_frame(payload: bytes, kind: int = TEXT) -> bytes:
    """One message of this kind, as a server sends it."""
    length = len(payload)
    if length < 126:
        return bytes((_FINAL | kind, length)) + payload
    if length < 65536:
        return struct.pack("!BBH", _FINAL | kind, 126, length) + payload
    return struct.pack("!BBQ", _FINAL | kind, 127, length) + payload


def close_frame(code: int, reason: str) -> bytes:
    """`reason` is cut where a close frame ends."""
    payload = struct.pack("!H", code) + reason.encode()[:120]
    return bytes((_FINAL | CLOSE, len(payload))) + payload


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping, of at most 125 bytes."""
    return bytes((_FINAL | PONG, len(payload))) + payload


class MessageReader:
    """Cuts what a client sends into messages. It keeps at most one message, and what was fed
    since `next` returned None."""

    __slots__ = ("_at", "_data", "_fragments", "_kind", "_message")

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""
        self._at = 0
        """Where in `_data` the next frame begins."""
        self._message: bytearray | None = None
        """The fragments so far of a message."""
        self._kind = TEXT
        """And its opcode."""
        self._fragments = 0
        """And their number."""

    def feed(self, data: bytes) -> None:
        """More bytes have come."""
        if not self._data:
            self._data = data
            return
        if isinstance(self._data, bytes):
            self._data = bytearray(self._data)
        self._data += data

    def next(self) -> tuple[int, bytes] | None:
        """The next message, as (opcode, payload): TEXT or BINARY, whole, or a CLOSE, PING or PONG.
        None while it has not come. Raises Violation, after which the reader is of no use."""
        data, size = self._data, len(self._data)
        while size - self._at >= 2:
            at = self._at
            first, length = data[at], data[at + 1] ^ _MASKED
            opcode, start = first & _OPCODE, at + 6
            if length == 126:
                start += 2
            elif length == 127:
                start += 8
            if start > size and length < 128:
                break
            if length >= 126:
                if length > 127:  # not masked
                    raise Violation(PROTOCOL_ERROR)
                shorter = 126 if length == 126 else 65536
                length = int.from_bytes(data[at + 2 : start - 4], "big")
                if length < shorter:  # which would have done
                    raise Violation(PROTOCOL_ERROR)
            self._check(first, opcode, length)
            end = start + length
            if end > size:
                break
            payload = _unmasked(data[start:end], data[start - 4 : start])
            self._at = end
            if end == size:
                self._data, self._at = b"", 0
            if opcode & _CONTROL:
                if opcode == CLOSE:
                    _check_close(payload)
                return opcode, payload
            if opcode and first & _FINAL:
                return opcode, payload
            if opcode:
                self._kind, self._message, self._fragments = opcode, bytearray(payload), 0
            else:
                assert self._message is not None
                self._message += payload
                self._fragments += 1
                if self._fragments > MAX_FRAGMENTS:
                    raise Violation(TOO_BIG)
                if first & _FINAL:
                    whole, self._message = bytes(self._message), None
                    return self._kind, whole
            data, size = self._data, len(self._data)
        if self._at:
            self._data, self._at = data[self._at :], 0
        return None

    def _check(self, first: int, opcode: int, length: int) -> None:
        if first & _RESERVED:
            raise Violation(PROTOCOL_ERROR)
        if opcode & _CONTROL:
            if opcode > PONG or length > 125 or not first & _FINAL:
                raise Violation(PROTOCOL_ERROR)
            return
        begun = self._message
        if opcode > BINARY or (opcode == CONTINUATION) is (begun is None):
            raise Violation(PROTOCOL_ERROR)
        if length + (0 if begun is None else len(begun)) > MAX_SOCKET_MESSAGE_BYTES:
            raise Violation(TOO_BIG)


def _unmasked(payload: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    if mask == _NO_MASK:
        return bytes(payload)
    unmasked = bytearray(payload)
    websocket_mask(bytes(mask), unmasked)
    return bytes(unmasked)


def _check_close(payload: bytes) -> None:
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or (code < 3000 and code not in _SENT_CODES) or code >= 5000:
        raise Violation(PROTOCOL_ERROR)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(NOT_UTF8) from None
