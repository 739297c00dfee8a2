"""The routes port: one suite, in memory and on a real Redis."""

import asyncio
import time

import pytest

from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.memory import MemoryRoutes
from connectors.redis.routes import Lease, RedisRoutes, Route, Routes

LEASE = 0.3


@pytest.fixture(params=["memory", "redis"])
def routes(request: pytest.FixtureRequest, redis: RedisClient) -> Routes:
    return MemoryRoutes(time.monotonic, LEASE) if request.param == "memory" else RedisRoutes(redis, LEASE)


async def test_routes_of_many_users_at_once(routes: Routes) -> None:
    assert await routes.acquire_slot("n1", 2) == 0
    assert await routes.acquire_slot("n2", 2) == 1
    await routes.write_routes(
        [Route("alice", "phone", "n1", 0, 1), Route("alice", "web", "n2", 1, 1), Route("bob", "phone", "n1", 0, 1)]
    )
    found = await routes.lookup(["alice", "nobody", "bob"])
    assert {user: sorted(tuple(route) for route in devices) for user, devices in found.items()} == {
        "alice": [("phone", 0), ("web", 1)],
        "nobody": [],
        "bob": [("phone", 0)],
    }
    assert await routes.lookup([]) == {}


async def test_a_slot_is_held_by_one_node(routes: Routes) -> None:
    assert await routes.acquire_slot("n1", 1) == 0
    assert await routes.acquire_slot("n2", 1) is None
    assert await routes.nodes(1) == {"n1"}
    assert await routes.renew_slot("n2", 0) is Lease.TAKEN
    assert await routes.renew_slot("n1", 0) is Lease.HELD
    await routes.release_slot("n2", 0)
    assert await routes.renew_slot("n1", 0) is Lease.HELD
    await routes.release_slot("n1", 0)
    assert await routes.acquire_slot("n2", 1) == 0


async def test_a_lease_that_ran_out_still_routes_until_another_node_has_the_slot(routes: Routes) -> None:
    await routes.acquire_slot("n1", 1)
    await routes.write_routes([Route("alice", "phone", "n1", 0, 1)])
    await asyncio.sleep(LEASE * 1.5)
    assert [tuple(route) for route in (await routes.lookup(["alice"]))["alice"]] == [("phone", 0)]
    assert await routes.renew_slot("n1", 0) is Lease.VANISHED
    await asyncio.sleep(LEASE * 1.5)
    assert await routes.acquire_slot("n2", 1) == 0
    assert list((await routes.lookup(["alice"]))["alice"]) == []


async def test_a_route_is_taken_back_only_by_who_wrote_it(routes: Routes) -> None:
    await routes.acquire_slot("n1", 2)
    await routes.acquire_slot("n2", 2)
    await routes.write_routes([Route("alice", "phone", "n1", 0, 1)])
    await routes.write_routes([Route("alice", "phone", "n2", 1, 2)])
    await routes.remove_route(Route("alice", "phone", "n1", 0, 1))
    assert [tuple(route) for route in (await routes.lookup(["alice"]))["alice"]] == [("phone", 1)]
    await routes.remove_route(Route("alice", "phone", "n2", 1, 2))
    assert list((await routes.lookup(["alice"]))["alice"]) == []


async def test_a_later_session_keeps_its_route_and_what_is_gone_is_restored(routes: Routes) -> None:
    await routes.acquire_slot("n1", 2)
    await routes.acquire_slot("n2", 2)
    await routes.write_routes([Route("alice", "phone", "n2", 1, 20), Route("alice", "web", "n2", 1, 10)])
    late = [Route("alice", "phone", "n1", 0, 10), Route("alice", "web", "n1", 0, 11), Route("bob", "phone", "n1", 0, 10)]
    for _ in range(2):
        await routes.write_routes(late)
        found = await routes.lookup(["alice", "bob"])
        assert {user: sorted(tuple(route) for route in devices) for user, devices in found.items()} == {
            "alice": [("phone", 1), ("web", 0)],
            "bob": [("phone", 0)],
        }
    await routes.remove_route(late[0])
    assert ("phone", 1) in [tuple(route) for route in (await routes.lookup(["alice"]))["alice"]]


async def test_redis_away_is_said_so_soon() -> None:
    client = RedisClient("redis://127.0.0.1:1/0")
    away = RedisRoutes(client)
    began = time.monotonic()
    with pytest.raises(RedisUnavailable):
        await away.lookup(["alice"])
    assert time.monotonic() - began < 3
    await client.close()


async def test_a_lookup_comes_back_after_whatever_happened_to_its_connection(redis: RedisClient) -> None:
    routes = RedisRoutes(redis)
    await routes.acquire_slot("n1", 1)
    await routes.write_routes([Route("alice", "phone", "n1", 0, 1), Route("bob", "web", "n1", 0, 1)])
    assert list((await routes.lookup(["alice"]))["alice"]) == [("phone", 0)]
    await redis.redis.script_flush()
    assert list((await routes.lookup(["alice"]))["alice"]) == [("phone", 0)]
    cancelled = asyncio.create_task(routes.lookup(["alice"]))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert list((await routes.lookup(["bob"]))["bob"]) == [("web", 0)], "not the answer of the one before"
    await asyncio.gather(*(routes.lookup(["alice"]) for _ in range(20)))
    await redis.redis.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(RedisUnavailable):
        await routes.lookup(["alice"])
    assert list((await routes.lookup(["alice"]))["alice"]) == [("phone", 0)], "one failure tells of all the connections"


async def test_a_redis_that_began_anew_is_noticed_though_the_lease_is_there(redis: RedisClient) -> None:
    routes = RedisRoutes(redis)
    await routes.acquire_slot("n1", 1)
    assert await routes.renew_slot("n1", 0) is Lease.HELD
    routes._run = b"another"
    assert await routes.renew_slot("n1", 0) is Lease.VANISHED
    assert await routes.renew_slot("n1", 0) is Lease.HELD
