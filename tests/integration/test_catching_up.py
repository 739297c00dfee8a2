"""What was missed, by number (R9): from the worker that has the partition, by way of any
gateway."""

import asyncio
import functools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from messenger_sdk import Client, MessageReceived
from schemas.codes import Code
from tests.harness.client import BreakableClient
from tests.harness.device import connect, seqs, token_of
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real
COUNT = 250


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_heads_and_pages(stack: Stack, http: aiohttp.ClientSession) -> None:
    async with Talk(stack, "catching-up") as talk:
        alice, bob = talk.user("alice"), talk.user("bob")
        sender = await talk.join("alice")
        await talk.say(sender, "bob", [f"message {number}" for number in range(1, COUNT + 1)])
        for gateway in (0, 1):
            device = await connect(http, stack, bob, gateway)
            known, unknown = f"{alice}:{bob}", f"{bob}:zoe"
            assert (await device.ask("sync", cursors={known: 10, unknown: 0}))["heads"] == {
                known: COUNT
            }
            assert (await device.ask("sync", cursors={}))["heads"] == {known: COUNT}
            assert (await device.ask("sync", cursors={known: COUNT}))["heads"] == {}
            assert (await device.ask("sync", cursors={}, after=known))["heads"] == {}
            shown: list[int] = []
            while len(shown) < COUNT:
                page = await device.ask("history", conversation=known, after=len(shown))
                assert page["known"] == COUNT
                assert page["messages"][0]["from"] == alice
                shown += seqs(page)
            assert shown == list(range(1, COUNT + 1))
            assert seqs(await device.ask("history", conversation=known, after=100, limit=3)) == [
                101,
                102,
                103,
            ]
            assert seqs(await device.ask("history", conversation=known, after=COUNT)) == []
            assert await device.ask("history", conversation=unknown, after=0) == {
                "t": "page",
                "id": 7,
                "conversation": unknown,
                "known": 0,
                "messages": [],
                "first": True,
            }


async def test_a_page_of_large_messages_fits_a_socket_message(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    async with Talk(stack, "large-pages") as talk:
        alice, bob = talk.user("alice"), talk.user("bob")
        sender = await talk.join("alice")
        await talk.say(sender, "bob", [f"{number} " + "x" * 16_000 for number in range(30)])
        device = await connect(http, stack, bob)
        page = await device.ask("history", conversation=f"{alice}:{bob}", after=0)
        assert 1 < len(page["messages"]) < 30
        assert seqs(page) == list(range(1, len(page["messages"]) + 1))


async def test_other_peoples_conversations_are_not_told(
    stack: Stack, http: aiohttp.ClientSession
) -> None:
    device = await connect(http, stack, "mallory")
    for question in (
        ("sync", {"cursors": {"alice:bob": 0}}),
        ("sync", {"cursors": {"alice:mallory": 0, "alice:bob": 0}}),
        ("history", {"conversation": "alice:bob", "after": 0}),
        ("history", {"conversation": "mallory:alice", "after": 0}),
        ("history", {"conversation": "", "after": 0}),
    ):
        answer = await device.ask(question[0], **question[1])
        assert (answer["t"], answer["code"]) == ("error", Code.NOT_A_MEMBER.number), question
    for bad in (
        {"conversation": "alice:mallory", "after": -1},
        {"conversation": "alice:mallory", "after": 0, "limit": 101},
    ):
        assert (await device.ask("history", **bad))["code"] == Code.BAD_FIELD.number


async def test_a_device_that_was_away_shows_what_it_missed(stack: Stack) -> None:
    async with Talk(stack, "away") as talk:
        alice, bob = await talk.join("alice"), talk.user("bob")
        async with BreakableClient(stack.gateway_urls[1], token_of(stack, bob), "phone") as phone:
            shown: dict[str, list[int]] = defaultdict(list)

            async def watch() -> None:
                async for event in phone:
                    if isinstance(event, MessageReceived):
                        assert event.missing == 0
                        shown[event.sender].append(event.seq)

            watching = asyncio.create_task(watch())
            await phone.online()
            await talk.say(alice, "bob", ["before"])
            async with asyncio.timeout(60):
                while shown[talk.user("alice")] != [1] or not phone.device.begun:
                    await asyncio.sleep(0.01)
            phone.network.away = True
            phone.network.transport.close()
            async with Client(stack.gateway_urls[0], token_of(stack, bob), "phone") as elsewhere:
                await elsewhere.online()
                await talk.say(alice, "bob", [f"missed {number}" for number in range(150)])
                carol = await talk.join("carol")
                await talk.say(carol, "bob", ["you do not know me yet", "but you will"])
            phone.network.away = False
            async with asyncio.timeout(60):
                while len(shown[talk.user("alice")]) < 151 or len(shown[talk.user("carol")]) < 2:
                    await asyncio.sleep(0.01)
            await phone.close()
            await watching
        assert shown == {talk.user("alice"): list(range(1, 152)), talk.user("carol"): [1, 2]}


async def test_a_device_that_was_away_while_2000_conversations_changed(
    stack: Stack, tmp_path: Path
) -> None:
    """Two devices come back together while messages flow and conversations begin."""
    async with Talk(stack, "month") as talk:
        alice = await talk.join("alice")
        user, old = talk.user("alice"), [f"friend{n}" for n in range(2000)]
        folders = [tmp_path / "phone", tmp_path / "tablet"]
        shown: list[dict[str, list[int]]] = [defaultdict(list), defaultdict(list)]

        async def watch(client: Client, into: dict[str, list[int]]) -> None:
            async for event in client:
                if isinstance(event, MessageReceived):
                    assert event.missing == 0
                    into[event.conversation].append(event.seq)

        async def device(number: int, until: Callable[[], bool]) -> None:
            folder = folders[number]
            async with Client(
                stack.gateway_urls[number], token_of(stack, user), folder.name, folder=folder
            ) as client:
                watching = asyncio.create_task(watch(client, shown[number]))
                async with asyncio.timeout(60):
                    while not client.device.begun or not until():
                        await asyncio.sleep(0.05)
                await client.close()
                await watching

        await asyncio.gather(*(device(number, lambda: True) for number in range(2)))
        await asyncio.gather(*(talk.say(alice, name, [f"first {name}"]) for name in old))
        ended = asyncio.Event()
        total = 0

        def all_shown(number: int) -> bool:
            return ended.is_set() and sum(map(len, shown[number].values())) == total

        back = [
            asyncio.create_task(device(number, functools.partial(all_shown, number)))
            for number in range(2)
        ]
        for round_ in range(10):
            await talk.say(alice, f"new{round_}", [f"new {round_}"])
            for name in (*old[::200], f"new{round_ // 2}"):
                await talk.say(alice, name, [f"again {round_} {name}"])
        total = len(talk.accepted)
        ended.set()
        await asyncio.gather(*back)
        seqs = defaultdict[str, list[int]](list)
        for message in talk.accepted:
            seqs[message.conversation].append(message.seq)
        assert total == 2120
        assert (
            shown[0]
            == shown[1]
            == {conversation: sorted(numbers) for conversation, numbers in seqs.items()}
        )
