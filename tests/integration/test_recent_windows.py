"""Windows of recent messages on the real stack: a conversation that is opened again comes from
Redis, as long as Redis has it, and is the same without."""

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator

import pytest

from connectors.redis.client import RedisClient
from messenger_sdk import Client
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


def counted(stack: Stack, name: str) -> float:
    """A metric, added up over all gateways."""
    total = 0.0
    for url in stack.gateway_urls:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            found = re.search(rf"^messenger_gateway_{name} (\S+)$", answer.read().decode(), re.M)
        assert found is not None
        total += float(found[1])
    return total


async def opened(client: Client, conversation: str) -> list[str]:
    """The bodies of the newest page, which ends with the last message there is."""
    page = await client.history(conversation, limit=50)
    assert page.messages[-1].seq == page.known
    return [message.body for message in page.messages]


@pytest.fixture
async def redis(stack: Stack) -> AsyncIterator[RedisClient]:
    client = RedisClient(stack.redis)
    yield client
    await client.close()


async def test_a_conversation_that_is_opened_again_comes_from_redis(
    stack: Stack, redis: RedisClient
) -> None:
    async with Talk(stack, "window") as talk:
        alice, bob = await talk.join("alice"), await talk.join("bob")
        conversation = f"{talk.user('alice')}:{talk.user('bob')}"
        said = [f"message {n}" for n in range(1, 71)]
        await talk.say(alice, "bob", said)
        assert await opened(bob, conversation) == said[-50:]
        async with asyncio.timeout(60):
            while not (keys := await redis.command("KEYS", f"recent:*:{conversation}")):
                await asyncio.sleep(0.01)
        (key,) = keys
        more = [f"message {n}" for n in range(71, 81)]
        await talk.say(alice, "bob", more)  # through the node at which bob has opened it
        await asyncio.sleep(0.5)
        hits = counted(stack, "recent_hits_total")
        async with asyncio.timeout(60):
            while counted(stack, "recent_hits_total") < hits + 2:
                # a node that does not hear from Redis soon asks the worker
                assert await opened(bob, conversation) == (said + more)[-50:]
        assert await opened(alice, conversation) == (said + more)[-50:]
        assert 0 < await redis.command("PTTL", key) <= 3_600_000
        old = await redis.command("GET", key)
        for broken in (None, b"", b"1 2\nnonsense\n", old):
            if broken is None:
                await redis.command("UNLINK", key)
            else:
                await redis.command("SET", key, broken)
            for client in (alice, bob):
                assert await opened(client, conversation) == (said + more)[-50:]
        last = "and the last"
        await talk.say(alice, "bob", [last])
        await redis.command("SET", key, old)
        assert await opened(bob, conversation) == [*said, *more, last][-50:]
