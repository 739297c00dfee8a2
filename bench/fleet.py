"""Many devices that log in: each connects, says hello, and asks what it missed until the answer is
complete. One thread and one epoll serve them, so that the load generator costs little."""

import contextlib
import heapq
import random
import select
import socket
import time
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from bench.generator import PING, PONG, TEXT, UPGRADE, masked, websocket_messages
from bench.timer import Timer
from gateway.edge.tokens import issue
from schemas.ids import user_id

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 20.0
"""The shortest and the longest wait of docs/PROTOCOL.md before a device connects, in seconds."""
_ASK_AGAIN, _ASK_AGAIN_LONGEST = 0.8, 3.2
"""The same before it asks again."""
_PATIENCE = 120.0
_BOTH = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
_READ = bytearray(1 << 18)
"""More than a node sends at once to a device with one conversation: a read takes all there is."""


class State(Enum):
    AWAY = 0
    CONNECTING = 1
    UPGRADING = 2
    GREETING = 3
    ASKING = 4
    IN_STEP = 5


class _Device:
    def __init__(self, user: str, secret: str) -> None:
        self.token = issue(user_id(user), secret, time.time())
        self.sock: socket.socket | None = None
        self.state = State.AWAY
        self.buffer = b""
        self.began = 0.0
        self.failures = 0
        self.after = ""


class Logins(NamedTuple):
    """`seconds` until the last device was in step, and of each device from connecting on."""

    seconds: float
    each: list[float]
    turned_away: int


class Fleet:
    """One device each of `users`, to be logged in together."""

    def __init__(self, users: Sequence[str], secret: str, sync: bool = True) -> None:
        self._devices = [_Device(user, secret) for user in users]
        self._sync = sync
        self._chance = random.Random(1)
        self._timer = Timer()
        self._epoll = select.epoll()
        self._epoll.register(self._timer.fd, select.EPOLLIN | select.EPOLLET)
        self._by_fd: dict[int, _Device] = {}
        self._due: list[tuple[float, int, _Device]] = []
        """When a device connects or asks again."""
        self._numbers = 0
        self._away = len(self._devices)
        self._in_step = 0
        self._address = ("", 0)
        self._each: list[float] = []
        self._turned_away = 0
        self._may_return = False

    def login(self, address: tuple[str, int], at_once: int) -> Logins:
        """Log all devices in, `at_once` at any time."""
        began = self._begin(address)
        waiting = list(reversed(self._devices))
        while self._in_step < len(self._devices):
            while waiting and len(self._by_fd) - self._in_step < at_once:
                self._connect(waiting.pop())
            self._step(began + _PATIENCE)
        return self._end(began)

    def come_back(self, address: tuple[str, int]) -> Logins:
        """Wait until the node of the devices has gone, and let them come back to this address, each
        after the random wait that the protocol asks for."""
        self._begin(address)
        self._may_return = True
        while not self._away and not self._due:
            self._step(time.monotonic() + _PATIENCE)
        began = time.monotonic()
        while len(self._each) < len(self._devices) or self._in_step < len(self._devices):
            self._step(began + _PATIENCE)
        self._may_return = False
        return self._end(began)

    def rest(self, seconds: float) -> None:
        """Answer pings for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._step(until)

    def leave(self) -> None:
        """All devices vanish at once, without a close frame."""
        for device in self._devices:
            self._drop(device)

    def close(self) -> None:
        self.leave()
        self._epoll.close()
        self._timer.close()

    def _begin(self, address: tuple[str, int]) -> float:
        self._address, self._each, self._turned_away = address, [], 0
        return time.monotonic()

    def _end(self, began: float) -> Logins:
        return Logins(time.monotonic() - began, self._each, self._turned_away)

    def _at(self, seconds: float, device: _Device) -> None:
        self._numbers += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._numbers, device))

    def _step(self, until: float) -> None:
        """Serve what has come, or wait for it; raises TimeoutError after `until` if devices are
        missing."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            device = heapq.heappop(self._due)[2]
            if device.state is State.AWAY:
                self._connect(device)
            elif device.state is State.ASKING:
                self._ask(device)
        self._timer.set(min(until, self._due[0][0]) if self._due else until)
        for fd, event in self._epoll.poll():
            device_or_none = self._by_fd.get(fd)
            if device_or_none is not None:
                try:
                    self._serve(device_or_none, event)
                except OSError:
                    self._lost(device_or_none)
        if time.monotonic() > until and self._in_step < len(self._devices):
            raise TimeoutError(f"{len(self._devices) - self._in_step} devices are not back")

    def _connect(self, device: _Device) -> None:
        device.sock = sock = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        device.state, device.began, device.buffer = State.CONNECTING, time.monotonic(), b""
        device.after = ""
        self._away -= 1
        self._by_fd[sock.fileno()] = device
        sock.connect_ex(self._address)
        self._epoll.register(sock.fileno(), _BOTH)

    def _serve(self, device: _Device, event: int) -> None:
        sock = device.sock
        assert sock is not None
        if device.state is State.CONNECTING:
            sock.sendall(UPGRADE)
            device.state = State.UPGRADING
            return
        if event == select.EPOLLOUT:
            return
        length = sock.recv_into(_READ)
        if not length:
            self._lost(device)
            return
        device.buffer += memoryview(_READ)[:length]
        if device.state is State.UPGRADING:
            head, found, device.buffer = device.buffer.partition(b"\r\n\r\n")
            if not found:
                device.buffer = head
            elif head.startswith(b"HTTP/1.1 101"):
                hello = f'{{"t":"hello","id":1,"version":1,"token":"{device.token}","device":"d"}}'
                sock.sendall(masked(hello.encode()))
                device.state = State.GREETING
            else:
                self._lost(device)
            return
        frames, device.buffer = websocket_messages(device.buffer)
        for kind, payload in frames:
            if kind == PING:
                sock.sendall(PONG)
            elif kind == TEXT:
                for line in payload.split(b"\n"):
                    self._take(device, msgspec.json.decode(line))

    def _take(self, device: _Device, frame: dict[str, Any]) -> None:
        if frame["t"] == "welcome":
            device.state = State.ASKING
            if self._sync:
                self._ask(device)
            else:
                self._done(device)
        elif device.state is State.ASKING and frame["t"] in ("heads", "error"):
            if frame.get("pending") or frame["t"] == "error":
                wait = min(_ASK_AGAIN_LONGEST, _ASK_AGAIN * 2.0**device.failures)
                device.failures += 1
                self._at(self._chance.random() * wait, device)
            elif frame.get("next"):
                device.after = frame["next"]
                self._ask(device)
            else:
                self._done(device)

    def _ask(self, device: _Device) -> None:
        assert device.sock is not None
        ask = f'{{"t":"sync","id":2,"cursors":{{}},"after":"{device.after}"}}'
        device.sock.sendall(masked(ask.encode()))

    def _done(self, device: _Device) -> None:
        device.state, device.failures = State.IN_STEP, 0
        self._in_step += 1
        self._each.append(time.monotonic() - device.began)

    def _lost(self, device: _Device) -> None:
        """The node has closed or refused the connection."""
        if device.state is State.IN_STEP and not self._may_return:
            raise RuntimeError("the gateway has closed the connection of a device in step")
        self._turned_away += device.state is not State.IN_STEP
        self._drop(device)
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(device.failures, 16))
        device.failures += 1
        self._at(self._chance.random() * wait, device)

    def _drop(self, device: _Device) -> None:
        if device.sock is None:
            return
        self._in_step -= device.state is State.IN_STEP
        self._away += 1
        del self._by_fd[device.sock.fileno()]
        with contextlib.suppress(OSError):
            device.sock.close()
        device.sock, device.state = None, State.AWAY
