"""The watchers port: one suite, in memory and on a real Redis."""

import asyncio
import time

import pytest

from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.memory import MemoryWatchers
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.watchers import RedisWatchers, Watchers

WATCH = 0.4


@pytest.fixture(params=["memory", "redis"])
def watchers(request: pytest.FixtureRequest, redis: RedisClient) -> Watchers:
    return (
        MemoryWatchers(MemoryRedis(MemoryRedisServer(time.monotonic)), WATCH)
        if request.param == "memory"
        else RedisWatchers(redis, WATCH)
    )


async def found(watchers: Watchers, *users: str) -> list[list[int]]:
    answer = await watchers.find(users)
    return [sorted(answer[user]) for user in users]


async def test_slots_that_watch_are_found(watchers: Watchers) -> None:
    await watchers.watch(["alice", "bob"], 1)
    await watchers.watch(["bob"], 3)
    await watchers.watch(["bob"], 3)
    await watchers.watch([], 4)
    assert await found(watchers, "alice", "bob", "carol") == [[1], [1, 3], []]
    assert await found(watchers) == []


async def test_who_does_not_say_it_again_watches_no_more(watchers: Watchers) -> None:
    await watchers.watch(["alice"], 1)
    await watchers.watch(["alice"], 2)
    for _ in range(3):
        await asyncio.sleep(WATCH / 2)
        await watchers.watch(["alice"], 2)
    assert await found(watchers, "alice") == [[2]]
    await asyncio.sleep(WATCH * 1.5)
    assert await found(watchers, "alice") == [[]]


async def test_redis_away_is_said_so() -> None:
    client = RedisClient("redis://127.0.0.1:1/0")
    watchers = RedisWatchers(client)
    for question in (watchers.find(["alice"]), watchers.watch(["alice"], 1)):
        with pytest.raises(RedisUnavailable):
            await question
    await client.close()
