"""The way in and out, on real sockets: in order, a few at a time, and no more waiting than there is
room for."""

import asyncio
import contextlib
import json
import resource
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.edge.admission import MAX_REQUEST_BYTES, MAX_WAITING, AdmissionControl
from gateway.edge.pacer import Pacer, always
from gateway.edge.websocket import Opening
from schemas.codes import Code
from tests.harness.fake_gateway import eventually

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

UPGRADE = (
    b"GET /v1/socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

_LONG = 3600.0
"""Seconds: a pacer's next turn comes when the test says so."""


def next_turn(pacer: Pacer) -> None:
    """As if the pacer's timer had fired."""
    assert pacer._timer is not None
    pacer._timer.cancel()
    pacer._again()


class Served(asyncio.Protocol):
    """Stands for the HTTP server."""

    requests: list[bytes]
    gone: list[int]
    """Those whose connections have ended, in order."""
    transports: list[asyncio.BaseTransport]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._place = len(self.requests)
        self.requests.append(b"")
        self.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        self.requests[self._place] += data

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.append(self._place)


class Sockets:
    """Stands for the node's WebSockets."""

    def __init__(self) -> None:
        self.opened: list[tuple[Opening, bytes]] = []
        self.room = 1_000

    def has_room(self) -> bool:
        return self.room > 0

    def open(
        self, transport: asyncio.Transport, opening: Opening, received: bytes, address: str
    ) -> None:
        self.room -= 1
        self.opened.append((opening, received))
        transport.close()


@pytest.fixture
def requests() -> list[bytes]:
    """What was served, in order."""
    Served.requests, Served.gone, Served.transports = [], [], []
    return Served.requests


@pytest.fixture
async def admission() -> AdmissionControl:
    return AdmissionControl()


@pytest.fixture
async def come(
    admission: AdmissionControl, requests: list[bytes], sockets: Sockets
) -> AsyncIterator[Callable[[], "asyncio.Future[Streams]"]]:
    listening = await admission.bind("127.0.0.1", 0)
    await admission.serve(listening, Served, sockets)
    port = listening.sockets[0].getsockname()[1]
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", port)
        writers.append(streams[1])
        return streams

    yield connect  # type: ignore[misc]
    listening.close()
    for writer in writers:
        writer.close()
    await eventually(lambda: len(Served.gone) == len(requests))


async def test_they_are_let_in_a_few_at_a_time_in_the_order_of_their_requests(
    admission: AdmissionControl,
    come: Callable[[], "asyncio.Future[Streams]"],
    requests: list[bytes],
) -> None:
    admission.served = Pacer(always(2), _LONG)
    writers = [(await come())[1] for _ in range(7)]
    for number, place in enumerate((3, 6, 0, 5, 1, 4, 2), 1):
        writers[place].write(b"%d\r\n\r\n" % place)
        await eventually(lambda n=number: len(requests) + len(admission.served) == n)  # type: ignore[misc]
    for let_in in (2, 4, 6, 7):
        assert len(requests) == let_in
        next_turn(admission.served)
    assert requests == [b"%d\r\n\r\n" % place for place in (3, 6, 0, 5, 1, 4, 2)]


async def test_a_request_in_pieces_is_whole_and_what_comes_while_it_waits_is_bounded(
    admission: AdmissionControl,
    come: Callable[[], "asyncio.Future[Streams]"],
    requests: list[bytes],
) -> None:
    admission.served = Pacer(always(1), _LONG)
    (await come())[1].write(b"first\r\n\r\n")
    await eventually(lambda: requests == [b"first\r\n\r\n"])
    _, writer = await come()
    reader, endless = await come()
    for piece in (b"GET /\r\n\r", b"\n", bytes(MAX_REQUEST_BYTES - 9)):
        for one in (writer, endless):
            one.write(piece)
        await asyncio.sleep(0.02)
    await eventually(lambda: len(admission.served) == 2)
    endless.write(b"x")
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    next_turn(admission.served)
    await eventually(lambda: len(requests) == 2 and len(requests[1]) == MAX_REQUEST_BYTES)
    writer.write(bytes(2 * MAX_REQUEST_BYTES))
    await eventually(lambda: len(requests[1]) == 3 * MAX_REQUEST_BYTES)
    assert len(requests) == 2


@pytest.fixture
def sockets() -> Sockets:
    return Sockets()


async def test_who_opens_a_websocket_does_not_reach_the_http_server(
    come: Callable[[], "asyncio.Future[Streams]"], requests: list[bytes], sockets: Sockets
) -> None:
    reader, writer = await come()
    writer.write(UPGRADE + b"more")
    assert await reader.read() == b""
    assert (sockets.opened, requests) == ([(Opening("dGhlIHNhbXBsZSBub25jZQ=="), b"more")], [])
    (await come())[1].write(UPGRADE.replace(b"Upgrade: websocket\r\n", b""))
    await eventually(lambda: len(requests) == 1)
    assert len(sockets.opened) == 1


async def test_while_there_is_no_room_for_devices_they_wait_and_other_requests_do_not(
    admission: AdmissionControl,
    come: Callable[[], "asyncio.Future[Streams]"],
    requests: list[bytes],
    sockets: Sockets,
) -> None:
    sockets.room = 2
    readers = []
    for _ in range(5):
        reader, writer = await come()
        writer.write(UPGRADE)
        readers.append(reader)
    await eventually(lambda: len(admission.entry) == 3)
    (await come())[1].write(b"GET /health HTTP/1.1\r\n\r\n")
    await eventually(lambda: len(requests) == 1)
    await asyncio.sleep(0.05)
    assert (len(sockets.opened), admission.waiting) == (2, 3)
    sockets.room = 1
    await eventually(lambda: len(sockets.opened) == 3)
    sockets.room = 9
    for reader in readers:
        assert await reader.read() == b""
    assert (admission.waiting, admission.turned_away) == (0, 0)


async def test_who_goes_away_leaves_the_queue(
    admission: AdmissionControl,
    come: Callable[[], "asyncio.Future[Streams]"],
    requests: list[bytes],
) -> None:
    admission.served = Pacer(always(1), _LONG)
    writers = [(await come())[1] for _ in range(4)]
    for place, writer in enumerate(writers):
        writer.write(b"%d\r\n\r\n" % place)
        await eventually(lambda n=place: len(requests) + len(admission.served) == n + 1)  # type: ignore[misc]
    await eventually(lambda: len(admission.served) == 3)
    writers[1].close()
    writers[2].transport.abort()
    await eventually(lambda: len(admission.served) == 1)
    next_turn(admission.served)
    await eventually(lambda: requests == [b"0\r\n\r\n", b"3\r\n\r\n"])


async def test_one_too_many_is_told_to_come_again_and_there_is_room_when_one_goes(
    admission: AdmissionControl,
    come: Callable[[], "asyncio.Future[Streams]"],
    requests: list[bytes],
) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[1], 4 * MAX_WAITING), limit[1]))
    admission.served = Pacer(always(1), room=lambda: False)
    waiting = []
    for _ in range(MAX_WAITING):
        waiting.append((await come())[1])
        waiting[-1].write(b"GET /\r\n\r\n")
    await eventually(lambda: len(admission.served) == MAX_WAITING)
    reader, writer = await come()
    writer.write(b"GET /\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in head
    assert (json.loads(body)["code"], json.loads(body)["retry"]) == (Code.TRY_LATER.number, True)
    assert (len(admission.served), admission.turned_away, requests) == (MAX_WAITING, 1, [])
    waiting[7].close()
    await eventually(lambda: len(admission.served) == MAX_WAITING - 1)
    (await come())[1].write(b"GET /\r\n\r\n")
    await eventually(lambda: len(admission.served) == MAX_WAITING)
    assert admission.turned_away == 1
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)


async def test_whose_request_does_not_come_is_not_waited_for(
    admission: AdmissionControl,
    come: Callable[[], "asyncio.Future[Streams]"],
    requests: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.edge.admission.REQUEST_SECONDS", 0.3)
    silent, slow, quick = [await come() for _ in range(3)]
    quick[1].write(b"GET /\r\n\r\n")
    async with asyncio.timeout(60):
        for byte in b"GET / HTTP/1.1\r\nHost: a":
            slow[1].write(bytes([byte]))
            await asyncio.sleep(0.002)
        assert await silent[0].read() == b""
        with contextlib.suppress(ConnectionError):  # it wrote on when it was closed
            assert await slow[0].read() == b""
    quick[1].write(b"more")
    await eventually(lambda: requests == [b"GET /\r\n\r\nmore"])
    assert admission.turned_away == 0


async def test_who_go_at_once_are_let_out_a_few_at_a_time_and_what_they_said_before_is_heard(
    admission: AdmissionControl,
    come: Callable[[], "asyncio.Future[Streams]"],
    requests: list[bytes],
) -> None:
    admission.served, admission.exit = Pacer(always(7)), Pacer(always(2), _LONG)
    guests = [await come() for _ in range(7)]
    for place, (_, writer) in enumerate(guests):
        writer.write(b"%d\r\n\r\n" % place)
        await eventually(lambda place=place: len(requests) == place + 1)  # type: ignore[misc]
    for number, place in enumerate((3, 6, 0, 5, 1, 4), 1):
        if number <= 4:
            guests[place][1].write(b"last")
            guests[place][1].close()
        else:
            guests[place][1].transport.abort()
        await eventually(lambda n=number: len(Served.gone) + len(admission.exit) == n)  # type: ignore[misc]
    assert Served.gone == [3, 6]
    next_turn(admission.exit)
    await eventually(lambda: len(Served.gone) > 3)
    assert len(Served.gone) == 4
    guests[2][1].write(b"still here")
    next_turn(admission.exit)
    await eventually(lambda: len(Served.gone) == 6 and requests[2].endswith(b"here"))
    assert Served.gone == [3, 6, 0, 5, 1, 4]
    wanted = {2: b"still here", **dict.fromkeys((3, 6, 0, 5), b"last")}
    assert requests == [b"%d\r\n\r\n%s" % (place, wanted.get(place, b"")) for place in range(7)]
    assert len(admission.exit) == 0
    next_turn(admission.exit)


async def test_who_is_sent_away_while_it_waits_to_go_goes_once(
    admission: AdmissionControl,
    come: Callable[[], "asyncio.Future[Streams]"],
    requests: list[bytes],
) -> None:
    admission.exit = Pacer(always(1), _LONG)
    for number in (1, 2):
        _, writer = await come()
        writer.write(b"GET /\r\n\r\n")
        await eventually(lambda number=number: len(requests) == number)  # type: ignore[misc]
        writer.close()
    await eventually(lambda: len(admission.exit) == 1)
    Served.transports[1].close()
    for _ in range(2):
        await asyncio.sleep(0.02)
        next_turn(admission.exit)
    assert Served.gone == [0, 1]


async def test_the_kernel_keeps_little_of_a_connection_that_is_not_read(
    come: Callable[[], "asyncio.Future[Streams]"], requests: list[bytes]
) -> None:
    _, writer = await come()
    writer.write(b"GET /\r\n\r\n")
    await eventually(lambda: len(requests) == 1)
    accepted = Served.transports[0].get_extra_info("socket")
    unread, untaken = (
        accepted.getsockopt(socket.SOL_SOCKET, option)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)
    )
    assert unread <= 2 * 64 * 1024, "Linux counts twice, for what it needs itself"
    assert untaken <= 2 * 256 * 1024
