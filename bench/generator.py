"""Generates load over sockets: pairs of users on raw, non-blocking WebSockets, which cost the
generator little.

Closed loop: each user keeps `window` messages in flight. A message is done when its sender got
`sent` and every other device of both users got the message. Open loop: Poisson arrivals; a latency
counts from when the message was due, also if the generator sent it late.
"""

import json
import os
import random
import selectors
import socket
import time
from typing import Any

from gateway.edge.tokens import issue
from schemas.ids import user_id

_BODY = "Hello, are we still on for lunch tomorrow? I could be there at one. "
_READ = 262_144
UPGRADE = (
    b"GET /v1/socket HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
"""The request that opens a device's WebSocket."""


class _Device:
    def __init__(
        self, name: str, peer: str, address: tuple[str, int], secret: str, device: str
    ) -> None:
        self.name = name
        self.peer = peer
        self.outbox = os.urandom(16).hex()
        self.ordinal = 0
        self.cursor = 0
        self.buffer = b""
        self.out: list[bytes] = []
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(UPGRADE)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.sock.recv(4096)
        token = issue(user_id(name), secret, time.time())
        hello = {"t": "hello", "id": 1, "version": 1, "token": token, "device": device}
        self.sock.sendall(masked(json.dumps(hello).encode()))
        while b"welcome" not in self.buffer:
            self.buffer += self.sock.recv(4096)
        self.buffer = b""
        self.sock.setblocking(False)


class Generator:
    """`pairs` of connected users whose messages it times, in seconds of time.monotonic; `precise`
    for an open loop. Each user has `devices`, of which the first sends; with `receipts` each says
    what it has received, once for all of a read.
    """

    def __init__(
        self,
        address: tuple[str, int],
        secret: str,
        pairs: int,
        seed: int,
        precise: bool = False,
        devices: int = 1,
        receipts: bool = False,
    ) -> None:
        self._chance = random.Random(seed)
        run = os.urandom(3).hex()
        self._devices = [
            _Device(
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
        self._receipts = receipts
        self.marks = 0
        self.resyncs = 0
        self._answers = 2 * devices
        """Frames that a message leads to: `sent`, and one to each other device of both users."""
        # epoll waits in whole milliseconds, and arrivals of an open loop are due in between
        self._selector: selectors.BaseSelector = (
            selectors.SelectSelector() if precise else selectors.EpollSelector()
        )
        for device in self._devices:
            self._selector.register(device.sock, selectors.EVENT_READ, device)
        self._by_name = {user.name: user for user in self._users}
        self._open: dict[str, list[float]] = {}
        self._dirty: set[_Device] = set()
        self._again = False
        self.latencies: list[float] = []
        self.done = 0
        self.twice = 0
        self.out_of_order = 0

    def closed(self, window: int, seconds: float) -> None:
        """Every user keeps `window` messages in flight for `seconds`."""
        self._again = True
        if not self._open:
            for user in self._users:
                for _ in range(window):
                    self._send(user, time.monotonic())
        self._run(time.monotonic() + seconds)
        self._again = False

    def poisson(self, rate: float, seconds: float) -> None:
        """Random users send `rate` messages/s together, for `seconds`."""
        now = time.monotonic()
        due, end = now, now + seconds
        while due < end:
            while due <= time.monotonic():
                self._send(self._chance.choice(self._users), due)
                due += self._chance.expovariate(rate)
            self._flush()
            self._poll(max(0.0, min(0.01, due - time.monotonic())))

    def settle(self, seconds: float) -> int:
        """Wait up to `seconds` for messages in flight; returns how many are not done."""
        end = time.monotonic() + seconds
        self._flush()
        while self._open and time.monotonic() < end:
            self._poll(0.05)
        return len(self._open)

    def reset(self) -> None:
        """Forget latencies and messages counted so far."""
        self.latencies, self.done = [], 0

    def conversations(self) -> dict[str, int]:
        """conversation → last seq."""
        last: dict[str, int] = {}
        for device in self._devices:
            name = ":".join(sorted((device.name, device.peer)))
            last[name] = max(last.get(name, 0), device.cursor)
        return last

    def close(self) -> None:
        for device in self._devices:
            device.sock.close()

    def _run(self, end: float) -> None:
        while time.monotonic() < end:
            self._flush()
            self._poll(0.01)

    def _send(self, user: _Device, due: float) -> None:
        user.ordinal += 1
        key = f"{user.outbox[:20]}{user.ordinal:012x}"
        self._open[key] = [due, self._answers]
        frame = (
            f'{{"t":"send","to":"{user.peer}","outbox":"{user.outbox}","ordinal":{user.ordinal},'
            f'"key":"{key}","body":"{_BODY}{user.ordinal}","round":1}}'
        )
        user.out.append(frame.encode())
        self._dirty.add(user)

    def _flush(self) -> None:
        for user in self._dirty:
            user.sock.send(masked(b"\n".join(user.out)))
            user.out.clear()
        self._dirty.clear()

    def _poll(self, timeout: float) -> None:
        for selected, _ in self._selector.select(timeout):
            user: _Device = selected.data
            received = user.sock.recv(_READ)
            if not received:
                raise ConnectionError(f"the gateway closed the socket of {user.name}")
            user.buffer += received
            shown = user.cursor
            self._read(user, time.monotonic())
            if self._receipts and user.cursor > shown:
                first, second = sorted((user.name, user.peer))
                user.out.append(
                    f'{{"t":"received","conversation":"{first}:{second}","seq":{user.cursor}}}'.encode()
                )
                self._dirty.add(user)

    def _read(self, user: _Device, now: float) -> None:
        buffer, position = user.buffer, 0
        while len(buffer) - position >= 2:
            length, start = buffer[position + 1], position + 2
            if length == 126:
                length, start = (
                    int.from_bytes(buffer[position + 2 : position + 4], "big"),
                    position + 4,
                )
            elif length == 127:
                length, start = (
                    int.from_bytes(buffer[position + 2 : position + 10], "big"),
                    position + 10,
                )
            if len(buffer) - start < length:
                break
            if buffer[position] == 0x81:
                for line in buffer[start : start + length].split(b"\n"):
                    self._take(user, json.loads(line), now)
            position = start + length
        user.buffer = buffer[position:]

    def _take(self, user: _Device, frame: dict[str, Any], now: float) -> None:
        if frame["t"] == "mark":
            self.marks += 1
            return
        if frame["t"] == "resync":  # if the device missed something, the verdict will say so
            self.resyncs += 1
            return
        if frame["t"] == "message":
            if frame["seq"] <= user.cursor:
                self.out_of_order += 1
            user.cursor = frame["seq"]
        elif frame["t"] != "sent":
            raise AssertionError(f"unexpected {frame}")
        under_way = self._open.get(frame["key"])
        if under_way is None:
            self.twice += 1
            return
        if frame["t"] == "message" and frame["from"] == user.peer:
            self.latencies.append(now - under_way[0])
        under_way[1] -= 1
        if under_way[1] == 0:
            del self._open[frame["key"]]
            self.done += 1
            if self._again:
                self._send(self._by_name[user.name if frame["t"] == "sent" else frame["from"]], now)


def masked(payload: bytes) -> bytes:
    """A WebSocket text frame as clients send them, with a mask of zeros, so that masking costs
    nothing."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, 0x80 | length)) + bytes(4) + payload
    if length < 65536:
        return bytes((0x81, 0xFE)) + length.to_bytes(2, "big") + bytes(4) + payload
    return bytes((0x81, 0xFF)) + length.to_bytes(8, "big") + bytes(4) + payload
