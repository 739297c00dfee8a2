"""How a question reaches a worker: the port, and HTTP behind it.

A gateway asks a worker for nearly everything that a device asks of it, and all that it needs of
HTTP is a status and a body of known length. This client costs 20 us of CPU a question; aiohttp's
cost 150.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Protocol, cast
from urllib.parse import urlencode, urlsplit

MAX_REQUESTS = 64
"""Requests under way at one worker; more wait. A worker that does not answer keeps none of the
others waiting."""
_CONNECT_SECONDS = 2.0
_MAX_HEAD_BYTES = 16 * 1024


class WorkersUnavailable(Exception):
    """No worker answers for the partition now; try again."""


class WorkerTransport(Protocol):
    """Asks the worker API (schemas/worker_api.py) of one worker. It has no time limit of its own:
    the caller cancels."""

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """(HTTP status, body). `url` is //host:port/stage/endpoint/. Raises WorkersUnavailable,
        and nothing else."""

    async def close(self) -> None: ...


class HttpWorkerTransport:
    """`WorkerTransport` over HTTP/1.1. `token` opens the workers' pages. With `tls` it asks by TLS,
    and only workers whose certificate is good for the host that they claim. Use it inside a running
    loop; close it."""

    def __init__(self, token: str = "", tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._workers: dict[str, _Worker] = {}
        self._login = f"Authorization: Bearer {token}\r\n" if token else ""

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            if not host or not port:
                raise ValueError("not an address")
            path = f"{parts.path}?{urlencode(params)}" if params else parts.path
            head = f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{self._login}"
            if body is not None:
                head += f"Content-Length: {len(body)}\r\n"
            asked = f"{head}\r\n".encode("ascii") + (body or b"")
            worker = self._workers.get(parts.netloc) or self._add(parts.netloc, host, port)
            return await worker.ask(asked)
        except (OSError, ValueError) as error:
            # ValueError: an address in Redis that is none, or an answer that is no HTTP
            raise WorkersUnavailable(f"{url}: {error!r}") from None

    async def close(self) -> None:
        for worker in self._workers.values():
            worker.close()

    def _add(self, netloc: str, host: str, port: int) -> "_Worker":
        """A worker that is asked for the first time. Those that have gone are forgotten."""
        self._workers = {name: worker for name, worker in self._workers.items() if worker.used}
        worker = self._workers[netloc] = _Worker(host, port, self._tls)
        return worker


class _Worker:
    """The connections to one worker."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._room = asyncio.Semaphore(MAX_REQUESTS)
        self._asking = 0
        self._idle: list[_Connection] = []
        """The one used last at the end."""

    @property
    def used(self) -> bool:
        """Somebody asks it, or it holds connections open."""
        return self._asking > 0 or bool(self._idle)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """The answer to an HTTP request. Questions change nothing, so one that an idle connection
        may not have brought there is asked again."""
        self._asking += 1
        try:
            async with self._room:
                while self._idle:
                    with contextlib.suppress(_ConnectionEnded):
                        return await self._ask(self._idle.pop(), request)
                return await self._ask(await self._connect(), request)
        finally:
            self._asking -= 1

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, connection = await loop.create_connection(
                lambda: _Connection(self._idle), self._host, self._port, ssl=self._tls
            )
        return connection

    async def _ask(self, connection: "_Connection", request: bytes) -> tuple[int, bytes]:
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.close()  # its answer may come yet, and would be taken for the next one's
            raise
        if not connection.ended:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        for connection in list(self._idle):
            connection.close()


class _ConnectionEnded(OSError):
    """The connection has ended before its answer was there."""


class _Connection(asyncio.Protocol):
    """One connection, on which one request is under way at a time. `idle` are those of its worker
    that wait for one."""

    def __init__(self, idle: "list[_Connection]") -> None:
        self.ended = False
        self._idle = idle
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._received = b""

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Raises _ConnectionEnded, ValueError."""
        if self.ended:
            raise _ConnectionEnded("it has ended")
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(request)
            return await self._answer
        except RuntimeError as error:  # uvloop's, for a connection that was reset while it was idle
            raise _ConnectionEnded(repr(error)) from None
        finally:
            self._answer = None

    def close(self) -> None:
        self.ended = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's derives from nothing

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():  # nobody has asked
            self.close()
            return
        self._received = self._received + data if self._received else data
        try:
            response = parse(self._received)
        except ValueError as error:
            self._answer.set_exception(error)
            return
        if response is not None:
            status, body, last = response
            self._received = b""
            self.ended = self.ended or last
            self._answer.set_result((status, body))

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        if self in self._idle:
            self._idle.remove(self)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_ConnectionEnded(repr(error)))


def parse(received: bytes) -> tuple[int, bytes, bool] | None:
    """(status, body, whether the connection ends with it) of a response, None while it is not
    whole. Raises ValueError for one that does not give its length, or is followed by another."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        if len(received) > _MAX_HEAD_BYTES:
            raise ValueError("an answer without an end of its head")
        return None
    first, *lines = received[:end].split(b"\r\n")
    version, status, *_ = first.split(b" ", 2)
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
    }
    length = headers.get(b"content-length", b"")
    if version != b"HTTP/1.1" or not length.isdigit() or b"transfer-encoding" in headers:
        raise ValueError(f"not an answer of a worker: {received[:end]!r}")
    start, size = end + 4, int(length)
    if len(received) > start + size:
        raise ValueError("more than an answer")
    if len(received) < start + size:
        return None
    return int(status), received[start:], headers.get(b"connection", b"").lower() == b"close"
