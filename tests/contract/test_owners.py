"""The owners port: one suite, in memory and on a real Redis."""

import asyncio
import time

import pytest

from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.memory import MemoryOwners
from connectors.redis.owners import Owners, RedisOwners

CLAIM = 0.3


@pytest.fixture(params=["memory", "redis"])
def owners(request: pytest.FixtureRequest, redis: RedisClient) -> Owners:
    return MemoryOwners(time.monotonic, CLAIM) if request.param == "memory" else RedisOwners(redis, CLAIM)


async def test_the_latest_claim_counts(owners: Owners) -> None:
    await owners.claim([0, 1], "one:1")
    await owners.claim([1, 2], "two:2")
    assert await owners.find([0, 1, 2, 3]) == {0: "one:1", 1: "two:2", 2: "two:2"}
    assert await owners.find([]) == {}
    await owners.claim([], "three:3")


async def test_a_claim_runs_out(owners: Owners) -> None:
    await owners.claim([0], "one:1")
    await asyncio.sleep(CLAIM * 1.5)
    assert await owners.find([0]) == {}


async def test_redis_away_is_said_so() -> None:
    client = RedisClient("redis://127.0.0.1:1/0")
    for question in (RedisOwners(client).find([0]), RedisOwners(client).claim([0], "one:1")):
        with pytest.raises(RedisUnavailable):
            await question
    await client.close()
