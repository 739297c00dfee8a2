"""Generates load over sockets: pairs of users on raw, non-blocking WebSockets, which cost the
generator little.

Closed loop: each user keeps `window` messages in flight. A message is done when its sender got
`sent` and every other device of both users got the message. Open loop: Poisson arrivals; a latency
counts from when the message was due, also if the generator sent it late.
"""

import gc
import json
import os
import random
import select
import socket
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from bench.timer import Timer
from gateway.edge.tokens import issue
from schemas.ids import user_id

_BODY = "Hello, are we still on for lunch tomorrow? I could be there at one. "
_READ = bytearray(1 << 18)
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


class Device:
    """One device that has logged in, on a raw WebSocket. Raises OSError if it is turned away, or
    gets no answer."""

    def __init__(
        self, name: str, peer: str, address: tuple[str, int], secret: str, device: str
    ) -> None:
        self.name = name
        self.peer = peer
        self.conversation = ":".join(sorted((name, peer)))
        self.outbox = os.urandom(16).hex()
        self.number = self.ordinal = 0
        self.cursor = 0
        self.buffer = b""
        self.out: list[bytes] = []
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


class Verdict(NamedTuple):
    """Of the messages of a run. All must be 0."""

    lost: int
    twice: int
    out_of_order: int


class Generator:
    """`pairs` of connected users whose messages it times, in seconds of time.monotonic. Each user
    has `devices`, of which the first sends; with `receipts` each says what it has received, once
    for all of a read.
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
        self._chance = random.Random(seed)
        run = os.urandom(4).hex()
        self.mark = run
        """What the keys of all messages begin with."""
        self._devices = [
            Device(
                f"{'ab'[n % 2]}{n // 2}-{run}",
                f"{'ba'[n % 2]}{n // 2}-{run}",
                address,
                secret,
                f"bench-{device}",
            )
            for device in range(devices)
            for n in range(pairs * 2)
        ]
        self._users = self._devices[: pairs * 2]
        for number, user in enumerate(self._users):
            user.number = number
        self._receipts = receipts
        self.marks = 0
        self.resyncs = 0
        self._answers = 2 * devices
        """Frames that a message leads to: `sent`, and one to each other device of both users."""
        self._timer = Timer()  # epoll waits in whole milliseconds; arrivals are due in between
        self._wakes = 0.0
        self._epoll = select.epoll()
        self._epoll.register(self._timer.fd, select.EPOLLIN | select.EPOLLET)
        self._by_fd = {device.sock.fileno(): device for device in self._devices}
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)
        self._by_name = {user.name: user for user in self._users}
        self._open: dict[str, list[float]] = {}
        self._dirty: set[Device] = set()
        self._again = False
        self.latencies: list[float] = []
        self.trace: dict[str, tuple[float, float]] | None = None
        """If set: key → when the message was due, and when its recipient showed it."""
        self.late: list[float] = []
        """How long after it was due the generator sent a message of the open loop."""
        self.done = 0
        self.twice = 0
        self.out_of_order = 0
        gc.collect()
        gc.disable()  # a collection would count as latency; `close` switches it on again

    def closed(self, window: int, seconds: float) -> None:
        """Every user keeps `window` messages in flight for `seconds`."""
        self._again = True
        if not self._open:
            for user in self._users:
                for _ in range(window):
                    self._send(user, time.monotonic())
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._flush()
            self._poll(end)
        self._again = False

    def poisson(self, rate: float, seconds: float) -> None:
        """Random users send `rate` messages/s together, for `seconds`."""
        now = time.monotonic()
        due, end = now, now + seconds
        while due < end:
            now = time.monotonic()
            while due <= now:
                self._send(self._chance.choice(self._users), due)
                self.late.append(now - due)
                due += self._chance.expovariate(rate)
            self._flush()
            self._poll(due)

    def settle(self, seconds: float) -> Verdict:
        """Wait up to `seconds` for messages in flight; those that are not done then are lost."""
        end = time.monotonic() + seconds
        self._flush()
        while self._open and time.monotonic() < end:
            self._poll(min(end, time.monotonic() + 0.05))
            self._flush()
        return Verdict(len(self._open), self.twice, self.out_of_order)

    def reset(self) -> None:
        """Forget latencies and messages counted so far."""
        self.latencies, self.late, self.done, self.marks = [], [], 0, 0

    def conversations(self) -> dict[str, int]:
        """conversation → last seq."""
        last: dict[str, int] = {}
        for device in self._devices:
            last[device.conversation] = max(last.get(device.conversation, 0), device.cursor)
        return last

    def close(self) -> None:
        for device in self._devices:
            device.sock.close()
        self._epoll.close()
        self._timer.close()
        gc.enable()

    def _send(self, user: Device, due: float) -> None:
        user.ordinal += 1
        key = f"{self.mark}{user.number:08x}{user.ordinal:016x}"
        self._open[key] = [due, self._answers]
        frame = (
            f'{{"t":"send","to":"{user.peer}","outbox":"{user.outbox}","ordinal":{user.ordinal},'
            f'"key":"{key}","body":"{_BODY}{user.ordinal}","round":1}}'
        )
        user.out.append(frame.encode())
        self._dirty.add(user)

    def _flush(self) -> None:
        for user in self._dirty:
            written = masked(b"\n".join(user.out))
            if user.sock.send(written) != len(written):
                raise RuntimeError("the gateway does not read as fast as the generator writes")
            user.out.clear()
        self._dirty.clear()

    def _poll(self, until: float) -> None:
        """Read what has come, or wait for it until then (time.monotonic)."""
        if until != self._wakes:
            self._timer.set(until)
            self._wakes = until
        for fd, _ in self._epoll.poll():
            device = self._by_fd.get(fd)
            if device is None:
                continue  # the timer
            length = device.sock.recv_into(_READ)
            now = time.monotonic()
            if not length:
                raise ConnectionError(f"the gateway closed the socket of {device.name}")
            shown = device.cursor
            self._read(device, bytes(memoryview(_READ)[:length]), now)
            if self._receipts and device.cursor > shown:
                device.out.append(
                    f'{{"t":"received","conversation":"{device.conversation}",'
                    f'"seq":{device.cursor}}}'.encode()
                )
                self._dirty.add(device)

    def _read(self, device: Device, received: bytes, now: float) -> None:
        frames, device.buffer = websocket_messages(device.buffer + received)
        for kind, payload in frames:
            if kind == TEXT:
                for frame in _decode(payload):
                    self._take(device, frame, now)
            elif kind == PING:
                device.sock.send(PONG)

    def _take(self, device: Device, frame: _Frame, now: float) -> None:
        kind = frame.t
        if kind == "message":
            if frame.seq <= device.cursor:
                self.out_of_order += 1
            device.cursor = frame.seq
        elif kind == "mark":
            self.marks += 1
            return
        elif kind == "resync":  # if the device missed something, the verdict will say so
            self.resyncs += 1
            return
        elif kind != "sent":
            raise AssertionError(f"unexpected {frame}")
        under_way = self._open.get(frame.key)
        if under_way is None:
            self.twice += 1
            return
        if kind == "message" and frame.from_ == device.peer:
            self.latencies.append(now - under_way[0])
            if self.trace is not None:
                self.trace[frame.key] = under_way[0], now
        under_way[1] -= 1
        if under_way[1] == 0:
            del self._open[frame.key]
            self.done += 1
            if self._again:
                self._send(self._by_name[device.name if kind == "sent" else frame.from_], now)


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
