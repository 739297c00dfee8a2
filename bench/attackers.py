"""Hostile sockets: one process with thousands of them, one epoll, and no manners. Each sends what
its attack says as fast as the node reads, and comes again at once when it is closed."""

import contextlib
import errno
import json
import os
import re
import resource
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NamedTuple

from bench.generator import UPGRADE, Device, masked
from gateway.edge.tokens import issue
from schemas.ids import user_id

USERS = 10
"""To whom the sockets belong, so that each has as many devices as a node lets one user have."""
_KNOWN_MESSAGES = 300
"""In the conversation of each two hostile users, so that there are pages to ask for."""
_KEPT_BYTES = 64 * 1024
"""In the kernel for each socket, of what the node has not read: in production other machines keep
it, and here it would fill the kernel's memory for TCP, which honest sockets share."""
_READ = bytearray(1 << 18)
_FOUND = re.compile(rb'"code":(\d+)|HTTP/1\.1 (\d+)|"t":"(welcome|page|heads|presences|sent)"')
_CLOSED = re.compile(rb"\x88[\x02-\x7d](..)", re.DOTALL)


class Hostile(NamedTuple):
    """Who a socket says it is."""

    number: int
    user: str
    peer: str
    """Another hostile user; they have written to each other."""
    secret: str

    @property
    def conversation(self) -> str:
        return ":".join(sorted((self.user, self.peer)))

    def hello(self, token: str | None = None) -> bytes:
        """The WebSocket message that logs the socket in."""
        if token is None:
            token = issue(user_id(self.user), self.secret, time.time())
        hello = {"t": "hello", "id": 1, "version": 1, "token": token, "device": f"d{self.number}"}
        return masked(json.dumps(hello).encode())


class Script(NamedTuple):
    """What one socket does. It sends `opening` when it is connected and `again` after that for
    ever, if it has one: as soon as `until` has come."""

    opening: bytes
    again: Callable[[int], bytes] | None = None
    """What is sent for the n-th time."""
    until: bytes = b""
    a_byte_each: float = 0.0
    """Seconds between two bytes of `opening`; 0: all at once."""
    deaf: bool = False
    """It reads nothing after `until`."""


Attack = Callable[[Hostile], Script]


class _Socket:
    def __init__(self, script: Script, address: str) -> None:
        self.script = script
        self.address = address
        self.sock: socket.socket | None = None
        self.out = memoryview(b"")
        self.rounds = 0
        self.may_go_on = False
        self.tail = b""


class Attackers:
    """`count` sockets that play `attack` against `node`, from addresses of their own."""

    def __init__(
        self, attack: Attack, count: int, node: tuple[str, int], users: list[str], secret: str
    ) -> None:
        self._node = node
        self._epoll = select.epoll()
        self._by_fd: dict[int, _Socket] = {}
        self._slow: list[_Socket] = []
        self.got: Counter[str] = Counter()
        self.sent_bytes = 0
        self.ready = 0
        """Sockets that have got what they wait for."""
        self._sockets = []
        for number in range(count):
            user = users[number % len(users)]
            peer = users[(number % len(users)) ^ 1]
            who = Hostile(number, user, peer, secret)
            self._sockets.append(_Socket(attack(who), f"127.0.1.{1 + number % USERS}"))
        self._away = list(self._sockets)
        self._attacking = False

    def attack(self) -> None:
        """All that are connected begin now, those who come later at once."""
        self._attacking = True
        for hostile in self._by_fd.values():
            if hostile.may_go_on:
                self._go_on(hostile)

    def run(self, seconds: float, go_on: Callable[[], bool]) -> None:
        """Attack for so long, or until `go_on` says no."""
        end = time.monotonic() + seconds
        dripped = 0.0
        while time.monotonic() < end and go_on():
            for _ in range(min(200, len(self._away))):
                self._connect(self._away.pop())
            now = time.monotonic()
            if self._slow and now - dripped >= self._slow[0].script.a_byte_each:
                dripped = now
                self._drip()
            for fd, event in self._epoll.poll(0.05, 500):
                hostile = self._by_fd.get(fd)
                if hostile is not None:
                    self._serve(hostile, event)

    def close(self) -> None:
        for hostile in list(self._by_fd.values()):
            self._drop(hostile)
        self._epoll.close()

    @property
    def waiting(self) -> bool:
        """Whether they have to wait for something before they attack."""
        return any(hostile.script.until for hostile in self._sockets)

    @property
    def connected(self) -> int:
        return len(self._by_fd)

    def _connect(self, hostile: _Socket) -> None:
        sock = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: ports do not run out
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KEPT_BYTES)
        sock.bind((hostile.address, 0))
        if sock.connect_ex(self._node) not in (0, errno.EINPROGRESS):
            sock.close()
            self.got["not connected"] += 1
            self._away.insert(0, hostile)
            return
        hostile.sock = sock
        hostile.tail, hostile.rounds = b"", 0
        hostile.may_go_on = not hostile.script.until
        hostile.out = memoryview(hostile.script.opening)
        self._by_fd[sock.fileno()] = hostile
        writes = 0 if hostile.script.a_byte_each else select.EPOLLOUT
        self._epoll.register(sock.fileno(), select.EPOLLIN | writes)
        if hostile.script.a_byte_each:
            self._slow.append(hostile)

    def _drip(self) -> None:
        for hostile in list(self._slow):
            if hostile.sock is not None and hostile.out:
                with contextlib.suppress(OSError):
                    hostile.sock.send(hostile.out[:1])
                    hostile.out = hostile.out[1:]
                    self.sent_bytes += 1

    def _serve(self, hostile: _Socket, event: int) -> None:
        try:
            if event & select.EPOLLIN:
                self._read(hostile)
            if event & select.EPOLLOUT and hostile.sock is not None:
                self._write(hostile)
            if event & (select.EPOLLERR | select.EPOLLHUP) and hostile.sock is not None:
                self._closed(hostile)
        except BlockingIOError:
            return
        except OSError:
            self._closed(hostile)

    def _read(self, hostile: _Socket) -> None:
        assert hostile.sock is not None
        length = hostile.sock.recv_into(_READ)
        if not length:
            self._closed(hostile)
            return
        received = bytes(memoryview(_READ)[:length])
        hostile.tail = (hostile.tail + received)[-130:]
        for code, status, kind in _FOUND.findall(received):
            self.got[(kind or (b"HTTP " + status if status else code)).decode()] += 1
        if not hostile.may_go_on and hostile.script.until in received:
            hostile.may_go_on = True
            self.ready += 1
            if self._attacking:
                self._go_on(hostile)

    def _go_on(self, hostile: _Socket) -> None:
        assert hostile.sock is not None
        if hostile.script.deaf:
            self._epoll.modify(hostile.sock.fileno(), 0)
        elif hostile.script.again is not None:
            self._epoll.modify(hostile.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _write(self, hostile: _Socket) -> None:
        assert hostile.sock is not None
        script = hostile.script
        goes_on = script.again is not None and hostile.may_go_on and self._attacking
        if not hostile.out and goes_on:
            assert script.again is not None
            hostile.out = memoryview(script.again(hostile.rounds))
            hostile.rounds += 1
        if hostile.out:
            sent = hostile.sock.send(hostile.out)
            self.sent_bytes += sent
            hostile.out = hostile.out[sent:]
        if not hostile.out and not goes_on:
            self._epoll.modify(hostile.sock.fileno(), select.EPOLLIN)

    def _closed(self, hostile: _Socket) -> None:
        code = _CLOSED.search(hostile.tail[-127:])
        self.got[f"closed {int.from_bytes(code[1], 'big')}" if code else "closed"] += 1
        self._drop(hostile)
        self._away.insert(0, hostile)

    def _drop(self, hostile: _Socket) -> None:
        if hostile.sock is not None:
            del self._by_fd[hostile.sock.fileno()]
            hostile.sock.close()
            hostile.sock = None
            if hostile.script.a_byte_each:
                self._slow.remove(hostile)


def introduce_each_other(node: tuple[str, int], secret: str, run: str) -> list[str]:
    """The hostile users' names. Each two have written to each other."""
    users = [f"hostile{number}-{run}" for number in range(USERS)]
    for user, peer in zip(users[::2], users[1::2], strict=True):
        device = Device(user, peer, node, secret, "first")
        device.sock.setblocking(True)
        device.sock.settimeout(10)
        wanted = _KNOWN_MESSAGES
        frames = [send(peer, device.outbox, n, "x" * 100) for n in range(1, wanted + 1)]
        device.sock.sendall(masked("\n".join(frames).encode()))
        received = b""
        while received.count(b'"t":"sent"') < wanted:
            received += device.sock.recv(1 << 18)
        device.sock.close()
    return users


def send(to: str, outbox: str, ordinal: int, body: str) -> str:
    """A `send` frame with a new key."""
    return (
        f'{{"t":"send","to":"{to}","outbox":"{outbox}","ordinal":{ordinal},'
        f'"key":"{os.urandom(16).hex()}","body":"{body}"}}'
    )


def logged_in(who: Hostile, again: Callable[[int], bytes] | None, deaf: bool = False) -> Script:
    """A socket that logs in and then floods."""
    return Script(UPGRADE + who.hello(), again, b'"t":"welcome"', deaf=deaf)


def play(
    attack: Attack,
    count: int,
    node: tuple[str, int],
    users: list[str],
    secret: str,
    pipe: Connection,
) -> None:
    """The process of the attackers. Through `pipe` it says that the attack has begun, is told to
    stop, and then says what the sockets got, and how many MB they sent."""
    os.nice(19)  # in production, strangers are other machines
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attackers = Attackers(attack, count, node, users, secret)
    attackers.run(8.0, lambda: attackers.connected < count)
    attackers.run(8.0, lambda: attackers.waiting and attackers.ready < count)
    attackers.got.clear()
    attackers.sent_bytes = 0
    attackers.attack()
    pipe.send("begun")
    attackers.run(120.0, lambda: not pipe.poll())
    attackers.close()
    pipe.send((dict(attackers.got), attackers.sent_bytes / 1e6))
