"""A device that asks by hand, on a bare socket."""

import asyncio
import json
import time
from typing import Any

import aiohttp

from gateway.edge.tokens import issue
from schemas.ids import user_id
from tests.harness.raw_socket import RawSocket
from tests.harness.stack import Stack


class Device:
    """A bare socket that asks."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The answer to a command."""
        await self._socket.send_str(json.dumps({"t": kind, "id": 7, **fields}))
        while True:
            for line in (await self._socket.receive(10)).data.splitlines():
                answer: dict[str, Any] = json.loads(line)
                if answer.get("id") == 7:
                    return answer


async def connect(http: aiohttp.ClientSession, stack: Stack, user: str, gateway: int = 0) -> Device:
    """A device of `user` that has been welcomed."""
    socket = await http.ws_connect(f"{stack.gateway_urls[gateway]}/v1/socket", max_msg_size=0)
    command = {
        "t": "hello",
        "id": 1,
        "version": 1,
        "token": token_of(stack, user),
        "device": "bare",
    }
    await socket.send_str(json.dumps(command))
    first = await socket.receive(10)
    if first.type is not aiohttp.WSMsgType.TEXT:
        raise ConnectionRefusedError(f"not welcome: {first}")
    return Device(socket)


async def connect_soon(
    http: aiohttp.ClientSession, stack: Stack, user: str, gateway: int = 0
) -> Device:
    """The same, tried again and again as devices do."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await connect(http, stack, user, gateway)
            except (ConnectionRefusedError, aiohttp.ClientError):
                await asyncio.sleep(0.1)


async def whole_heads(device: Device) -> dict[str, int]:
    """All heads, once all that must be asked for them can be."""
    async with asyncio.timeout(60):
        while True:
            answer = await device.ask("sync", cursors={})
            if answer["t"] == "heads" and not answer.get("pending"):
                heads: dict[str, int] = answer["heads"]
                return heads
            await asyncio.sleep(0.1)


async def connect_raw(stack: Stack, user: str, device: str = "raw", gateway: int = 0) -> RawSocket:
    """A socket by hand that has been welcomed."""
    socket = await RawSocket.connect(stack.gateway_urls[gateway])
    await socket.send(hello(stack, user, device))
    await socket.until(b'"welcome"')
    assert socket.code == 0
    return socket


def hello(stack: Stack, user: str, device: str) -> bytes:
    """The frame of a device that stays where it is."""
    token = token_of(stack, user)
    return json.dumps(
        {"t": "hello", "id": 1, "version": 1, "token": token, "device": device, "stay": True}
    ).encode()


def told(socket: RawSocket) -> list[dict[str, Any]]:
    """The frames it has received."""
    return [json.loads(line) for message in socket.received for line in message.splitlines()]


async def ask_http(
    stack: Stack, user: str, method: str, path: str, gateway: int = 0
) -> tuple[int, Any]:
    """Status and answer of a request in the name of `user`."""
    headers = {"Authorization": f"Bearer {token_of(stack, user)}"}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, stack.gateway_urls[gateway] + path, headers=headers) as answer,
    ):
        return (
            answer.status,
            await answer.json() if answer.content_type == "application/json" else None,
        )


def token_of(stack: Stack, user: str) -> str:
    return issue(user_id(user), stack.token_secret, time.time())


def seqs(page: dict[str, Any]) -> list[int]:
    """The numbers of a page's messages."""
    return [message["seq"] for message in page["messages"]]
