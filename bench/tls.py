"""What TLS costs a gateway: the edge of a node (admission and sockets) in a process of its own,
which answers each message with itself. The rest of a node costs the same with TLS and without.

    python -m bench.tls [CERTIFICATE KEY]

is that process; it prints its port.
"""

import asyncio
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import uvloop

from bench.processes import cpu_seconds, resident_kib
from bench.runs import combine
from connectors.tls import server_tls
from gateway.edge.admission import AdmissionControl
from gateway.edge.connection import Connection
from gateway.edge.socket import Sockets
from gateway.edge.transport import Transport
from ops.local.certificates import Certificates, certificates
from schemas.codes import Close

_HEARTBEAT = 300.0
_AT_ONCE = 50
_BODY = b"x" * 300
"""About as long as the frame of a message."""
_REQUEST = (
    b"GET /v1/socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def measure(connections: int, messages: int, runs: int) -> dict[str, Any]:
    """Plain and TLS, in turn."""
    found: dict[str, list[dict[str, float]]] = {"plain": [], "tls": []}
    with tempfile.TemporaryDirectory() as folder:
        files = certificates(Path(folder))
        for _ in range(runs):
            for name, used in (("plain", None), ("tls", files)):
                found[name].append(_one(used, connections, messages))
    return {name: combine(some) for name, some in found.items()}


def _one(files: Certificates | None, connections: int, messages: int) -> dict[str, float]:
    arguments = [str(files.certificate), str(files.key)] if files else []
    trusted = ssl.create_default_context(cafile=str(files.authority)) if files else None
    command = [sys.executable, "-m", "bench.tls", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            return uvloop.run(_load(server.pid, port, trusted, connections, messages))
        finally:
            server.kill()


async def _load(
    pid: int, port: int, trusted: ssl.SSLContext | None, connections: int, messages: int
) -> dict[str, float]:
    await _open(port, trusted, _AT_ONCE)  # what is made once is not counted
    kib, cpu = resident_kib(pid), cpu_seconds(pid)
    began = asyncio.get_running_loop().time()
    devices: list[_Device] = []
    for _ in range(0, connections, _AT_ONCE):
        devices += await _open(port, trusted, _AT_ONCE)
    seconds = asyncio.get_running_loop().time() - began
    opened, grown = cpu_seconds(pid) - cpu, resident_kib(pid) - kib
    cpu = cpu_seconds(pid)
    each = max(1, messages // _AT_ONCE)
    await asyncio.gather(*(device.talk(each) for device in devices[:_AT_ONCE]))
    return {
        "kib_a_connection": grown / len(devices),
        "cpu_us_a_connection": opened / len(devices) * 1e6,
        "connections_a_second": len(devices) / seconds,
        "cpu_us_a_message": (cpu_seconds(pid) - cpu) / (each * _AT_ONCE) * 1e6,
    }


async def _open(port: int, trusted: ssl.SSLContext | None, count: int) -> "list[_Device]":
    loop = asyncio.get_running_loop()
    made = await asyncio.gather(
        *(loop.create_connection(_Device, "127.0.0.1", port, ssl=trusted) for _ in range(count))
    )
    devices = [device for _, device in made]
    await asyncio.gather(*(device.answered() for device in devices))
    return devices


class _Device(asyncio.Protocol):
    """Opens a WebSocket, then has one message under way at a time."""

    def __init__(self) -> None:
        self._came = asyncio.Event()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._came.set()

    async def answered(self) -> None:
        await self._came.wait()
        self._came.clear()

    async def talk(self, messages: int) -> None:
        head = bytes([0x81, 0x80 | 126]) + len(_BODY).to_bytes(2, "big")
        for _ in range(messages):
            self._transport.write(head + bytes(4) + _BODY)  # masked with zeros
            await self.answered()


class _Echo:
    """`Accepts`, and what stands for each `Connection`."""

    def refusal(self) -> None:
        return None

    def has_room(self) -> bool:
        return True

    def accept(self, transport: Transport, waited_ms: int, address: str) -> Connection:
        return cast(Connection, _EchoConnection(transport))


class _EchoConnection:
    closing = None

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def receive(self, message: bytes) -> None:
        self._transport.write([message])

    def beat(self, answer: Callable[[], None]) -> None:
        answer()

    def close(self, code: Close) -> None:
        self._transport.close(code, "")

    def ended(self, said_goodbye: bool) -> None:
        pass


async def _serve(files: Sequence[str]) -> None:
    tls = server_tls(*files) if files else None
    admission = AdmissionControl()
    listening = await admission.bind("127.0.0.1", 0, tls.context if tls else None)
    sockets = Sockets(_Echo(), admission.exit, _HEARTBEAT)
    await admission.serve(listening, asyncio.Protocol, sockets)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1:]))
