"""Every place that takes a token, against every token that is not good there."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from gateway.edge.openapi import OPERATIONS, Operation
from gateway.edge.tokens import LIFETIME_SECONDS, issue, issue_operator
from gateway.settings import GatewaySettings
from schemas.codes import Close
from schemas.ids import user_id
from tests.harness.memory_node import SECRET, Device, MemoryNode, World
from tests.harness.served import Served, served
from tests.harness.virtual import run

OPERATORS, STATUS = "o" * 32, "t" * 32
_REFUSED = 400, 401
"""400: the HTTP server takes no header that is so long."""
GUARDED = [one for one in OPERATIONS if one.token]
JSON = {"Content-Type": "application/json"}


def _signed(now: float, **claims: Any) -> str:
    good = {"sub": "alice", "iat": now, "exp": now + 60, **claims}
    return jwt.encode({k: v for k, v in good.items() if v is not None}, SECRET, "HS256")


def _swapped(token: str) -> str:
    """With the head of a token that has no signature."""
    head = jwt.encode({}, "", "none").partition(".")[0]
    return ".".join([head, *token.split(".")[1:]])


BAD: dict[str, Callable[[float], str]] = {
    "none": lambda _: "",
    "no token": lambda _: "abc",
    "too long": lambda _: "x" * 9_000,
    "forged": lambda now: issue(user_id("alice"), "f" * 32, now),
    "forged, for another body": lambda now: (
        _signed(now).rpartition(".")[0] + "." + _signed(now, sub="bob").rpartition(".")[2]
    ),
    "without a signature": lambda now: jwt.encode({"sub": "alice", "exp": now + 60}, "", "none"),
    "its algorithm swapped": lambda now: _swapped(_signed(now)),
    "signed by the status token": lambda now: issue(user_id("alice"), STATUS, now),
    "the status token": lambda _: STATUS,
    "expired": lambda now: _signed(now, iat=now - 120, exp=now - 60),
    "without an end": lambda now: _signed(now, exp=None),
    "of tomorrow": lambda now: _signed(now, nbf=now + 86_400),
    "for another audience": lambda now: _signed(now, aud="somebody else"),
    "without a user": lambda now: _signed(now, sub=None),
    "of a user who cannot be": lambda now: _signed(now, sub="a:b"),
    "revoked": lambda now: _signed(now, sub="carol", iat=0.001),
}
"""Tokens that open nothing, from the time (Unix seconds). The tokens of carol are revoked."""
NOT_USERS: dict[str, Callable[[float], str]] = {
    **BAD,
    "an operator's": lambda now: issue_operator(OPERATORS, now),
}
NOT_OPERATORS: dict[str, Callable[[float], str]] = {
    **BAD,
    "a user's": _signed,
    "replayed": lambda now: issue_operator(OPERATORS, now - LIFETIME_SECONDS),
    "signed by the users' secret": lambda now: issue_operator(SECRET, now),
}
BAD_FOR = {
    "user": NOT_USERS,
    "operator": NOT_OPERATORS,
    "status": {
        "a user's": _signed,
        **{name: token for name, token in NOT_USERS.items() if name != "the status token"},
    },
}


async def _revoke(node: MemoryNode) -> None:
    revocations = node.node.parts.revocations
    await revocations.revoke("carol", "", node.now())
    while revocations.book.find("carol", "", 0) is None:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", NOT_USERS)
def test_no_such_token_opens_a_session(name: str) -> None:
    async def scenario() -> None:
        node = World().node()
        await node.start()
        await _revoke(node)
        device = node.connect()
        await device.send(_hello(NOT_USERS[name](node.now() / 1000), "phone"))
        assert device.closed == [Close.REVOKED if name == "revoked" else Close.UNAUTHORIZED]
        assert device.of_type("welcome") == []
        await node.node.stop()

    run(scenario())


@pytest.mark.parametrize("name", NOT_USERS)
def test_no_such_token_lengthens_a_session(name: str) -> None:
    async def scenario() -> None:
        node = World().node()
        await node.start()
        await _revoke(node)
        alice = await node.welcomed("alice")
        await _renew(alice, NOT_USERS[name](node.now() / 1000))
        assert [error["id"] for error in alice.of_type("error")] == [2]
        assert alice.of_type("renewed") == []
        await node.node.stop()

    run(scenario())


def test_a_token_of_another_user_or_device_opens_and_lengthens_no_session() -> None:
    async def scenario() -> None:
        node = World().node()
        await node.start()
        now = node.now() / 1000
        thief = node.connect()
        await thief.send(_hello(_signed(now, device="tablet"), "phone"))
        assert thief.closed == [Close.UNAUTHORIZED]
        for number, claims in enumerate(({"sub": "bob"}, {"device": "tablet"})):
            alice = await node.welcomed("alice", f"phone{number}")
            await _renew(alice, _signed(now, **claims))
            assert [error["code"] for error in alice.of_type("error")] == [107]
            assert alice.of_type("renewed") == []
        await node.node.stop()

    run(scenario())


@pytest.mark.parametrize("one", GUARDED, ids=lambda one: f"{one.method} {one.path}")
async def test_no_request_is_answered_with_a_bad_token_and_each_is_with_a_good_one(
    one: Operation,
) -> None:
    async with served(operator_secret=OPERATORS, status_token=STATUS) as node:
        await _revoke(node.node)
        now = node.node.now() / 1000
        for name, token in BAD_FOR[one.token].items():
            assert await _ask(node, one, token(now)) in _REFUSED, name
        good = {"user": _signed(now), "operator": issue_operator(OPERATORS, now), "status": STATUS}
        assert await _ask(node, one, good[one.token]) not in (401, 403)


async def test_a_user_reads_and_changes_no_conversation_of_others() -> None:
    async with served() as node:
        for one in GUARDED:
            if "{conversation}" in one.path:
                token = _signed(node.node.now() / 1000, sub="eve")
                assert await _ask(node, one, token) == 403, one.path


def test_this_table_has_every_request_that_needs_a_token() -> None:
    assert {one.token for one in GUARDED} == BAD_FOR.keys()
    assert {f"{one.method} {one.path}" for one in GUARDED} >= {
        "get /metrics",
        "get /v1/conversations",
        "get /v1/conversations/{conversation}/messages",
        "get /v1/devices",
        "delete /v1/devices/{device}",
        "post /v1/messages",
        "post /v1/operator/revocations",
        "post /v1/operator/drain",
    }
    assert GatewaySettings("", "").operator_secret is None


def _hello(token: str, device: str) -> dict[str, Any]:
    return {"t": "hello", "id": 1, "version": 1, "token": token, "device": device}


async def _renew(device: Device, token: str) -> None:
    await device.send({"t": "renew", "id": 2, "token": token})
    await asyncio.sleep(0.01)


async def _ask(node: Served, one: Operation, token: str) -> int:
    path = one.path.format(conversation="alice:bob", device="phone", user="bob", seq=1)
    body = json.dumps({"user": "alice"}).encode() if one.body else None
    headers = {"Authorization": f"Bearer {token}", **(JSON if body else {})}
    return (await node.answer(path, body, headers, one.method.upper()))[0]
