"""Generates load over sockets: pairs of users on raw, non-blocking WebSockets, which cost the
generator little.
"""

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence

import msgspec

from bench.talk import BODY, Talk, Talker, pair_names
from gateway.edge.tokens import issue
from schemas.ids import user_id

UPGRADE = (
    b"GET /v1/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
"""The request that opens a device's WebSocket."""
TEXT, PING = 0x81, 0x89
"""First bytes of what a gateway sends."""
_AGAIN_SECONDS, _INTRODUCED_SECONDS = 0.2, 120.0
_ANSWER_SECONDS = 60.0
"""A gateway that says nothing for so long while a device logs in, or a user is introduced, is
away."""
PONG = b"\x8a\x80\0\0\0\0"


class _Frame(msgspec.Struct, gc=False):
    """What the generator reads of a server frame."""

    t: str
    seq: int = 0
    key: str = ""
    from_: str = msgspec.field(name="from", default="")
    to: str = ""


_decode = msgspec.json.Decoder(_Frame).decode_lines


class Device(Talker):
    """One device that has logged in, on a raw WebSocket. Raises OSError if it is turned away, or
    gets no answer."""

    def __init__(
        self, name: str, peer: str, address: tuple[str, int], secret: str, device: str
    ) -> None:
        super().__init__(name, peer)
        self.conversation = ":".join(sorted((name, peer)))
        self.outbox = os.urandom(16).hex()
        self.cursor = 0
        self.sock = socket.create_connection(address, _ANSWER_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(UPGRADE)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.received()
        token = issue(user_id(name), secret, time.time())
        hello = {"t": "hello", "id": 1, "version": 1, "token": token, "device": device}
        self.sock.sendall(masked(json.dumps(hello).encode()))
        while b"welcome" not in self.buffer:
            self.buffer += self.received()
        self.buffer = b""
        self.sock.setblocking(False)

    def received(self) -> bytes:
        """What comes next. Raises OSError if nothing does."""
        received = self.sock.recv(4096)
        if not received:
            raise ConnectionError(f"the gateway closed the socket of {self.name}")
        return received


class Generator(Talk[Device]):
    """`pairs` of connected users who talk. Each user has `devices`, of which the first sends; a
    message is done when its sender got `sent` and every other device of both users got the message.
    With `receipts` each device says what it has received, once for all of a read.
    """

    def __init__(
        self,
        address: tuple[str, int],
        secret: str,
        pairs: int,
        seed: int,
        devices: int = 1,
        receipts: bool = True,
    ) -> None:
        run, names = pair_names(pairs)
        connected = [
            Device(name, peer, address, secret, f"bench-{device}")
            for device in range(devices)
            for name, peer in names
        ]
        super().__init__(connected, len(names), 2 * devices, run, seed)
        self._receipts = receipts
        self.resyncs = 0

    def conversations(self) -> dict[str, int]:
        """conversation → last seq."""
        last: dict[str, int] = {}
        for device in self._devices:
            last[device.conversation] = max(last.get(device.conversation, 0), device.cursor)
        return last

    def _message(self, user: Device, key: str) -> bytes:
        return (
            f'{{"t":"send","to":"{user.peer}","outbox":"{user.outbox}","ordinal":{user.ordinal},'
            f'"key":"{key}","body":"{BODY}{user.ordinal}","round":1}}'
        ).encode()

    def _packet(self, device: Device) -> bytes:
        return masked(b"\n".join(device.out))

    def _take(self, device: Device, received: bytes, now: float) -> None:
        shown = device.cursor
        frames, device.buffer = websocket_messages(device.buffer + received)
        for kind, payload in frames:
            if kind == TEXT:
                for frame in _decode(payload):
                    self._read(device, frame, now)
            elif kind == PING:
                device.sock.send(PONG)
        if self._receipts and device.cursor > shown:
            mark = (
                f'{{"t":"received","conversation":"{device.conversation}","seq":{device.cursor}}}'
            )
            self._say(device, mark.encode())

    def _read(self, device: Device, frame: _Frame, now: float) -> None:
        kind = frame.t
        if kind == "message":
            if frame.seq <= device.cursor:
                self.out_of_order += 1
            device.cursor = frame.seq
            self._answered(frame.key, frame.from_, now, shown=frame.from_ == device.peer)
        elif kind == "sent":
            self._answered(frame.key, device.name, now, shown=False)
        elif kind == "mark":
            self.marks += 1
        elif kind == "resync":  # if the device missed something, the verdict will say so
            self.resyncs += 1
        else:
            raise AssertionError(f"unexpected {frame}")


def masked(payload: bytes) -> bytes:
    """A WebSocket text frame as clients send them, with a mask of zeros, so that masking costs
    nothing."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, 0x80 | length)) + bytes(4) + payload
    if length < 65536:
        return bytes((0x81, 0xFE)) + length.to_bytes(2, "big") + bytes(4) + payload
    return bytes((0x81, 0xFF)) + length.to_bytes(8, "big") + bytes(4) + payload


def websocket_messages(received: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """([(first byte, payload) of each whole WebSocket message], the rest). A gateway does not
    fragment."""
    found, position, end = [], 0, len(received)
    while end - position >= 2:
        length, start = received[position + 1], position + 2
        if length == 126:
            start = position + 4
            length = int.from_bytes(received[position + 2 : start], "big")
        elif length == 127:
            start = position + 10
            length = int.from_bytes(received[position + 2 : start], "big")
        if end - start < length:
            break
        found.append((received[position], received[start : start + length]))
        position = start + length
    return found, received[position:]


def introduce(address: tuple[str, int], secret: str, users: Sequence[str]) -> None:
    """One user writes a message to each of `users`, so that each has a conversation. Raises OSError
    if the gateway does not answer or ends the connection, AssertionError if it takes too long."""
    host = Device(f"host-{os.urandom(3).hex()}", "", address, secret, "bench")
    host.sock.settimeout(_ANSWER_SECONDS)

    def send(keys: Mapping[str, str]) -> None:
        frames = [
            f'{{"t":"send","to":"{user}","outbox":"{host.outbox}","ordinal":1,'
            f'"key":"{key}","body":"Hello","round":1}}'
            for user, key in keys.items()
        ]
        host.sock.sendall(masked("\n".join(frames).encode()))

    until = time.monotonic() + _INTRODUCED_SECONDS
    with host.sock:
        for start in range(0, len(users), 200):
            keys = {user: os.urandom(16).hex() for user in users[start : start + 200]}
            send(keys)
            waiting = set(keys.values())
            while waiting:
                received, host.buffer = websocket_messages(host.buffer + host.received())
                frames = [
                    frame
                    for kind, payload in received
                    if kind == TEXT
                    for frame in _decode(payload)
                ]
                waiting -= {frame.key for frame in frames if frame.t == "sent"}
                assert not waiting or time.monotonic() < until, f"it takes too long: {frames}"
                if again := {frame.to for frame in frames if frame.t == "error"}:
                    time.sleep(_AGAIN_SECONDS)  # a stack that has just begun knows no owners yet
                    send({user: keys[user] for user in again})
