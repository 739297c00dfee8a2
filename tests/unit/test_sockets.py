"""WebSockets on real TCP connections, to a node whose ports are in memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec
import pytest

from gateway.edge.pacer import Pacer, always
from gateway.edge.socket import Sockets
from gateway.edge.tokens import issue
from gateway.edge.websocket import opening_of
from gateway.greeter import MAX_ARRIVING
from schemas.codes import Close, Code
from schemas.frames import MAX_SOCKET_MESSAGE_BYTES
from schemas.ids import user_id
from tests.harness.fake_gateway import eventually
from tests.harness.memory_node import SECRET, MemoryNode, World, message
from tests.harness.raw_socket import PING, RawSocket, raw_frame

HEARTBEAT = 0.4
Connect = Callable[..., Awaitable[RawSocket]]


class _Front(asyncio.Protocol):
    """Brings a connection to the sockets without admission."""

    def __init__(self, sockets: Sockets, made: list[asyncio.Transport]) -> None:
        self._sockets = sockets
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._made.append(transport)

    def data_received(self, data: bytes) -> None:
        head, _, rest = data.partition(b"\r\n\r\n")
        opening = opening_of(head)
        assert opening is not None
        self._sockets.open(self._made[-1], opening, rest)


@pytest.fixture
async def node() -> MemoryNode:
    node = World().node()
    await node.start()
    return node


@pytest.fixture
def transports() -> list[asyncio.Transport]:
    """The node's ends, in order."""
    return []


@pytest.fixture
async def url(node: MemoryNode, transports: list[asyncio.Transport]) -> AsyncIterator[str]:
    sockets = Sockets(node.node, Pacer(always(100)), HEARTBEAT)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Front(sockets, transports), "127.0.0.1", 0
    )
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await node.node.stop()


@pytest.fixture
async def connect(url: str) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as exits:

        async def connect(**how: bool) -> RawSocket:
            socket = await RawSocket.connect(url, **how)
            exits.push_async_callback(socket.close)
            return socket

        yield connect


def hello(node: MemoryNode, user: str) -> bytes:
    token = issue(user_id(user), SECRET, node.now() / 1000)
    return json.dumps(
        {"t": "hello", "id": 1, "version": 1, "token": token, "device": "phone"}
    ).encode()


async def test_who_does_not_answer_pings_is_ended_and_who_does_stays(
    node: MemoryNode, connect: Connect
) -> None:
    alive, silent = await connect(), await connect(reads=False)
    for user, socket in (("alice", alive), ("bob", silent)):
        await socket.send(hello(node, user))
    registry = node.node.parts.registry
    await eventually(lambda: len(registry) == 2)
    await asyncio.sleep(HEARTBEAT * 2)
    await eventually(lambda: [connection.user for connection in registry] == ["alice"])
    await alive.send(b'{"t":"ping","id":2}')
    await alive.until(b'"id":2')
    assert not alive.closed.is_set()


async def test_a_flood_of_pings_is_answered_in_turns_and_holds_nobody_up(
    node: MemoryNode, connect: Connect
) -> None:
    eve, alice = await connect(), await connect()
    for user, socket in (("eve", eve), ("alice", alice)):
        await socket.send(hello(node, user))
        await socket.until(b'"welcome"')
    await eve.send_raw(b"".join(raw_frame(b"%d" % number, PING) for number in range(400)))
    await eventually(lambda: bool(eve.pongs))
    await alice.send(b'{"t":"ping","id":2}')
    await alice.until(b'"id":2')
    assert len(eve.pongs) < 400
    await eventually(lambda: len(eve.pongs) == 400)
    assert eve.pongs == [b"%d" % number for number in range(400)]


async def test_what_comes_while_the_hello_waits_is_held_back_and_bounded(
    node: MemoryNode, connect: Connect, transports: list[asyncio.Transport]
) -> None:
    greeter = node.node.parts.greeter
    greeter._hellos = Pacer(always(1), 3600.0)
    first, second = await connect(), await connect()
    await first.send(hello(node, "alice"))
    await first.until(b'"welcome"')
    await second.send(hello(node, "bob"))
    await eventually(lambda: len(greeter._hellos) == 1)
    await second.send_raw(raw_frame(b"early", PING))
    await asyncio.sleep(0.05)
    assert (second.received, second.pongs) == ([], [])
    flooding = asyncio.create_task(
        second.send_raw(raw_frame(bytes(MAX_SOCKET_MESSAGE_BYTES), PING, final=False) * 40)
    )
    await asyncio.sleep(0.1)
    assert not flooding.done()
    assert not transports[1].is_reading()
    flooding.cancel()
    assert greeter._hellos._timer is not None
    greeter._hellos._timer.cancel()
    greeter._hellos._again()
    await second.until(b'"welcome"')
    assert second.pongs == [b"early"]
    await eventually(second.closed.is_set)
    assert second.code == 1002, "a ping in fragments"


async def test_no_more_arrive_than_there_is_room_for(node: MemoryNode, connect: Connect) -> None:
    """Admission keeps a new connection waiting; one that HTTP had before does not come by it."""
    node.node.parts.greeter.arriving = MAX_ARRIVING - 1
    await connect()
    with pytest.raises(AssertionError, match="503"):
        await connect()
    node.node.parts.greeter.arriving -= 1
    await connect()


async def test_who_goes_while_its_hello_waits_is_not_greeted(
    node: MemoryNode, connect: Connect
) -> None:
    greeter = node.node.parts.greeter
    greeter._hellos = Pacer(always(1), 3600.0)
    for user in ("alice", "bob"):
        socket = await connect()
        await socket.send(hello(node, user))
    await eventually(lambda: len(greeter._hellos) == 1)
    await socket.close()
    await eventually(lambda: len(greeter._hellos) == 0)
    assert greeter.arriving == 0
    assert [connection.user for connection in node.node.parts.registry] == ["alice"]


async def test_a_client_that_asks_for_it_talks_messagepack(
    node: MemoryNode, connect: Connect, url: str
) -> None:
    plain = await connect()
    await plain.send(hello(node, "alice"))
    await plain.until(b'"welcome"')
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url + "/v1/socket", protocols=("messenger.msgpack",)) as socket,
    ):
        assert socket.protocol == "messenger.msgpack"

        async def received() -> list[dict[str, Any]]:
            frames: list[dict[str, Any]] = msgspec.msgpack.decode(await socket.receive_bytes())
            return frames

        ping = {"t": "ping", "id": 7}
        await socket.send_bytes(
            msgspec.msgpack.encode([json.loads(hello(node, "bob"))]),
        )
        (welcome,) = await received()
        assert (welcome["t"], welcome["user"]) == ("welcome", "bob")
        await socket.send_bytes(msgspec.msgpack.encode([ping, {"t": "of the future", "id": 8}]))
        pong, error = await received()
        assert pong == {"t": "pong", "id": 7}
        assert (error["id"], error["code"]) == (8, Code.UNKNOWN_FRAME.number)
        both = message("alice", 1)
        both.users.append("bob")
        node.node.parts.registry.deliver(both)
        assert await received() == [{"t": "message", "seq": 1}]
        await plain.until(b'"message"')
        await socket.send_str(json.dumps(ping))
        assert (await socket.receive()).data == Close.NOT_TEXT.number
