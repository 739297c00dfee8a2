"""In local mode only this machine reaches a node, and no foreign page does."""

import asyncio
import urllib.error
import urllib.request
from typing import Any

import pytest
from aiohttp import web

from connectors.environment import SettingsError
from gateway.edge.admission import AdmissionControl
from gateway.edge.http import make_web_app
from gateway.edge.local_guard import foreign, is_loopback
from gateway.edge.pacer import Pacer, always
from gateway.edge.socket import Sockets
from gateway.main import run
from gateway.metrics import NodeMetrics
from gateway.settings import GatewaySettings
from tests.harness.memory_node import World


@pytest.mark.parametrize(
    ("host", "origin", "good"),
    [
        ("127.0.0.1:8400", None, True),
        ("localhost:8400", None, True),
        ("[::1]:8400", None, True),
        ("localhost:8400", "http://localhost:8400", True),
        ("LOCALHOST:8400", "http://localhost:8400", True),
        ("localhost:8400", "http://localhost:9999", False),
        ("localhost:8400", "http://evil.example", False),
        ("localhost:8400", "null", False),
        ("localhost:8400", "", False),
        ("evil.example:8400", None, False),
        ("evil.example:8400", "http://evil.example:8400", False),
        ("127.0.0.1.evil.example", None, False),
        ("localhost.evil.example", None, False),
        ("127.0.0.1@evil.example", None, False),
        ("192.168.1.5:8400", None, False),
        ("", None, False),
        ("[", None, False),
    ],
)
def test_who_is_foreign(host: str, origin: str | None, good: bool) -> None:
    assert (foreign(host, origin) is None) == good


def test_which_hosts_are_this_machine_only() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "", "::", "10.0.0.1", "example.org")))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"local": True, "http_host": "0.0.0.0"}, "MESSENGER_HTTP_HOST: local mode"),
        ({"token_secret": None}, "MESSENGER_TOKEN_SECRET, or MESSENGER_TOKEN_JWKS"),
        ({"operator_secret": "s" * 32}, "MESSENGER_OPERATOR_SECRET"),
        ({"operator_secret": "p" * 32}, "MESSENGER_OPERATOR_SECRET"),
    ],
)
def test_a_node_that_would_let_strangers_in_does_not_start(
    settings: dict[str, Any], text: str
) -> None:
    good = {"token_secret": "s" * 32, "token_secret_previous": "p" * 32}
    with pytest.raises(SettingsError, match=text):
        run(GatewaySettings("127.0.0.1:1", "", **{**good, **settings}))


SOCKET = (
    "GET /v1/socket HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


async def test_foreign_pages_get_neither_page_nor_token_nor_socket_from_a_local_node() -> None:
    node = World().node(local=True)
    await node.start()
    admission = AdmissionControl(local=True)
    sockets = Sockets(node.node, Pacer(always(100)), 25)
    app = make_web_app(node.node, NodeMetrics(node.node, admission), sockets, lambda: None)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    listening = await admission.bind("127.0.0.1", 0)
    await admission.serve(listening, runner.server, sockets)
    port = listening.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    json_ = {"Content-Type": "application/json"}

    def status(path: str, body: bytes | None, headers: dict[str, str]) -> int:
        request = urllib.request.Request(url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    async def answer(path: str, body: bytes | None, headers: dict[str, str]) -> int:
        return await asyncio.to_thread(status, path, body, headers)

    async def opened(headers: dict[str, str]) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = {"Host": f"127.0.0.1:{port}", **headers}.items()
        writer.write((SOCKET + "".join(f"{k}: {v}\r\n" for k, v in lines) + "\r\n").encode())
        status = (await reader.readline()).split()[1]
        writer.close()
        return status

    alice = b'{"user":"alice"}'
    try:
        assert await answer("/v1/login", alice, json_) == 200
        assert await answer("/v1/login", alice, {**json_, "Origin": url}) == 200
        assert await answer("/v1/login", alice, {"Content-Type": "text/plain"}) == 415
        assert await opened({}) == await opened({"Origin": url}) == b"101"
        for foreigner in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            assert await answer("/v1/login", alice, {**json_, **foreigner}) == 403
            assert await answer("/", None, foreigner) == 403
            assert await opened(foreigner) == b"403"
    finally:
        listening.close()
        await node.node.stop()
        await runner.cleanup()
