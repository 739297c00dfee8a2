"""A node behind TLS, by its real admission, sockets and pages: who gets in, and a new certificate
while devices are connected."""

import asyncio
import contextlib
import errno
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import uvloop
from aiohttp import web

from connectors.tls import ServerTls, server_tls
from gateway.edge.admission import AdmissionControl
from gateway.edge.handshakes import Handshakes
from gateway.edge.http import make_web_app
from gateway.edge.pacer import Pace
from gateway.edge.socket import Sockets
from gateway.metrics import NodeMetrics
from messenger_sdk.aiohttp_dialer import AiohttpDialer
from ops.local.certificates import Certificates, certificates
from tests.harness.memory_node import World
from tests.unit.test_sockets import hello

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """A gateway runs on uvloop, whose TLS is not asyncio's."""
    found: Run = request.param
    return found


class Served(NamedTuple):
    url: str
    port: int
    tls: ServerTls
    files: Certificates
    hello: bytes

    @property
    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.files.authority))


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    files = certificates(folder)
    tls = server_tls(str(files.certificate), str(files.key))
    assert tls is not None
    node = World().node()
    await node.start()
    admission = AdmissionControl()
    sockets = Sockets(node.node, admission.exit, 25.0)
    listening = await admission.bind("127.0.0.1", 0, tls.context)
    runner = web.AppRunner(
        make_web_app(node.node, NodeMetrics(node.node, admission), sockets, pytest.fail)
    )
    await runner.setup()
    assert runner.server is not None
    await admission.serve(listening, runner.server, sockets)
    port = listening.sockets[0].getsockname()[1]
    yield Served(f"https://127.0.0.1:{port}", port, tls, files, hello(node, "alice"))
    await node.node.stop()
    await admission.stop(listening)
    await runner.cleanup()


async def shown(port: int) -> bytes:
    """The certificate that a new connection sees."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=anybody)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    return found


def test_sockets_and_pages_are_served_and_a_socket_outlives_a_new_certificate(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with (
            serving(tmp_path) as served,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=served.trusted)) as http,
            http.ws_connect(f"{served.url}/v1/socket") as socket,
        ):
            await socket.send_str(served.hello.decode())
            assert '"welcome"' in await socket.receive_str()
            async with http.get(f"{served.url}/ready") as answer:
                assert answer.status == 200
            before = await shown(served.port)
            served.files.certificate.unlink()
            certificates(tmp_path)
            assert await shown(served.port) == before, "nobody has told the node"
            served.tls.reload()
            renewed = await shown(served.port)
            assert renewed != before
            served.files.key.write_text("no key")
            served.tls.reload()
            assert await shown(served.port) == renewed
            assert "the old certificate stays" in caplog.text
            await socket.send_str('{"t":"ping","id":2}')
            assert '"id":2' in await socket.receive_str()
        assert "no effect when using ssl" not in caplog.text

    run(scenario())


def test_a_handshake_that_does_not_end_is_given_up_and_keeps_nobody_waiting(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.edge.handshakes.HANDSHAKE_SECONDS", 0.2)

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            silent = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(20)]
            for _, writer in silent[::2]:
                writer.write(b"\x16\x03\x01")  # a handshake begins, and no more of it comes
            assert await shown(served.port)
            async with asyncio.timeout(10):
                assert [await reader.read() for reader, _ in silent] == [b""] * 20
            for _, writer in silent:
                writer.close()

    run(scenario())


def test_a_connection_for_which_no_file_is_left_is_closed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it stays, read and counted by nobody, until its client goes."""

    def full(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    async def ends(port: int) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        reading = asyncio.create_task(reader.read())
        done, _ = await asyncio.wait([reading], timeout=5)
        writer.close()
        await asyncio.gather(reading, return_exceptions=True)
        return bool(done)

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            with monkeypatch.context() as patched:
                patched.setattr("gateway.edge.handshakes.os.dup", full)
                found.append(await ends(served.port))
            assert await shown(served.port)

    found: list[bool] = []
    run(scenario())
    assert found == [True]


FLOODER, HONEST = "127.0.0.2", "127.0.0.3"


async def connected(port: int, address: str, context: ssl.SSLContext | None = None) -> Any:
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, local_addr=(address, 0))


def test_a_flood_of_half_done_handshakes_takes_a_bounded_number_of_places(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.edge.handshakes.MAX_HANDSHAKES", 20)
    monkeypatch.setattr("gateway.edge.handshakes.HANDSHAKE_SECONDS", 300)

    async def gone(reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            await reader.read()

    async def scenario() -> None:
        async with serving(tmp_path) as served:
            flood = [await connected(served.port, FLOODER) for _ in range(100)]
            ends = [asyncio.create_task(gone(reader)) for reader, _ in flood]
            try:
                for _, writer in flood[::2]:
                    writer.write(b"\x16\x03\x01")  # a handshake begins, and no more of it comes
                async with asyncio.timeout(60):
                    _, writer = await connected(served.port, HONEST, served.trusted)
                    writer.close()
                    while sum(end.done() for end in ends) < 81:
                        await asyncio.sleep(0.01)
                # the honest one had the 20th place
                assert [end.done() for end in ends] == [True] * 81 + [False] * 19
            finally:
                for _, writer in flood:
                    writer.close()
                await asyncio.gather(*ends)

    run(scenario())


def test_a_connection_that_comes_when_the_node_has_stopped_is_closed(
    run: Run, tmp_path: Path
) -> None:
    """A loop hands on in its next turn what it has accepted in this one. The handshake began, and
    nobody waited for it."""
    files = certificates(tmp_path)
    tls = server_tls(str(files.certificate), str(files.key))
    assert tls is not None
    context = tls.context

    async def scenario() -> None:
        handshakes = Handshakes(asyncio.Protocol, context)
        await handshakes.stop()
        client, accepted = socket.socketpair()
        with client:
            client.setblocking(False)
            handshakes.add(accepted, "127.0.0.1")
            assert client.recv(1) == b""
        assert len(handshakes) == 0

    run(scenario())


def test_handshakes_begin_in_turns_and_an_address_with_many_waits_behind_itself(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # ten a second, so that the flood is still waiting when the honest one comes
    monkeypatch.setattr("gateway.edge.handshakes._BEGUN", Pace(0.04, 0.04, 0.04))
    ended: list[str] = []

    async def scenario() -> None:
        async with serving(tmp_path) as served:

            async def shake(address: str) -> None:
                _, writer = await connected(served.port, address, served.trusted)
                ended.append(address)
                writer.close()

            async with asyncio.timeout(60), asyncio.TaskGroup() as shaking:
                for address in [*[FLOODER] * 20, HONEST]:
                    shaking.create_task(shake(address))

    run(scenario())
    assert ended.index(HONEST) < 10, "it came last, and did not wait for all of the others"


def test_nothing_older_than_tls_1_2_is_spoken(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as served:
            old = served.trusted
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            old.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", served.port, ssl=old)
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert b"HTTP/1.1" not in await reader.read()
            writer.close()

    run(scenario())


def test_who_does_not_know_the_authority_does_not_connect(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as served:
            with pytest.raises(ConnectionError, match="certificate verify failed"):
                await AiohttpDialer().dial(f"{served.url}/v1/socket")

    run(scenario())


def test_a_certificate_and_its_key_come_together(tmp_path: Path) -> None:
    assert server_tls("", "") is None
    files = certificates(tmp_path / "one")
    other = certificates(tmp_path / "other")
    for certificate, key in (
        (str(files.certificate), ""),
        ("", str(files.key)),
        (str(files.certificate), str(other.key)),
        (str(tmp_path / "missing"), str(files.key)),
    ):
        with pytest.raises(ValueError, match="key"):
            server_tls(certificate, key)


def test_only_their_owner_reads_the_files_and_they_are_kept(tmp_path: Path) -> None:
    files = certificates(tmp_path)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    kept = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in certificates(tmp_path)] == kept
