"""Links over real sockets: what they carry, and how they end."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from messenger_sdk import Client, Closed
from messenger_sdk.aiohttp_dialer import AiohttpDialer, AiohttpLink
from schemas import frames
from schemas.codec import encode_frame

Script = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[str]:
    """Its URL. `script` runs once for each connection."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await script(socket, request)
        return socket

    app = web.Application()
    app.add_routes([web.get("/v1/socket", serve)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def linked(script: Script) -> AsyncIterator[AiohttpLink]:
    async with server(script) as url:
        link = await AiohttpDialer().dial(f"{url}/v1/socket")
        try:
            yield link
        finally:
            await link.close()


async def test_messages_and_the_close_of_the_server_come_in_order() -> None:
    async def script(socket: web.WebSocketResponse, _: web.Request) -> None:
        for _count in range(2):
            await socket.send_str(f"you said {(await socket.receive()).data}")
        await socket.close(code=4006, message=b"http://other")

    async with linked(script) as link:
        await link.send("one é".encode())
        await link.send(b"two")
        assert await link.receive() == "you said one é".encode()
        assert await link.receive() == b"you said two"
        assert await link.receive() == Closed(4006, "http://other")
        assert isinstance(await link.receive(), Closed)
        with pytest.raises(ConnectionError):
            await link.send(b"three")


async def test_a_link_that_breaks_has_no_code() -> None:
    async def script(_: web.WebSocketResponse, request: web.Request) -> None:
        assert request.transport is not None
        request.transport.abort()

    async with linked(script) as link:
        closed = await link.receive()
        assert isinstance(closed, Closed)
        assert not 4000 <= closed.code < 5000


async def test_closing_says_goodbye() -> None:
    codes: list[int | None] = []

    async def script(socket: web.WebSocketResponse, _: web.Request) -> None:
        assert (await socket.receive()).type is WSMsgType.CLOSE
        codes.append(socket.close_code)

    async with linked(script) as link:
        await link.close()
        await link.close()
    assert codes == [1000]


@asynccontextmanager
async def stuck() -> AsyncIterator[tuple[AiohttpLink, "asyncio.Task[None]"]]:
    """A link whose peer reads no more, and a task that waits to write to it."""
    gone = asyncio.Event()

    async def script(_: web.WebSocketResponse, request: web.Request) -> None:
        assert isinstance(request.transport, asyncio.Transport)
        request.transport.pause_reading()
        await gone.wait()

    async with linked(script) as link:

        async def write() -> None:
            while True:
                await link.send(b"x" * 100_000)

        writing = asyncio.create_task(write())
        while not link.waits_to_write:
            await asyncio.sleep(0.01)
        yield link, writing
        gone.set()


async def test_a_write_to_a_peer_that_reads_no_more_ends_with_the_link() -> None:
    async with stuck() as (link, writing):
        began = time.monotonic()
        await link.close()
        with pytest.raises(ConnectionError):
            await writing
        assert time.monotonic() - began < 5


async def test_a_task_that_is_cancelled_while_its_link_ends_is_cancelled() -> None:
    """Once the end of the link hid the cancellation, and closing the client never came to an
    end."""
    async with stuck() as (link, writing):
        closing = asyncio.create_task(link.close())
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
        await closing


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no.such.host.invalid", "nonsense"])
async def test_what_cannot_be_reached_is_an_os_error(url: str) -> None:
    with pytest.raises(OSError, match=url):
        await AiohttpDialer().dial(url)


async def test_a_node_that_turns_away_is_an_os_error() -> None:
    async def turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    turning_away = await asyncio.start_server(turn_away, "127.0.0.1", 0)
    async with turning_away:
        port = turning_away.sockets[0].getsockname()[1]
        with pytest.raises(OSError, match="503"):
            await AiohttpDialer().dial(f"http://127.0.0.1:{port}/v1/socket")


async def test_a_client_talks_over_it(tmp_path: Path) -> None:
    async def script(socket: web.WebSocketResponse, _: web.Request) -> None:
        await socket.receive()
        welcome = frames.Welcome(1, 1, "alice", "phone", "node", "log", 0, 25.0)
        await socket.send_str(encode_frame(welcome).decode())
        await socket.receive()

    async with server(script) as url, Client(url, "token", "phone", folder=tmp_path) as device:
        async with asyncio.timeout(5):
            await device.online()
        assert device.user == "alice"
