"""The reader of WebSocket messages: however the bytes are cut, the same messages; what breaks the
RFC's rules has its close code."""

import random

import pytest

from gateway.edge.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_FRAGMENTS,
    NOT_UTF8,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    MessageReader,
    Opening,
    Violation,
    close_frame,
    message_frame,
    opened,
    opening_by,
    opening_of,
)
from schemas.frames import MAX_SOCKET_MESSAGE_BYTES
from tests.harness.raw_socket import raw_frame

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
REQUEST = (
    "GET /v1/socket HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n"
    f"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}"
)


def read(data: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    """The messages of `data`, if it comes in so many pieces."""
    reader, messages = MessageReader(), list[tuple[int, bytes]]()
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if start < end:
            reader.feed(data[start:end])
        while (message := reader.next()) is not None:
            messages.append(message)
    return messages


@pytest.mark.parametrize("seed", range(40))
def test_however_the_bytes_are_cut_the_messages_are_the_same(seed: int) -> None:
    chance = random.Random(seed)
    wanted: list[tuple[int, bytes]] = []
    data = bytearray()
    for _ in range(chance.randrange(1, 30)):
        payload = chance.randbytes(chance.choice([0, 1, 5, 125, 126, 127, 3000, 70_000]))
        kind = chance.choice([TEXT, TEXT, BINARY, PING, PONG, CLOSE])
        if kind in (PING, PONG):
            payload = payload[:125]
        if kind == CLOSE:
            payload = chance.choice([b"", b"\x03\xe8bye", b"\x0f\xa0"])
        fragments = chance.randrange(4) if kind in (TEXT, BINARY) else 0
        cuts = sorted(chance.randrange(len(payload) + 1) for _ in range(fragments))
        parts = list(zip([0, *cuts], [*cuts, len(payload)], strict=True))
        for number, (start, end) in enumerate(parts):
            last = number == len(parts) - 1
            data += raw_frame(payload[start:end], CONTINUATION if number else kind, last)
            if not last and chance.random() < 0.3:
                data += raw_frame(b"between", PING)
                wanted.append((PING, b"between"))
        wanted.append((kind, payload))
    pieces = sorted(chance.randrange(len(data)) for _ in range(chance.choice([0, 3, 200])))
    assert read(bytes(data), pieces) == wanted


WRONG = {
    "a reserved bit": (b"\xc1\x80" + bytes(4), PROTOCOL_ERROR),
    "an opcode that is none": (b"\x83\x80" + bytes(4), PROTOCOL_ERROR),
    "a control opcode that is none": (b"\x8b\x80" + bytes(4), PROTOCOL_ERROR),
    "no mask": (b"\x81\x02hi" + bytes(8), PROTOCOL_ERROR),
    "a long ping": (raw_frame(bytes(126), PING), PROTOCOL_ERROR),
    "a ping in fragments": (raw_frame(b"", PING, final=False), PROTOCOL_ERROR),
    "a continuation of nothing": (raw_frame(b"", CONTINUATION), PROTOCOL_ERROR),
    "two beginnings": (raw_frame(b"", TEXT, False) + raw_frame(b"", TEXT), PROTOCOL_ERROR),
    "half a close code": (raw_frame(b"\x03", CLOSE), PROTOCOL_ERROR),
    "a close code that may not be sent": (raw_frame(b"\x03\xed", CLOSE), PROTOCOL_ERROR),
    "a close code that is none": (raw_frame(b"\x13\x88", CLOSE), PROTOCOL_ERROR),
    "a reason that is not text": (raw_frame(b"\x03\xe8\xff", CLOSE), NOT_UTF8),
    "too large": (raw_frame(bytes(MAX_SOCKET_MESSAGE_BYTES + 1), TEXT)[:14], TOO_BIG),
    "too large in sum": (
        raw_frame(bytes(MAX_SOCKET_MESSAGE_BYTES), TEXT, False) + raw_frame(b"x", CONTINUATION),
        TOO_BIG,
    ),
    "a length in two bytes that one holds": (b"\x81\xfe\0\x7d" + bytes(4 + 125), PROTOCOL_ERROR),
    "a length in eight that two hold": (
        b"\x81\xff" + bytes(6) + b"\xff\xff" + bytes(4),
        PROTOCOL_ERROR,
    ),
    "endless": (b"\x81\xff" + b"\xff" * 12, TOO_BIG),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_the_rules_has_its_code(name: str) -> None:
    data, code = WRONG[name]
    before = raw_frame(b"before", PING)
    reader = MessageReader()
    reader.feed(before + data)
    assert reader.next() == (PING, b"before")
    with pytest.raises(Violation) as broken:
        list(iter(reader.next, None))
    assert broken.value.code == code


def test_the_largest_message_is_taken() -> None:
    payload = bytes(MAX_SOCKET_MESSAGE_BYTES)
    assert read(raw_frame(payload, TEXT), [5, 9, 70_000]) == [(TEXT, payload)]


def test_a_message_has_so_many_fragments() -> None:
    first, empty = raw_frame(b"x", TEXT, final=False), raw_frame(b"", CONTINUATION, final=False)
    last = raw_frame(b"y", CONTINUATION)
    assert read(first + empty * (MAX_FRAGMENTS - 1) + last, []) == [(TEXT, b"xy")]
    with pytest.raises(Violation) as broken:
        read(first + empty * (MAX_FRAGMENTS + 1), [])
    assert broken.value.code == TOO_BIG


def test_the_request_of_rfc_6455_and_of_browsers() -> None:
    assert opening_of(REQUEST.encode()) == Opening(KEY)
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" in opened(Opening(KEY))
    assert opening_of(REQUEST.replace("/v1/socket", "/v1/socket?a=b").encode()) == Opening(KEY)


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("GET", "POST"),
        ("/v1/socket", "/v1/sockets"),
        ("/v1/socket", "/"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("WebSocket\r\n", "h2c\r\n"),
        ("keep-alive, Upgrade", "keep-alive"),
        ("13", "12"),
        (KEY, ""),
        (KEY, KEY[4:]),
        (KEY, "§" + KEY[1:]),
        ("\r\nSec-WebSocket-Key", "\r\nX"),
    ],
)
def test_another_request_opens_no_socket(part: str, instead: str) -> None:
    assert opening_of(REQUEST.replace(part, instead, 1).encode("latin-1")) is None


@pytest.mark.parametrize(
    ("named", "chosen"),
    [
        ("messenger.msgpack", "messenger.msgpack"),
        ("other, messenger.msgpack,messenger.json", "messenger.msgpack"),
        ("messenger.json, messenger.msgpack", "messenger.json"),
        ("other", ""),
        ("", ""),
    ],
)
def test_the_first_subprotocol_that_the_server_knows_is_chosen(named: str, chosen: str) -> None:
    head = REQUEST.rstrip() + f"\r\nSec-WebSocket-Protocol: {named}"
    opening = opening_of(head.encode())
    assert opening == Opening(KEY, chosen)
    line = f"Sec-WebSocket-Protocol: {chosen}\r\n".encode()
    assert (line in opened(opening)) == bool(chosen)
    assert (b"Protocol:" in opened(opening)) == bool(chosen)


def test_frames_of_the_server() -> None:
    for size in (0, 125, 126, 65535, 65536):
        frame = message_frame(b"x" * size)
        assert frame.endswith(b"x" * size)
        assert len(frame) - size == (2 if size < 126 else 4 if size < 65536 else 10)
    assert close_frame(4000, "x" * 200) == b"\x88\x7a\x0f\xa0" + b"x" * 120
    assert opening_by({}) is None
