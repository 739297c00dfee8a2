"""Questions to workers over real HTTP."""

import asyncio
from collections.abc import AsyncIterator

import pytest
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
