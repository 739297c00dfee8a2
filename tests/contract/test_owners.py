"""The owners port: one suite, in memory and on a real Redis."""

import asyncio
import time

import pytest

from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.memory import MemoryOwners
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.owners import Owners, RedisOwners

CLAIM = 0.3


@pytest.fixture(params=["memory", "redis"])
def owners(request: pytest.FixtureRequest, redis: RedisClient) -> Owners:
    return (
        MemoryOwners(MemoryRedis(MemoryRedisServer(time.monotonic)), "stage", CLAIM)
        if request.param == "memory"
        else RedisOwners(redis, "stage", CLAIM)
    )


async def test_who_took_a_partition_last_has_it(owners: Owners) -> None:
    for partition in (0, 1):
        await owners.take(partition, "one:1")
    await owners.take(1, "two:2")
    await owners.keep([0, 1, 2], "one:1")
    await owners.keep([1], "two:2")
    assert await owners.find([0, 1, 2, 3]) == {0: "one:1", 1: "two:2", 2: "one:1"}
    assert await owners.find([]) == {}
    await owners.keep([], "three:3")


async def test_a_claim_runs_out_unless_it_is_kept(owners: Owners) -> None:
    await owners.take(0, "one:1")
    await owners.take(1, "one:1")
    for _ in range(3):
        await asyncio.sleep(CLAIM / 2)
        await owners.keep([1], "one:1")
    assert await owners.find([0, 1]) == {1: "one:1"}
    await owners.keep([0], "two:2")
    assert await owners.find([0, 1]) == {0: "two:2", 1: "one:1"}


async def test_redis_away_is_said_so() -> None:
    client = RedisClient("redis://127.0.0.1:1/0")
    owners = RedisOwners(client, "stage")
    for question in (owners.find([0]), owners.take(0, "one:1"), owners.keep([0], "one:1")):
        with pytest.raises(RedisUnavailable):
            await question
    await client.close()
