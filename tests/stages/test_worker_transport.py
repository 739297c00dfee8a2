"""Questions to workers over real HTTP."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import uvloop
from aiohttp import web

from gateway.queries.worker_transport import MAX_REQUESTS, HttpWorkerTransport, WorkersUnavailable


@pytest.fixture
async def transport() -> AsyncIterator[HttpWorkerTransport]:
    made = HttpWorkerTransport()
    yield made
    await made.close()


@pytest.fixture
async def worker() -> AsyncIterator[str]:
    """The URL of one that answers with what it was asked."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.read() or request.query.get("name", "").encode()
        return web.Response(status=410 if body == b"old" else 200, body=body)

    app = web.Application()
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/"
    await runner.cleanup()


async def test_an_answer_is_its_status_and_its_bytes(
    transport: HttpWorkerTransport, worker: str
) -> None:
    assert await transport.request("POST", worker, b"question") == (200, b"question")
    assert await transport.request("GET", worker, params={"name": "x"}) == (200, b"x")
    assert await transport.request("POST", worker, b"old") == (410, b"old")


async def test_a_connection_serves_one_question_after_another(
    transport: HttpWorkerTransport,
) -> None:
    accepted = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        while request := await reader.readuntil(b"\r\n\r\n"):
            last = b"/last" in request
            closes = b"Connection: close\r\n" if last else b""
            writer.write(b"HTTP/1.1 200 OK\r\n" + closes + b"Content-Length: 300000\r\n\r\n")
            writer.write(b"x" * 300_000)
            if last:
                writer.close()
                return

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    for path, connections in (("/", 1), ("/", 1), ("/last", 1), ("/", 2), ("/last", 2)):
        answer = await transport.request("GET", f"http://{host}:{port}{path}")
        assert answer == (200, b"x" * 300_000)
        assert accepted == connections
    server.close()
    await server.wait_closed()


async def test_a_worker_that_does_not_speak_http_is_unavailable(
    transport: HttpWorkerTransport,
) -> None:
    def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    for _ in range(2):
        with pytest.raises(WorkersUnavailable):
            await transport.request("GET", f"http://{host}:{port}/")
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "nonsense", "127.0.0.1:99999", "[::1"])
async def test_a_worker_that_cannot_be_reached_is_unavailable(
    transport: HttpWorkerTransport, unused_tcp_port: int, address: str
) -> None:
    url = f"http://{address.format(port=unused_tcp_port)}/sequencer/heads/"
    with pytest.raises(WorkersUnavailable):
        await transport.request("POST", url, b"")


async def test_a_worker_that_hangs_up_is_unavailable(transport: HttpWorkerTransport) -> None:
    hanging_up = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    host, port = hanging_up.sockets[0].getsockname()
    with pytest.raises(WorkersUnavailable):
        await transport.request("POST", f"http://{host}:{port}/", b"")
    hanging_up.close()
    await hanging_up.wait_closed()


async def test_a_worker_that_does_not_answer_keeps_none_of_the_others_waiting(
    transport: HttpWorkerTransport, worker: str
) -> None:
    asked: list[asyncio.StreamWriter] = []
    full = asyncio.Event()

    def ask(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)
        if len(asked) == MAX_REQUESTS:
            full.set()

    silent = await asyncio.start_server(ask, "127.0.0.1", 0)
    host, port = silent.sockets[0].getsockname()
    waiting = [
        asyncio.create_task(transport.request("GET", f"http://{host}:{port}/"))
        for _ in range(2 * MAX_REQUESTS)
    ]
    await full.wait()
    assert await transport.request("POST", worker, b"question") == (200, b"question")
    assert not any(one.done() for one in waiting)
    assert len(asked) == MAX_REQUESTS
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for writer in asked:
        writer.close()
    silent.close()
    await silent.wait_closed()


def test_an_idle_connection_that_is_reset_costs_one_question_at_most() -> None:
    """On uvloop, as in a gateway: there a write to a connection that was reset raises
    RuntimeError."""

    async def scenario() -> None:
        writers: list[asyncio.StreamWriter] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            while await reader.readline() not in (b"", b"\r\n"):
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        def reset(writer: asyncio.StreamWriter) -> None:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        transport = HttpWorkerTransport()
        answers: list[object] = []
        for _ in range(3):
            try:
                answers.append(await transport.request("GET", f"http://{host}:{port}/"))
            except WorkersUnavailable as error:
                answers.append(error)
            reset(writers[-1])
        assert answers[0] == (200, b"ok")
        assert sum(isinstance(answer, WorkersUnavailable) for answer in answers) <= 1
        await asyncio.sleep(0.05)
        assert await transport.request("GET", f"http://{host}:{port}/") == (200, b"ok")
        await transport.close()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)

    uvloop.run(asyncio.wait_for(scenario(), 10))
