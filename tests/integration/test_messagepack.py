"""A device that talks MessagePack, and one that talks JSON, through a real stack."""

from typing import Any

import aiohttp
import msgspec
import pytest

from tests.harness.device import token_of
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]


async def test_messages_go_to_and_fro_between_messagepack_and_json(stack: Stack) -> None:
    async with (
        Talk(stack, "packed") as talk,
        aiohttp.ClientSession() as http,
        http.ws_connect(
            stack.gateway_urls[1] + "/v1/socket", protocols=("messenger.msgpack", "messenger.json")
        ) as packed,
    ):

        async def until(kind: str) -> dict[str, Any]:
            while True:
                frames = msgspec.msgpack.decode(await packed.receive_bytes())
                for frame in frames:
                    if frame["t"] == kind:
                        found: dict[str, Any] = frame
                        return found

        async def say(**frame: Any) -> None:
            await packed.send_bytes(msgspec.msgpack.encode([frame]))

        token = token_of(stack, "packed-alice")
        await say(t="hello", id=1, version=1, token=token, device="phone", stay=True)
        assert (await until("welcome"))["user"] == "packed-alice"
        bob = await talk.join("bob")
        key = {"outbox": "a" * 32, "ordinal": 1, "key": "b" * 32}
        await say(t="send", to="packed-bob", body="from alice \U0001f600", **key)
        assert (await until("sent"))["seq"] == 1
        await talk.say(bob, "alice", ["from bob"])
        message = await until("message")
        assert (message["from"], message["seq"], message["body"]) == ("packed-bob", 2, "from bob")
        await say(t="history", id=2, conversation="packed-alice:packed-bob", limit=10)
        page = await until("page")
        assert [one["body"] for one in page["messages"]] == ["from alice \U0001f600", "from bob"]
