"""The nodes port: one suite, in memory and on a real Redis."""

import asyncio
import time

import pytest

from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.memory import MemoryNodes
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.nodes import Nodes, RedisNodes

SECONDS = 0.3


@pytest.fixture(params=["memory", "redis"])
def nodes(request: pytest.FixtureRequest, redis: RedisClient) -> Nodes:
    return (
        MemoryNodes(MemoryRedis(MemoryRedisServer(time.monotonic)), SECONDS)
        if request.param == "memory"
        else RedisNodes(redis, SECONDS)
    )


async def test_who_is_announced_is_found_until_it_runs_out(nodes: Nodes) -> None:
    await nodes.announce(0, "http://one")
    await nodes.announce(2, "http://two")
    await nodes.announce(2, "http://three")
    assert await nodes.find(4) == {0: "http://one", 2: "http://three"}
    assert await nodes.find(1) == {0: "http://one"}
    await asyncio.sleep(SECONDS / 2)
    await nodes.announce(0, "http://one")
    await asyncio.sleep(SECONDS * 0.75)
    assert await nodes.find(4) == {0: "http://one"}


async def test_redis_away_is_said_so() -> None:
    client = RedisClient("redis://127.0.0.1:1/0")
    nodes = RedisNodes(client)
    for question in (nodes.find(2), nodes.announce(0, "http://one")):
        with pytest.raises(RedisUnavailable):
            await question
    await client.close()
