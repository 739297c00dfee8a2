"""Tokens that were revoked, on a real stack: on every node, at once and after a node's start."""

import asyncio
import json
import time

import pytest

from gateway.edge.tokens import issue
from schemas.codes import Close
from schemas.ids import user_id
from tests.harness.device import ask_http
from tests.harness.raw_socket import RawSocket
from tests.harness.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


async def come(stack: Stack, token: str, device: str, gateway: int) -> RawSocket:
    socket = await RawSocket.connect(stack.gateway_urls[gateway])
    hello = {"t": "hello", "id": 1, "version": 1, "token": token, "device": device, "stay": True}
    await socket.send(json.dumps(hello).encode())
    return socket


async def welcomed(stack: Stack, token: str, device: str, gateway: int) -> RawSocket:
    socket = await come(stack, token, device, gateway)
    await socket.until(b'"welcome"')
    return socket


async def refused(socket: RawSocket) -> int:
    async with asyncio.timeout(2):
        await socket.closed.wait()
    code = socket.code
    await socket.close()
    return code


async def test_stolen_tokens_are_useless_on_both_nodes(stack: Stack) -> None:
    def token(device: str | None) -> str:
        return issue(user_id("robbed"), stack.token_secret, time.time(), device=device)

    stolen = [token(name) for name in ("phone", "tablet", None)]
    phone = await welcomed(stack, stolen[0], "phone", 0)
    tablet = await welcomed(stack, stolen[1], "tablet", 1)
    laptop = await welcomed(stack, stolen[2], "laptop", 1)
    assert (await ask_http(stack, "robbed", "DELETE", "/v1/devices/phone", gateway=1))[0] == 202
    assert await refused(phone) == Close.LOGGED_OUT.number
    for gateway in (0, 1):
        assert await refused(await come(stack, stolen[0], "phone", gateway)) == Close.REVOKED.number
    command = await asyncio.to_thread(stack.run, "revoke", "device", "robbed", "tablet")
    assert (command.returncode, json.loads(command.stdout)["device"]) == (0, "tablet")
    assert await refused(tablet) == Close.REVOKED.number
    assert laptop.code == 0
    command = await asyncio.to_thread(stack.run, "revoke", "user", "robbed")
    assert command.returncode == 0, command.stderr
    assert await refused(laptop) == Close.REVOKED.number
    for gateway in (0, 1):
        for one, name in zip(stolen, ("phone", "tablet", "laptop"), strict=True):
            assert await refused(await come(stack, one, name, gateway)) == Close.REVOKED.number
        again = await welcomed(stack, token("phone"), "phone", gateway)
        await again.close()


async def test_only_an_operator_may_revoke(stack: Stack) -> None:
    assert (await ask_http(stack, "mallory", "POST", "/v1/revocations"))[0] == 401
