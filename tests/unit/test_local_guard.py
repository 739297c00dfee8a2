"""In local mode only this machine reaches a node, and no foreign page does."""

from typing import Any

import pytest

from connectors.environment import SettingsError
from gateway.edge.local_guard import browser_guard, foreign, is_loopback
from gateway.main import run
from gateway.settings import GatewaySettings
from tests.harness.served import served


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


CHAT = "https://chat.example"


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        (None, True),
        (CHAT, True),
        ("HTTPS://CHAT.EXAMPLE", True),
        ("http://app.example:81", True),
        ("https://gateway.example", True),
        ("http://chat.example", False),
        ("https://chat.example.evil.example", False),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_pages_of_which_origins_may_come(origin: str | None, good: bool) -> None:
    guard = browser_guard(False, f"{CHAT}, http://App.example:81")
    assert (guard.refusal("gateway.example", origin) is None) == good
    assert browser_guard(False, "").refusal("gateway.example", origin) is None


@pytest.mark.parametrize("setting", ["chat.example", "https://chat.example/", "ftp://a", "*"])
def test_an_origin_that_no_browser_names_is_no_setting(setting: str) -> None:
    with pytest.raises(SettingsError, match="MESSENGER_ORIGINS"):
        browser_guard(False, setting)


async def test_foreign_pages_get_neither_page_nor_token_nor_socket_from_a_local_node() -> None:
    alice, json_ = b'{"user":"alice"}', {"Content-Type": "application/json"}
    async with served(local=True) as node:
        assert await node.status("/v1/login", alice, json_) == 200
        assert await node.status("/v1/login", alice, {**json_, "Origin": node.url}) == 200
        assert await node.status("/v1/login", alice, {"Content-Type": "text/plain"}) == 415
        assert await node.opened({}) == await node.opened({"Origin": node.url}) == b"101"
        for foreigner in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            assert await node.status("/v1/login", alice, {**json_, **foreigner}) == 403
            assert await node.status("/", None, foreigner) == 403
            assert await node.opened(foreigner) == b"403"


async def test_pages_of_named_origins_get_sockets_and_may_read_answers_and_others_neither() -> None:
    named, evil = {"Origin": CHAT}, {"Origin": "https://evil.example"}
    async with served(origins=CHAT) as node:
        for good in ({}, named, {"Origin": node.url}):
            assert await node.opened(good) == b"101"
        assert await node.opened(evil) == b"403"
        status, headers = await node.answer("/v1/conversations", None, named)
        assert (status, headers["Access-Control-Allow-Origin"]) == (401, CHAT)
        asks = {**named, "Access-Control-Request-Method": "GET"}
        status, headers = await node.answer("/v1/conversations", None, asks, "OPTIONS")
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, CHAT)
        assert "Authorization" in headers["Access-Control-Allow-Headers"]
        status, headers = await node.answer("/v1/conversations", None, evil)
        assert (status, headers["Access-Control-Allow-Origin"]) == (403, None)
        status, headers = await node.answer("/v1/conversations", None, {"Origin": node.url})
        assert (status, headers["Access-Control-Allow-Origin"]) == (401, None)
