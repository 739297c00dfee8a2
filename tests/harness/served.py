"""A node in memory whose edge is at a port of this machine."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message
from typing import Any

from aiohttp import web

from gateway.edge.admission import AdmissionControl
from gateway.edge.http import make_web_app
from gateway.edge.local_guard import browser_guard
from gateway.edge.pacer import Pacer, always
from gateway.edge.socket import Sockets
from gateway.metrics import NodeMetrics
from tests.harness.memory_node import MemoryNode, World

SOCKET = (
    "GET /v1/socket HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator["Served"]:
    node = World().node(**settings)
    await node.start()
    guard = browser_guard(node.node.settings.local, node.node.settings.origins)
    admission = AdmissionControl(guard)
    sockets = Sockets(node.node, Pacer(always(100)), 25)
    app = make_web_app(node.node, NodeMetrics(node.node, admission), sockets, lambda: None)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    listening = await admission.bind("127.0.0.1", 0)
    await admission.serve(listening, runner.server, sockets)
    try:
        yield Served(node, listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await node.node.stop()
        await runner.cleanup()


class Served:
    """A node at a port of this machine."""

    def __init__(self, node: MemoryNode, port: int) -> None:
        self.node = node
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def answer(
        self, path: str, body: bytes | None, headers: dict[str, str], method: str | None = None
    ) -> tuple[int, Message]:
        """The status and the headers."""

        def ask() -> tuple[int, Message]:
            request = urllib.request.Request(self.url + path, body, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status, answer.headers
            except urllib.error.HTTPError as error:
                error.close()
                return error.code, error.headers

        return await asyncio.to_thread(ask)

    async def status(self, path: str, body: bytes | None, headers: dict[str, str]) -> int:
        return (await self.answer(path, body, headers))[0]

    async def opened(self, headers: dict[str, str]) -> bytes:
        """The status of a request for a socket."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = {"Host": f"127.0.0.1:{self.port}", **headers}.items()
        writer.write((SOCKET + "".join(f"{k}: {v}\r\n" for k, v in lines) + "\r\n").encode())
        status = (await reader.readline()).split()[1]
        writer.close()
        return status
