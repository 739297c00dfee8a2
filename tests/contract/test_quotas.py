"""The quotas port: one suite, in memory and on a real Redis."""

import asyncio
import time

import pytest

from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.memory import MemoryQuotas
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.quotas import Charge, RedisQuotas, SharedQuotas

SLOW = 0.001
"""Tokens a second: none, as far as a test can see."""


@pytest.fixture(params=["memory", "redis"])
def quotas(request: pytest.FixtureRequest, redis: RedisClient) -> SharedQuotas:
    return (
        MemoryQuotas(MemoryRedis(MemoryRedisServer(time.monotonic)))
        if request.param == "memory"
        else RedisQuotas(redis)
    )


async def charge(quotas: SharedQuotas, *charges: Charge) -> list[int]:
    return [round(level) for level in await quotas.charge(charges)]


async def test_a_bucket_is_full_at_first_and_pays_for_all(quotas: SharedQuotas) -> None:
    assert await charge(quotas, Charge("a", 4, SLOW, 10), Charge("b", 1, SLOW, 5)) == [6, 4]
    assert await charge(quotas, Charge("a", 4, SLOW, 10), Charge("a", 1, SLOW, 10)) == [2, 1]
    assert await charge(quotas) == []


async def test_a_bucket_fills_again_and_no_further_than_it_holds(quotas: SharedQuotas) -> None:
    await quotas.charge([Charge("a", 10, 100, 10)])
    await asyncio.sleep(0.3)
    assert await charge(quotas, Charge("a", 4, 100, 10)) == [6]


async def test_a_debt_is_no_more_than_what_a_bucket_holds(quotas: SharedQuotas) -> None:
    assert await charge(quotas, Charge("a", 1000, SLOW, 10)) == [-10]


async def test_redis_away_is_said_so() -> None:
    client = RedisClient("redis://127.0.0.1:1/0")
    with pytest.raises(RedisUnavailable):
        await RedisQuotas(client).charge([Charge("a", 1, 1, 1)])
    server = MemoryRedisServer(time.monotonic)
    server.up = False
    with pytest.raises(RedisUnavailable):
        await MemoryQuotas(MemoryRedis(server)).charge([Charge("a", 1, 1, 1)])
