"""Presence and typing through the whole real stack."""

import asyncio
import time
from collections.abc import Callable

import pytest

from messenger_sdk import Client, Typing
from tests.harness.device import token_of
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


async def eventually(condition: Callable[[], bool], what: str, timeout: float = 60) -> None:
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(what) from None


def online(client: Client, user: str) -> bool | None:
    presence = client.device.presence.get(user)
    return None if presence is None else presence.online


async def test_watchers_hear_who_comes_and_goes(stack: Stack) -> None:
    async with Talk(stack, "presence") as talk:
        alice = await talk.join("alice")
        bob = talk.user("bob")
        await talk.say(alice, "bob", ["hello"])
        alice.watch([bob, talk.user("stranger"), "not a user"])
        await eventually(lambda: online(alice, bob) is False, "bob was never seen")
        assert alice.device.presence[bob].last_seen == 0
        first, second = (
            Client(stack.gateway_urls[n], token_of(stack, bob), f"device-{n}") for n in range(2)
        )
        async with first:
            await first.online()
            began = time.monotonic()
            await eventually(lambda: online(alice, bob) is True, "bob is online")
            print(f"online told after {(time.monotonic() - began) * 1000:.0f} ms")
            async with second:
                await second.online()
            await asyncio.sleep(0.5)
            assert online(alice, bob) is True, "bob has another device"
        began = time.monotonic()
        await eventually(lambda: online(alice, bob) is False, "bob has gone", 3)
        print(f"offline told after {(time.monotonic() - began) * 1000:.0f} ms")
        assert abs(alice.device.presence[bob].last_seen - time.time() * 1000) < 5000
        assert online(alice, talk.user("stranger")) is None, "no conversation, no presence"


async def test_a_device_that_vanishes_has_a_grace_to_come_back(stack: Stack) -> None:
    async with Talk(stack, "grace") as talk:
        alice, bob = await talk.join("alice"), await talk.join("bob")
        name = talk.user("bob")
        await talk.say(alice, "bob", ["hello"])
        alice.watch([name])
        await eventually(lambda: online(alice, name) is True, "bob is online")
        seen: list[bool | None] = []
        for _ in range(3):
            bob.network.abort()
            for _ in range(50):
                seen.append(online(alice, name))
                await asyncio.sleep(0.01)
        assert set(seen) == {True}
        bob.network.away = True
        bob.network.abort()
        await eventually(lambda: online(alice, name) is False, "and then is gone", 12)


async def test_typing_is_told_to_who_watches(stack: Stack) -> None:
    async with Talk(stack, "typing") as talk:
        alice, bob = await talk.join("alice"), await talk.join("bob")
        conversation = f"{talk.user('alice')}:{talk.user('bob')}"
        await talk.say(alice, "bob", ["hello"])
        heard = talk.heard[f"{talk.user('bob')}/one"]
        alice.typing(conversation)
        await asyncio.sleep(0.3)
        assert not any(isinstance(event, Typing) for event in heard), "bob does not watch alice"
        bob.watch([talk.user("alice")])
        await eventually(lambda: online(bob, talk.user("alice")) is True, "watched")
        await asyncio.sleep(3)
        for _ in range(20):
            alice.typing(conversation)
        await eventually(lambda: Typing(conversation, talk.user("alice")) in heard, "typing")
        await asyncio.sleep(0.3)
        assert sum(isinstance(event, Typing) for event in heard) == 1
