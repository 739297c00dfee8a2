"""Lookups of several partitions are one call, and each gets what it has asked for or the error."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from agents.route_lookups import Found, RouteLookups
from connectors.redis.client import RedisUnavailable
from connectors.redis.memory import MemoryRoutes
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import Route
from tests.harness.virtual import virtual_time


class CountedRoutes(MemoryRoutes):
    """Counts the calls; each takes a second."""

    def __init__(self, redis: MemoryRedis) -> None:
        super().__init__(redis)
        self.calls: list[Sequence[str]] = []

    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        self.calls.append(users)
        await asyncio.sleep(1)
        return await super().lookup(users)


async def rig() -> tuple[MemoryRedis, CountedRoutes]:
    redis = MemoryRedis(MemoryRedisServer(lambda: 0.0))
    routes = CountedRoutes(redis)
    await routes.write_routes([Route(user, "phone", "n", 3, 0) for user in ("alice", "bob")])
    return redis, routes


def slots(found: Found, user: str) -> list[int]:
    return [slot for _, slot in found[user]]


@virtual_time
async def test_lookups_of_one_turn_are_one_call() -> None:
    _, routes = await rig()
    lookups = RouteLookups(routes)
    one, two = await asyncio.gather(
        lookups.lookup(["alice", "carol"]), lookups.lookup(["bob", "alice"])
    )
    assert routes.calls == [["alice", "carol", "bob"]]
    assert (slots(one, "alice"), slots(one, "carol"), slots(two, "bob")) == ([3], [], [3])


@virtual_time
async def test_what_is_asked_while_a_call_is_under_way_is_another_call() -> None:
    """Its answer may be older than the question."""
    _, routes = await rig()
    lookups = RouteLookups(routes)
    first = asyncio.create_task(lookups.lookup(["alice"]))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(lookups.lookup(["alice"]))
    await asyncio.gather(first, second)
    assert routes.calls == [["alice"], ["alice"]]


@virtual_time
async def test_everybody_who_has_joined_hears_that_redis_is_away() -> None:
    redis, routes = await rig()
    lookups = RouteLookups(routes, 0.01)
    redis.connected = False
    for result in await asyncio.gather(
        lookups.lookup(["alice"]), lookups.lookup(["bob"]), return_exceptions=True
    ):
        assert isinstance(result, RedisUnavailable)


@virtual_time
@pytest.mark.parametrize("after", [0.0, 0.5])
async def test_who_has_joined_asks_again_if_the_first_is_cancelled(after: float) -> None:
    _, routes = await rig()
    lookups = RouteLookups(routes, 0.1)
    first = asyncio.create_task(lookups.lookup(["alice"]))
    second = asyncio.create_task(lookups.lookup(["bob"]))
    third = asyncio.create_task(lookups.lookup(["bob"]))
    await asyncio.sleep(after)
    third.cancel()
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(RedisUnavailable):
        await second
    assert slots(await lookups.lookup(["bob"]), "bob") == [3]
