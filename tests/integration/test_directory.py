"""What a device asks costs as many workers as its user has conversations with, not as many as there
are."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from connectors.redis.client import RedisClient
from messenger_sdk import Client
from schemas.ids import partition_of
from tests.harness.device import Device, ask_http, connect, token_of, whole_heads
from tests.harness.directory import PARTITIONS, check_directory, known_partitions
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = pytest.mark.real
WORKERS = 3


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """For this file: Redis is emptied in it."""
    with Stack(tmp_path_factory.mktemp("directory"), workers=WORKERS, gateways=2) as running:
        running.wait_healthy()
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def redis(lab: Stack) -> AsyncIterator[RedisClient]:
    client = RedisClient(lab.redis)
    yield client
    await client.close()


async def pages(lab: Stack) -> list[dict[str, int]]:
    found = [await asyncio.to_thread(lab.sequencer, worker) for worker in range(WORKERS)]
    assert all(found)
    return [page for page in found if page]


async def questions(lab: Stack) -> list[int]:
    return [page["questions"] for page in await pages(lab)]


async def owner_of(lab: Stack, conversation: str) -> int:
    """The worker that has the conversation's partition."""
    wanted = partition_of(conversation, PARTITIONS)
    owners: list[int] = []
    for worker, page in enumerate(await pages(lab)):
        held: list[dict[str, int]] = page["partitions"]  # type: ignore[assignment]
        owners += [worker for partition in held if partition["partition"] == wanted]
    assert len(owners) == 1
    return owners[0]


async def synced(device: Device, redis: RedisClient, user: str) -> dict[str, int]:
    """Heads, of a user who is known from then on: an owner that was too slow to say what it holds
    is asked again."""
    async with asyncio.timeout(20):
        while True:
            heads = await whole_heads(device)
            if await known_partitions(redis, user) is not None:
                return heads


async def asked_by(lab: Stack, device: Device, times: int) -> list[int]:
    """Questions of as many syncs, by worker."""
    before = await questions(lab)
    for _ in range(times):
        await whole_heads(device)
    return [after - earlier for earlier, after in zip(before, await questions(lab), strict=True)]


async def test_a_sync_asks_only_who_has_the_users_conversations_and_everybody_after_a_wipe(
    lab: Stack, http: aiohttp.ClientSession, redis: RedisClient
) -> None:
    async with Talk(lab, "few") as talk:
        alice, bob = talk.user("alice"), talk.user("bob")
        conversation = f"{alice}:{bob}"
        await talk.say(await talk.join("alice"), "bob", ["one", "two"])
        await talk.settle()
    device = await connect(http, lab, bob)
    assert await synced(device, redis, bob) == {conversation: 2}
    owner = await owner_of(lab, conversation)
    few = [5 if worker == owner else 0 for worker in range(WORKERS)]
    assert await asked_by(lab, device, 5) == few
    listed = await ask_http(lab, bob, "GET", "/v1/conversations")
    assert [one["conversation"] for one in listed[1]["conversations"]] == [conversation]
    owning = [bool(page["partitions"]) for page in await pages(lab)]
    assert sum(owning) > 1
    for _ in range(2):
        await redis.command("FLUSHALL")
        before = await questions(lab)
        assert await synced(device, redis, bob) == {conversation: 2}
        asked = [
            after > earlier for earlier, after in zip(before, await questions(lab), strict=True)
        ]
        assert asked == owning, "everybody who has a partition"
        assert await asked_by(lab, device, 5) == few
    assert await check_directory(redis, [conversation]) >= 1


async def test_a_user_without_conversations_costs_no_worker_anything_and_hears_of_the_first(
    lab: Stack, http: aiohttp.ClientSession, redis: RedisClient
) -> None:
    async with Talk(lab, "none") as talk:
        alice, zoe = await talk.join("alice"), talk.user("zoe")
        device = await connect(http, lab, zoe)
        assert await synced(device, redis, zoe) == {}
        assert await asked_by(lab, device, 5) == [0] * WORKERS
        await talk.say(alice, "zoe", ["hello"])
        assert await whole_heads(device) == {f"{talk.user('alice')}:{zoe}": 1}


async def test_conversations_begin_while_devices_sync(lab: Stack, redis: RedisClient) -> None:
    """To devices that are there and whose user is known, and to some that come just then; now and
    then Redis is emptied."""
    async with Talk(lab, "begin") as talk, AsyncExitStack() as exits:
        senders = [await talk.join(f"sender{number}") for number in range(2)]
        late: list[tuple[Client, str]] = []

        async def come(name: str, sender: int) -> None:
            client = Client(lab.gateway_urls[sender], token_of(lab, talk.user(name)), "late")
            await exits.enter_async_context(client)
            late.append((client, f"{talk.user(name)}:{talk.user(f'sender{sender}')}"))
            await client.online()

        for round_ in range(15):
            there, coming = (
                [f"{what}{round_}-{number}" for number in range(2)] for what in ("known", "new")
            )
            for known in await asyncio.gather(*(talk.join(name) for name in there)):
                await known.caught_up()
            if round_ % 5 == 4:
                await redis.command("FLUSHALL")
            said = [
                talk.say(sender, name, [f"{round_} {name}"])
                for names in (there, coming)
                for sender, name in zip(senders, names, strict=True)
            ]
            came = [
                come(name, sender) for names in (there, coming) for sender, name in enumerate(names)
            ]
            await asyncio.gather(*said, *came)
        await talk.settle()
        assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
        async with asyncio.timeout(20):
            for client, conversation in late:
                while client.device.cursors().get(conversation) != 1:
                    await asyncio.sleep(0.05)
        conversations = {message.conversation for message in talk.accepted}
        assert len(conversations) == 60
        assert await check_directory(redis, conversations) > 0
