"""Redis emptied, killed and empty, killed and back with an older file, under load: every device
shows all, once, in order."""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from connectors.redis.client import RedisClient
from messenger_sdk import ConnectionRefused, MessageReceived
from schemas.codes import Close
from tests.chaos.conftest import ROUNDS
from tests.harness.device import ask_http, connect_soon, whole_heads
from tests.harness.load import Load
from tests.harness.memberships import check_memberships
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 40 * ROUNDS)]


PARTS = {"gateways": 2, "cursors": 1, "presence": 1}


async def emptied(lab: Stack, redis: RedisClient) -> None:
    await redis.command("FLUSHALL")


async def killed_and_empty(lab: Stack, redis: RedisClient) -> None:
    folder = lab.home / "redis"
    await asyncio.to_thread(freeze, lab)
    await asyncio.to_thread(shutil.rmtree, folder)
    folder.mkdir()
    lab.kill("redis")


async def killed_and_back_with_an_older_file(lab: Stack, redis: RedisClient) -> None:
    """The file of before the last devices came."""
    folder, older = lab.home / "redis", lab.home / "redis-older"
    await asyncio.to_thread(freeze, lab)
    await asyncio.to_thread(shutil.rmtree, folder)
    await asyncio.to_thread(shutil.copytree, older, folder)
    lab.kill("redis")


def freeze(lab: Stack) -> None:
    """Nothing more is written to the files."""
    os.kill(lab.parts()["redis"]["pid"], signal.SIGSTOP)


ACCIDENTS = [
    emptied,
    pytest.param(killed_and_empty, marks=pytest.mark.soak),
    killed_and_back_with_an_older_file,
]


@pytest.mark.parametrize("accident", ACCIDENTS)
async def test_under_load(
    lab: Stack,
    talk: Talk,
    load: Load,
    redis: RedisClient,
    judged: Callable[[], Awaitable[None]],
    accident: Callable[[Stack, RedisClient], Awaitable[None]],
) -> None:
    await talk.join("early")
    older = lab.home / "redis-older"
    await asyncio.to_thread(shutil.rmtree, older, ignore_errors=True)
    await asyncio.to_thread(shutil.copytree, lab.home / "redis", older)
    await load.start()
    for _ in range(ROUNDS):
        await load.sent(50)
        await accident(lab, redis)
        print(f"away for {await load.dark():.1f} s")
        await asyncio.to_thread(lab.wait_healthy)
    await load.stop()
    await judged()
    conversations = {message.conversation for message in talk.accepted}
    await asyncio.to_thread(check_memberships, lab.kafka, conversations)


@pytest.mark.parametrize("accident", ACCIDENTS)
async def test_conversations_begin_before_and_while_it_happens(
    lab: Stack,
    talk: Talk,
    redis: RedisClient,
    judged: Callable[[], Awaitable[None]],
    accident: Callable[[Stack, RedisClient], Awaitable[None]],
) -> None:
    """Of users who had none; their devices never reconnect. New ones find them, too."""
    async with aiohttp.ClientSession() as http:
        for round_ in range(ROUNDS):
            pairs = [(f"a{round_}-{number}", f"b{round_}-{number}") for number in range(6)]
            senders = [await talk.join(name) for name, _ in pairs]
            receivers = [await talk.join(name) for _, name in pairs]
            while not all(client.device.begun for client in (*senders, *receivers)):
                await asyncio.sleep(0.01)
            older = lab.home / "redis-older"
            await asyncio.to_thread(shutil.rmtree, older, ignore_errors=True)
            await asyncio.to_thread(shutil.copytree, lab.home / "redis", older)

            async def begin(number: int) -> None:
                await talk.say(senders[number], pairs[number][1], [f"first {round_} {number}"])  # noqa: B023 (awaited in here)

            await asyncio.gather(begin(0), begin(1))
            begun = [asyncio.create_task(begin(number)) for number in (2, 3)]
            await accident(lab, redis)
            await asyncio.gather(*begun, begin(4), begin(5))
            await asyncio.to_thread(lab.wait_healthy)
            await talk.settle(60)
            for place, (sender, receiver) in enumerate(pairs):
                device = await connect_soon(http, lab, talk.user(receiver), place % 2)
                assert await whole_heads(device) == {
                    f"{talk.user(sender)}:{talk.user(receiver)}": 1
                }
            conversations = {message.conversation for message in talk.accepted}
            await asyncio.to_thread(check_memberships, lab.kafka, conversations)
    await judged()


async def test_emptied_then_the_first_message_of_a_new_conversation_to_a_device_that_never_reconnects(  # noqa: E501
    lab: Stack, talk: Talk, redis: RedisClient
) -> None:
    alice, bob = await talk.join("alice"), await talk.join("bob")
    states: list[str] = []
    messages: list[str] = []

    async def watch() -> None:
        async for event in bob:
            if isinstance(event, MessageReceived):
                messages.append(event.body)
            else:
                states.append(str(event))

    talk._watching[1].cancel()
    watching = asyncio.create_task(watch())
    while not bob.device.begun:
        await asyncio.sleep(0.01)
    for number in range(ROUNDS):
        stranger = await talk.join(f"stranger{number}") if number else alice
        await redis.command("FLUSHALL")
        await stranger.send(talk.user("bob"), f"first {number}")
        async with asyncio.timeout(60):
            while f"first {number}" not in messages:
                await asyncio.sleep(0.02)
    watching.cancel()
    assert messages == [f"first {number}" for number in range(ROUNDS)]
    assert states == [], "bob never reconnected"


async def test_emptied_then_a_device_is_logged_out_at_once(
    lab: Stack, talk: Talk, redis: RedisClient
) -> None:
    tablet = await talk.join("bob", "tablet")
    for number in range(ROUNDS * 2):
        phone = await talk.join("bob", f"phone{number}")
        await redis.command("FLUSHALL")
        status, _ = await ask_http(
            lab, talk.user("bob"), "DELETE", f"/v1/devices/phone{number}", gateway=number % 2
        )
        assert status == 202
        async with asyncio.timeout(60):
            while phone.state != "stopped":
                await asyncio.sleep(0.01)
        with pytest.raises(ConnectionRefused) as refused:
            await phone.online()
        assert refused.value.code == Close.LOGGED_OUT.number
        await asyncio.to_thread(lab.wait_healthy)
        await tablet.online()
