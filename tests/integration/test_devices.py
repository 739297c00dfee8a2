"""A user's devices on a real stack: listed, logged out, and brought together on the right node."""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from connectors.redis.routes import CLOCKS_MS
from gateway.rendezvous import right_node
from messenger_sdk import ConnectionRefused
from schemas.codes import Close
from tests.harness.device import ask_http, connect_raw
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


async def test_devices_are_listed_and_logged_out(stack: Stack) -> None:
    async with Talk(stack, "devices") as talk:
        alice = await talk.join("alice")
        phone, tablet = await talk.join("bob", "phone"), await talk.join("bob", "tablet")
        bob = talk.user("bob")
        conversation = f"{talk.user('alice')}:{bob}"
        await talk.say(alice, "bob", ["one", "two"])
        phone.read(conversation, 2)
        async with asyncio.timeout(60):
            while alice.device.mark(conversation, bob).read < 2:
                await asyncio.sleep(0.02)
        assert await ask_http(stack, bob, "GET", "/v1/devices") == (
            200,
            {
                "devices": [
                    {"device": "phone", "online": True},
                    {"device": "tablet", "online": True},
                ],
                "pending": False,
            },
        )
        began = time.monotonic()
        assert (await ask_http(stack, bob, "DELETE", "/v1/devices/phone", gateway=1))[0] == 202
        async with asyncio.timeout(2):
            while phone.state != "stopped":
                await asyncio.sleep(0.01)
        with pytest.raises(ConnectionRefused) as refused:
            await phone.online()
        assert refused.value.code == Close.LOGGED_OUT.number
        print(f"logged out after {(time.monotonic() - began) * 1000:.0f} ms")
        async with asyncio.timeout(60):
            while (await ask_http(stack, bob, "GET", "/v1/devices"))[1]["devices"] != [
                {"device": "tablet", "online": True}
            ]:
                await asyncio.sleep(0.05)
        assert alice.device.mark(conversation, bob).read == 2, "what was read stays read"
        assert tablet.state == "online"
        assert (await ask_http(stack, bob, "DELETE", "/v1/devices/not%20a%20device"))[0] == 400
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{stack.gateway_urls[0]}/v1/devices") as answer,
    ):
        assert answer.status == 401


async def test_of_two_sessions_of_a_device_on_two_nodes_the_later_stays(stack: Stack) -> None:
    for here, there in ((0, 1), (1, 0)):
        earlier = await connect_raw(stack, "twice", "web", here)
        await asyncio.sleep(1.2 * CLOCKS_MS / 1000)
        later = await connect_raw(stack, "twice", "web", there)
        async with asyncio.timeout(60):
            await earlier.closed.wait()
        assert earlier.code == Close.REPLACED.number
        later.received.clear()
        await later.send(b'{"t":"ping","id":7}')
        await later.until(b'"pong"')
        await later.close()
        await earlier.close()


async def test_devices_of_a_user_meet_on_the_right_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESSENGER_REDIRECT", "1")
    with Stack(tmp_path / "stack", gateways=2) as lab:
        async with Talk(lab, "meet") as talk, aiohttp.ClientSession() as http:
            await asyncio.sleep(0.5)  # both are announced
            for number in range(6):
                user = talk.user(f"user{number}")
                right = right_node(user, lab.gateway_urls)
                assert right is not None
                for gateway in lab.gateway_urls:
                    async with http.get(f"{gateway}/v1/node", params={"user": user}) as answer:
                        assert await answer.json() == {"url": right}
                devices = [
                    await talk.join(f"user{number}", f"device{n}") for n in range(2)
                ]  # each at another gateway
                for device in devices:
                    assert device.network.port == int(right.rpartition(":")[2])
            async with http.get(
                f"{lab.gateway_urls[0]}/v1/node", params={"user": "Not A User"}
            ) as answer:
                assert answer.status == 400
            one, other = (
                c for name, c in talk.clients.items() if name.startswith(f"{talk.user('user0')}/")
            )
            await talk.say(one, "user1", ["hello"])
            await talk.settle()
            assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
            lab.kill(f"gateway-{one.network.port - lab.base_port + 1}")
            await talk.say(other, "user1", ["from the node that is left"])
            await talk.settle()
            assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
