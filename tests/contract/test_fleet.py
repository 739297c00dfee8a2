"""The fleet port: one suite, in memory and on a real Redis."""

import asyncio
import time

import pytest

from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.fleet import Fleet, RedisFleet
from connectors.redis.memory import MemoryFleet
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer


@pytest.fixture(params=["memory", "redis"])
def fleet(request: pytest.FixtureRequest, redis: RedisClient) -> Fleet:
    return (
        MemoryFleet(MemoryRedis(MemoryRedisServer(time.monotonic)))
        if request.param == "memory"
        else RedisFleet(redis)
    )


async def test_what_a_process_said_last_is_kept_with_its_age_until_it_leaves(fleet: Fleet) -> None:
    assert await fleet.all() == {}
    await fleet.tell("worker one", b"old")
    await fleet.tell("worker two", b"two words")
    await asyncio.sleep(0.3)
    await fleet.tell("worker one", b"new")
    told = await fleet.all()
    assert {process: said.report for process, said in told.items()} == {
        "worker one": b"new",
        "worker two": b"two words",
    }
    assert told["worker one"].age < 0.3 <= told["worker two"].age < 5
    assert 0.2 < told["worker one"].time - told["worker two"].time < 5
    await fleet.leave("worker two")
    assert list(await fleet.all()) == ["worker one"]


async def test_redis_away_is_said_so() -> None:
    client = RedisClient("redis://127.0.0.1:1/0")
    fleet = RedisFleet(client)
    for question in (fleet.all(), fleet.tell("a", b""), fleet.leave("a")):
        with pytest.raises(RedisUnavailable):
            await question
    await client.close()
