"""What is fuzzed: each target takes any bytes, and raises if the code under test breaks a promise.

Bytes come from the network or from Kafka. The promises: nothing but the declared exceptions is
raised, each frame of a device has exactly one effect, whatever a gateway submits the sequencer can
read, and the reader of WebSockets says what another implementation of RFC 6455 says.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from struct import pack
from typing import get_args

import msgspec
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong
from wsproto.frame_protocol import CloseReason

from gateway.edge.msgpack_frames import from_json, to_json
from gateway.edge.tokens import Login
from gateway.edge.websocket import (
    BINARY,
    CLOSE,
    NOT_UTF8,
    PING,
    PONG,
    TEXT,
    TOO_BIG,
    MessageReader,
    Violation,
    opening_of,
)
from gateway.effects import Effect, End, Reply, Submit
from gateway.queries.worker_transport import parse
from gateway.session import Session
from schemas import codec, submitted_codec
from schemas.events import SCHEMA_VERSION, SubmittedRecord
from schemas.ids import is_member, user_id

HELLO = b'{"t":"hello","id":1,"version":1,"token":"any","device":"phone"}'
_ALICE = Login(user_id("alice"), None, 2e9, 1.0)
_MANY = 1e9
"""Frames a second: the rate is not what is tried here."""
_HEAD_BYTES = 14
"""The longest head of a WebSocket frame."""


def session(data: bytes) -> None:
    """One WebSocket message to a device's session: if its first byte is odd, after the welcome."""
    fresh = Session(lambda token, device: _ALICE, _MANY, 0.0)
    if data[:1] and data[0] % 2:
        fresh.receive(HELLO, 0.0)
        fresh.welcomed()
    message = data[1:]
    effects = fresh.receive(message, 1.0)
    assert len(effects) <= max(1, message.count(b"\n") + 1)
    for effect in effects:
        assert isinstance(effect, get_args(Effect)), effect
        if isinstance(effect, Reply):
            codec.decode_server_frames(effect.frame)
        elif isinstance(effect, Submit):
            assert is_member(effect.item.conversation, fresh.user)
            record = SubmittedRecord(SCHEMA_VERSION, [effect.item])
            (read,) = submitted_codec.decode_submitted(codec.encode_event(record))
            assert read == effect.item, (read, effect.item)
    if any(isinstance(effect, End) for effect in effects):
        assert fresh.receive(HELLO, 2.0) == []


def packed(data: bytes) -> None:
    """One WebSocket message of MessagePack: what comes of it is what a session takes."""
    lines = to_json(data[1:])
    session(data[:1] + lines)
    effects = _after_welcome(lines)
    back = from_json([effect.frame for effect in effects if isinstance(effect, Reply)])
    assert isinstance(msgspec.msgpack.decode(back), list)


def _after_welcome(message: bytes) -> list[Effect]:
    online = Session(lambda token, device: _ALICE, _MANY, 0.0)
    online.receive(HELLO, 0.0)
    online.welcomed()
    return online.receive(message, 1.0)


def websocket(data: bytes) -> None:
    """What a client sends on a WebSocket, cut in two anywhere; the first byte says where."""
    stream = data[1:]
    at = data[0] * len(stream) // 255 if data else 0
    found, violation = _read(stream, len(stream))
    assert (found, violation) == _read(stream, at)
    expected, refused = _other_reader(stream)
    common = min(len(found), len(expected))
    assert found[:common] == expected[:common], (found, expected)
    if violation is None:
        assert len(found) >= len(expected)
        if refused not in (None, NOT_UTF8):  # text is decoded with its frames, later
            # ours looks at the head of a frame when the whole head has come
            assert _read(stream + bytes(_HEAD_BYTES), 0)[1] is not None, refused
    elif violation != TOO_BIG and refused is None:  # the other waits for more of the frame
        assert _other_reader(stream + bytes(_HEAD_BYTES))[1] is not None, violation


def opening(data: bytes) -> None:
    """The head of an HTTP request."""
    opening_of(data)
    opening_of(b"GET /v1/socket HTTP/1.1\r\n" + data)


def records(data: bytes) -> None:
    """A record of any topic."""
    for decode in _DECODERS:
        with suppress(codec.Undecodable, codec.NewerVersion):
            decode(data)


def answer(data: bytes) -> None:
    """What the gateway takes for an HTTP answer of a worker."""
    with suppress(ValueError):
        parse(data)


_DECODERS: list[Callable[[bytes], object]] = [
    submitted_codec.decode_submitted,
    codec.decode_log,
    codec.decode_deliveries,
    codec.decode_receipts,
    codec.decode_cursor,
    codec.decode_presence,
    codec.decode_presence_state,
    codec.decode_membership,
    codec.decode_snapshot,
    codec.decode_chunk,
    codec.decode_dead_letter,
]
TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (session, packed, websocket, opening, records, answer)
}


def _read(stream: bytes, at: int) -> tuple[list[tuple[int, bytes]], int | None]:
    """The messages that our reader finds, and the code of a violation."""
    reader = MessageReader()
    found = []
    try:
        for part in (stream[:at], stream[at:]):
            reader.feed(part)
            while (message := reader.next()) is not None:
                found.append(message)
                if message[0] == CLOSE:
                    return found, None
    except Violation as error:
        return found, error.code
    return found, None


def _other_reader(stream: bytes) -> tuple[list[tuple[int, bytes]], int | None]:
    """The same by wsproto."""
    other = Connection(ConnectionType.SERVER)
    found: list[tuple[int, bytes]] = []
    begun = b""
    other.receive_data(stream)
    for event in other.events():
        if isinstance(event, Message):
            part = event.data
            begun += bytes(part) if isinstance(event, BytesMessage) else str(part).encode()
            if event.message_finished:
                found.append((BINARY if isinstance(event, BytesMessage) else TEXT, begun))
                begun = b""
        elif isinstance(event, Ping | Pong):
            found.append((PING if isinstance(event, Ping) else PONG, bytes(event.payload)))
        elif isinstance(event, CloseConnection):
            if other.state is ConnectionState.OPEN:  # its own complaint, not the client's close
                return found, event.code
            code = b"" if event.code == CloseReason.NO_STATUS_RCVD else pack("!H", event.code)
            return [*found, (CLOSE, code + (event.reason or "").encode())], None
    return found, None
