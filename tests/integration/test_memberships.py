"""What a device asks costs the worker that knows where its user has conversations, and those that
have them, not as many as there are."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from connectors.redis.client import RedisClient
from messenger_sdk import Client
from schemas.ids import partition_of
from tests.harness.device import Device, ask_http, connect, token_of, whole_heads
from tests.harness.memberships import PARTITIONS, check_memberships
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


async def all_said(lab: Stack) -> None:
    """Until every partition has said all its members, some 10 s after the start."""
    async with asyncio.timeout(60):
        while True:
            found = [await asyncio.to_thread(lab.memberships, worker) for worker in range(WORKERS)]
            said = [one["said"] for page in found if page for one in page["partitions"]]
            if said == [PARTITIONS] * PARTITIONS:
                return
            await asyncio.sleep(0.1)


async def asked_by(lab: Stack, device: Device, times: int) -> list[int]:
    """Questions of as many syncs, by worker."""
    before = await questions(lab)
    for _ in range(times):
        await whole_heads(device)
    return [after - earlier for earlier, after in zip(before, await questions(lab), strict=True)]


async def test_a_sync_asks_only_who_has_the_users_conversations_whatever_became_of_redis(
    lab: Stack, http: aiohttp.ClientSession, redis: RedisClient
) -> None:
    async with Talk(lab, "few") as talk:
        alice, bob = talk.user("alice"), talk.user("bob")
        conversation = f"{alice}:{bob}"
        await talk.say(await talk.join("alice"), "bob", ["one", "two"])
        await talk.settle()
    await all_said(lab)
    device = await connect(http, lab, bob)
    assert await whole_heads(device) == {conversation: 2}
    owner = await owner_of(lab, conversation)
    few = [worker == owner for worker in range(WORKERS)]
    assert [asked > 0 for asked in await asked_by(lab, device, 5)] == few
    listed = await ask_http(lab, bob, "GET", "/v1/conversations")
    assert [one["conversation"] for one in listed[1]["conversations"]] == [conversation]
    for _ in range(2):
        before = await questions(lab)
        await redis.command("FLUSHALL")
        assert await whole_heads(device) == {conversation: 2}
        after = await questions(lab)
        assert [a > b for a, b in zip(after, before, strict=True)] == few
    await asyncio.to_thread(check_memberships, lab.kafka, [conversation])


async def test_a_user_without_conversations_costs_no_worker_anything_and_hears_of_the_first(
    lab: Stack, http: aiohttp.ClientSession, redis: RedisClient
) -> None:
    await all_said(lab)
    async with Talk(lab, "none") as talk:
        alice, zoe = await talk.join("alice"), talk.user("zoe")
        device = await connect(http, lab, zoe)
        assert await whole_heads(device) == {}
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
        async with asyncio.timeout(60):
            for client, conversation in late:
                while client.device.cursors().get(conversation) != 1:
                    await asyncio.sleep(0.05)
        conversations = {message.conversation for message in talk.accepted}
        assert len(conversations) == 60
        await asyncio.to_thread(check_memberships, lab.kafka, conversations)
