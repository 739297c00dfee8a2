"""Many XMPP clients that log in, each on one connection, served by one thread and one epoll."""

import select
import socket
import time
from collections.abc import Sequence

from bench.ejabberd import DOMAIN, Ejabberd
from bench.fleet import Logins
from bench.xmpp import acknowledgement, login_steps, stanzas

_PATIENCE = 120.0
_STANZAS = (b"<message ", b"<presence ", b"<iq ")


class _Guest:
    def __init__(self, server: Ejabberd, user: str, sync: bool) -> None:
        self.steps = login_steps(user, server.token(user), "bench", sync)
        self.step = 0
        self.began = 0.0
        self.buffer = b""
        self.heard = 0
        self.sock = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


class Crowd:
    """One client each of `users`, to be logged in together."""

    def __init__(self, server: Ejabberd, users: Sequence[str], sync: bool = True) -> None:
        self._server, self._users = server, users
        self._guests = [_Guest(server, user, sync) for user in users]
        self._by_fd = {guest.sock.fileno(): guest for guest in self._guests}
        self._epoll = select.epoll()
        self._each: list[float] = []

    def login(self, at_once: int) -> Logins:
        """Log all in, `at_once` at any time. Raises TimeoutError, or ConnectionError if one is
        turned away."""
        began = time.monotonic()
        waiting = list(reversed(self._guests))
        while len(self._each) < len(self._guests):
            while waiting and len(self._guests) - len(waiting) - len(self._each) < at_once:
                guest = waiting.pop()
                guest.began = time.monotonic()
                guest.sock.connect_ex(self._server.address)
                self._epoll.register(guest.sock.fileno(), select.EPOLLOUT)
            self._serve(began + _PATIENCE)
        return Logins(time.monotonic() - began, self._each, 0)

    def greet(self) -> None:
        """Each writes one message to the next, so that the archive has something of all."""
        for guest, peer in zip(self._guests, [*self._users[1:], self._users[0]], strict=True):
            message = (
                f"<message to='{peer}@{DOMAIN}' type='chat' id='hi'><body>Hello</body></message>"
            )
            guest.sock.sendall(message.encode())
        self.rest(2)

    def rest(self, seconds: float) -> None:
        """Acknowledge what comes, for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._serve(until)

    def close(self) -> None:
        for guest in self._guests:
            guest.sock.close()
        self._epoll.close()

    def _serve(self, until: float) -> None:
        left = until - time.monotonic()
        if left < 0 and len(self._each) < len(self._guests):
            raise TimeoutError(f"{len(self._guests) - len(self._each)} clients are not online")
        for fd, event in self._epoll.poll(max(0.0, left)):
            guest = self._by_fd[fd]
            if event & select.EPOLLOUT:
                self._epoll.modify(fd, select.EPOLLIN)
                guest.sock.sendall(guest.steps[0][0])
                continue
            received = guest.sock.recv(1 << 16)
            if not received:
                raise ConnectionError(f"ejabberd closed a stream after {guest.buffer!r}")
            guest.buffer += received
            if guest.step < len(guest.steps):
                self._log_in(guest)
            else:
                self._acknowledge(guest)

    def _log_in(self, guest: _Guest) -> None:
        if guest.steps[guest.step][1] not in guest.buffer:
            return
        guest.step += 1
        if guest.step < len(guest.steps):
            guest.buffer = b""
            guest.sock.sendall(guest.steps[guest.step][0])
            return
        self._each.append(time.monotonic() - guest.began)
        guest.buffer = guest.buffer[guest.buffer.index(b"<enabled ") :]
        self._acknowledge(guest)

    def _acknowledge(self, guest: _Guest) -> None:
        found, guest.buffer = stanzas(guest.buffer)
        guest.heard += sum(stanza.startswith(_STANZAS) for stanza in found)
        if any(stanza.startswith(b"<r ") for stanza in found):
            guest.sock.sendall(acknowledgement(guest.heard))
