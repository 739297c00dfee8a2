"""Pairs of users who talk over sockets: when each sends, and how long messages take. What they send
and get is up to the protocol: bench/generator.py, bench/xmpp.py.

Closed loop: each user keeps `window` messages in flight. Open loop: Poisson arrivals; a latency
counts from when the message was due, also if the generator sent it late.
"""

import gc
import os
import random
import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from bench.timer import Timer

BODY = "Hello, are we still on for lunch tomorrow? I could be there at one. "
_READ = bytearray(1 << 18)


class Talker:
    """One device of a user, with its socket, which must not block."""

    sock: socket.socket

    def __init__(self, name: str, peer: str) -> None:
        self.name = name
        self.peer = peer
        self.number = self.ordinal = 0
        self.buffer = b""
        self.out: list[bytes] = []
        """What it sends with the next flush."""


_T = TypeVar("_T", bound=Talker)


class Verdict(NamedTuple):
    """Of the messages of a run. All must be 0."""

    lost: int
    twice: int
    out_of_order: int


def pair_names(pairs: int) -> tuple[str, list[tuple[str, str]]]:
    """A random word, and `pairs` * 2 new users with that word in their names, each with its
    peer."""
    run = os.urandom(4).hex()
    return run, [
        (f"{'ab'[n % 2]}{n // 2}-{run}", f"{'ba'[n % 2]}{n // 2}-{run}") for n in range(pairs * 2)
    ]


class Talk(ABC, Generic[_T]):
    """Times messages, in seconds of time.monotonic. The first `users` of `devices` send, each for
    another user. A message is done after `answers`."""

    def __init__(
        self, devices: Sequence[_T], users: int, answers: int, mark: str, seed: int
    ) -> None:
        self._chance = random.Random(seed)
        self.mark = mark
        """What the keys of all messages begin with."""
        self._devices = devices
        self._users = devices[:users]
        for number, user in enumerate(self._users):
            user.number = number
        self._answers = answers
        self._timer = Timer()  # epoll waits in whole milliseconds; arrivals are due in between
        self._wakes = 0.0
        self._epoll = select.epoll()
        self._epoll.register(self._timer.fd, select.EPOLLIN | select.EPOLLET)
        self._by_fd = {device.sock.fileno(): device for device in devices}
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)
        self._by_name = {user.name: user for user in self._users}
        self._open: dict[str, list[float]] = {}
        self._dirty: set[_T] = set()
        self._again = False
        self.latencies: list[float] = []
        self.trace: dict[str, tuple[float, float]] | None = None
        """If set: key → when the message was due, and when its recipient showed it."""
        self.late: list[float] = []
        """How long after it was due the generator sent a message of the open loop."""
        self.done = 0
        self.twice = 0
        self.out_of_order = 0
        self.marks = 0
        gc.collect()
        gc.disable()  # a collection would count as latency; `close` switches it on again

    @abstractmethod
    def _message(self, user: _T, key: str) -> bytes:
        """What a user sends for the message number user.ordinal."""

    @abstractmethod
    def _packet(self, device: _T) -> bytes:
        """device.out as it goes over the socket."""

    @abstractmethod
    def _take(self, device: _T, received: bytes, now: float) -> None:
        """Read what a device has received."""

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

    def close(self) -> None:
        for device in self._devices:
            device.sock.close()
        self._epoll.close()
        self._timer.close()
        gc.enable()

    def _say(self, device: _T, what: bytes) -> None:
        device.out.append(what)
        self._dirty.add(device)

    def _answered(self, key: str, sender: str, now: float, shown: bool) -> None:
        """One of the answers to a message has come; `shown`: it is the recipient's."""
        under_way = self._open.get(key)
        if under_way is None:
            self.twice += 1
            return
        if shown:
            self.latencies.append(now - under_way[0])
            if self.trace is not None:
                self.trace[key] = under_way[0], now
        under_way[1] -= 1
        if under_way[1] == 0:
            del self._open[key]
            self.done += 1
            if self._again:
                self._send(self._by_name[sender], now)

    def _send(self, user: _T, due: float) -> None:
        user.ordinal += 1
        key = f"{self.mark}{user.number:08x}{user.ordinal:016x}"
        self._open[key] = [due, self._answers]
        self._say(user, self._message(user, key))

    def _flush(self) -> None:
        for device in self._dirty:
            packet = self._packet(device)
            if device.sock.send(packet) != len(packet):
                raise RuntimeError("the server does not read as fast as the generator writes")
            device.out.clear()
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
                raise ConnectionError(f"the server closed the socket of {device.name}")
            self._take(device, bytes(memoryview(_READ)[:length]), now)
