"""The routes port: one suite, in memory and on a real Redis."""

import asyncio
import time
from collections.abc import Callable

import pytest

from connectors.redis.client import RedisClient, RedisUnavailable
from connectors.redis.memory import MemoryRoutes
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import (
    CLOCKS_MS,
    ROUTE_SECONDS,
    Lease,
    RedisRoutes,
    Route,
    Routes,
    Written,
    clock_ahead,
)

LEASE = 0.3
ROUNDING = 0.002
"""Redis counts in whole ms, by another clock than ours."""


@pytest.fixture(params=["memory", "redis"])
def routes(request: pytest.FixtureRequest, redis: RedisClient) -> Routes:
    return (
        MemoryRoutes(MemoryRedis(MemoryRedisServer(time.monotonic)), LEASE)
        if request.param == "memory"
        else RedisRoutes(redis, LEASE)
    )


Nodes = Callable[[float], Routes]
"""The routes as a node sees them whose clock is so many seconds fast."""


@pytest.fixture(params=["memory", "redis"])
def nodes(request: pytest.FixtureRequest, redis: RedisClient) -> Nodes:
    shared = MemoryRoutes(MemoryRedis(MemoryRedisServer(time.monotonic)), LEASE)
    return lambda fast: (
        shared
        if request.param == "memory"
        else RedisRoutes(redis, LEASE, lambda: time.monotonic() + fast)
    )


async def test_routes_of_many_users_at_once(routes: Routes) -> None:
    assert await routes.acquire_slot("n1", range(2)) == 0
    assert await routes.acquire_slot("n2", range(2)) == 1
    await routes.write_routes(
        [
            Route("alice", "phone", "n1", 0, 1),
            Route("alice", "web", "n2", 1, 1),
            Route("bob", "phone", "n1", 0, 1),
        ]
    )
    found = await routes.lookup(["alice", "nobody", "bob"])
    assert {user: sorted(tuple(route) for route in devices) for user, devices in found.items()} == {
        "alice": [("phone", 0), ("web", 1)],
        "nobody": [],
        "bob": [("phone", 0)],
    }
    assert await routes.lookup([]) == {}


async def test_a_slot_is_held_by_one_node(routes: Routes) -> None:
    assert await routes.acquire_slot("n1", range(1)) == 0
    assert await routes.acquire_slot("n2", range(1)) is None
    assert (await routes.nodes(1)).nodes == {"n1"}
    assert await routes.renew_slot("n2", 0) is Lease.TAKEN
    assert await routes.renew_slot("n1", 0) is Lease.HELD
    await routes.release_slot("n2", 0)
    assert await routes.renew_slot("n1", 0) is Lease.HELD
    await routes.release_slot("n1", 0)
    assert await routes.acquire_slot("n2", range(1)) == 0


async def test_how_long_all_leases_have_been_remembered(routes: Routes) -> None:
    await routes.acquire_slot("n1", range(2))
    began = time.monotonic()
    first = (await routes.nodes(2)).remembers
    assert first <= time.monotonic() - began + ROUNDING
    await asyncio.sleep(0.1)
    nodes, remembers = await routes.nodes(2)
    assert nodes == {"n1"}
    assert remembers <= time.monotonic() - began + ROUNDING
    assert remembers >= first + 0.1 - ROUNDING


async def test_a_redis_that_was_emptied_or_began_anew_remembers_nothing(redis: RedisClient) -> None:
    routes = RedisRoutes(redis)
    for emptied in (True, False):
        await routes.nodes(2)
        await asyncio.sleep(0.1)
        assert (await routes.nodes(2)).remembers >= 0.1 - ROUNDING
        began = time.monotonic()
        if emptied:
            await redis.command("FLUSHALL")
        else:
            await redis.command("SET", "remembers", "anotherrun 1")
        remembers = (await routes.nodes(2)).remembers
        assert remembers <= time.monotonic() - began + ROUNDING


async def test_a_lease_that_ran_out_still_routes_until_another_node_has_the_slot(
    routes: Routes,
) -> None:
    await routes.acquire_slot("n1", range(1))
    await routes.write_routes([Route("alice", "phone", "n1", 0, 1)])
    await asyncio.sleep(LEASE * 1.5)
    assert [tuple(route) for route in (await routes.lookup(["alice"]))["alice"]] == [("phone", 0)]
    assert await routes.renew_slot("n1", 0) is Lease.VANISHED
    await asyncio.sleep(LEASE * 1.5)
    assert await routes.acquire_slot("n2", range(1)) == 0
    assert list((await routes.lookup(["alice"]))["alice"]) == []


async def test_a_route_is_taken_back_only_by_who_wrote_it(routes: Routes) -> None:
    await routes.acquire_slot("n1", range(2))
    await routes.acquire_slot("n2", range(2))
    await routes.write_routes([Route("alice", "phone", "n1", 0, 1)])
    await routes.write_routes([Route("alice", "phone", "n2", 1, 2)])
    await routes.write_routes([Route("bob", device, "n1", 0, 1) for device in ("phone", "web")])
    taken_back = [
        Route("alice", "phone", "n1", 0, 1),
        Route("bob", "web", "n1", 0, 1),
        Route("eve", "web", "n1", 0, 1),
    ]
    await routes.remove_routes(taken_back)
    found = await routes.lookup(["alice", "bob"])
    assert {user: [tuple(route) for route in devices] for user, devices in found.items()} == {
        "alice": [("phone", 1)],
        "bob": [("phone", 0)],
    }
    await routes.remove_routes([Route("alice", "phone", "n2", 1, 2)])
    assert list((await routes.lookup(["alice"]))["alice"]) == []


async def test_a_later_session_keeps_its_route_and_what_is_gone_is_restored(routes: Routes) -> None:
    await routes.acquire_slot("n1", range(2))
    await routes.acquire_slot("n2", range(2))
    await routes.write_routes(
        [Route("alice", "phone", "n2", 1, 20), Route("alice", "web", "n2", 1, 10)]
    )
    late = [
        Route("alice", "phone", "n1", 0, 10),
        Route("alice", "web", "n1", 0, 11),
        Route("bob", "phone", "n1", 0, 10),
    ]
    for anew in (late[1:], []):
        written = await routes.write_routes(late)
        assert (list(written.anew), list(written.outdone), list(written.replaced)) == (anew, [], [])
        found = await routes.lookup(["alice", "bob"])
        assert {
            user: sorted(tuple(route) for route in devices) for user, devices in found.items()
        } == {
            "alice": [("phone", 1), ("web", 0)],
            "bob": [("phone", 0)],
        }
    await routes.remove_routes([late[0]])
    assert ("phone", 1) in [tuple(route) for route in (await routes.lookup(["alice"]))["alice"]]


async def test_how_many_other_devices_a_new_one_finds(routes: Routes) -> None:
    assert await routes.acquire_slot("n1", range(2)) == 0
    assert await routes.acquire_slot("n2", range(2)) == 1
    one, two, three = (
        Route("alice", device, node, slot, 10)
        for device, node, slot in (("one", "n1", 0), ("two", "n2", 1), ("three", "n1", 0))
    )
    bob = Route("bob", "one", "n1", 0, 10)
    assert await routes.write_routes([one, bob]) == Written([one, bob], [], [])
    found = await routes.write_routes([two, three])
    assert found == Written([two, three], [], [], {two: 1, three: 2})
    later = two._replace(since=20)
    assert await routes.write_routes([later, one]) == Written([later], [], []), "none is new"
    await routes.remove_routes([three])
    assert await routes.write_routes([three]) == Written([three], [], [], {three: 2})


async def test_of_two_sessions_of_a_device_on_two_nodes_the_earlier_is_known(
    routes: Routes,
) -> None:
    await routes.acquire_slot("n1", range(3))
    await routes.acquire_slot("n2", range(3))
    now = routes.now()
    earlier, later = Route("alice", "web", "n1", 0, now - 5000), Route("alice", "web", "n2", 1, now)
    assert await routes.write_routes([earlier]) == Written([earlier], [], [])
    assert await routes.write_routes([later]) == Written([later], [], [earlier])
    assert await routes.write_routes([later]) == Written([], [], [])
    assert await routes.write_routes([earlier]) == Written([], [earlier], [])
    together = later._replace(node="n1", slot=0, since=now + CLOCKS_MS // 2)
    assert await routes.write_routes([together]) == Written([together], [], []), (
        "it may as well be the earlier"
    )
    assert await routes.write_routes([later]) == Written([], [], [])


async def test_of_two_sessions_that_came_together_the_one_on_a_living_node_has_the_route(
    routes: Routes,
) -> None:
    """Else it would hear nothing until its device connects again."""
    await routes.acquire_slot("n1", range(2))
    await routes.acquire_slot("n2", range(2))
    now = routes.now()
    first, second = (
        Route("alice", "web", "n1", 0, now),
        Route("alice", "web", "n2", 1, now - CLOCKS_MS // 2),
    )
    assert await routes.write_routes([first]) == Written([first], [], [])
    assert await routes.write_routes([second]) == Written([], [], []), "both nodes live"
    await routes.release_slot("n1", 0)
    assert await routes.write_routes([second]) == Written([second], [], [])
    assert list((await routes.lookup(["alice"]))["alice"]) == [("web", 1)]
    assert await routes.acquire_slot("n1", range(1)) == 0
    assert await routes.write_routes([first]) == Written([first], [], []), "its node is back"


async def test_sessions_of_nodes_that_are_gone_and_of_the_same_node_need_not_be_told(
    routes: Routes,
) -> None:
    await routes.acquire_slot("n1", range(2))
    now = routes.now()
    gone, here = (
        Route("alice", "web", "n9", 1, now - 9000),
        Route("alice", "web", "n1", 0, now - 5000),
    )
    await routes.write_routes([gone])
    assert await routes.write_routes([here]) == Written([here], [], [])
    again = here._replace(since=now)
    assert await routes.write_routes([again]) == Written([again], [], [])
    await routes.write_routes([gone._replace(user="bob")])
    assert await routes.acquire_slot("n2", range(2)) == 1
    elsewhere = Route("bob", "web", "n1", 0, now)
    assert await routes.write_routes([elsewhere]) == Written([elsewhere], [], []), (
        "another node has the slot"
    )


@pytest.mark.parametrize("fast", [3600, -3600])
async def test_a_device_leaves_a_node_whose_clock_is_wrong_and_is_not_taken_back(
    nodes: Nodes, fast: float
) -> None:
    """By seconds that the first node's clock is fast. The device goes to the second, and the first
    is late with a hello."""
    wrong, right = nodes(fast), nodes(0)
    assert await wrong.acquire_slot("n1", range(2)) == 0
    assert await right.acquire_slot("n2", range(2)) == 1
    came = wrong.now()
    await wrong.write_routes([Route("alice", "web", "n1", 0, came)])
    await asyncio.sleep(0.02)
    there = [Route("alice", device, "n2", 1, right.now()) for device in ("web", "phone")]
    await right.write_routes(there)
    await wrong.write_routes([Route("alice", "phone", "n1", 0, came)])
    found = await right.lookup(["alice"])
    assert sorted(tuple(route) for route in found["alice"]) == [("phone", 1), ("web", 1)]
    await asyncio.sleep(0.02)
    await wrong.write_routes([Route("alice", "phone", "n1", 0, wrong.now())])
    found = await right.lookup(["alice"])
    assert sorted(tuple(route) for route in found["alice"]) == [("phone", 0), ("web", 1)], (
        "it came back"
    )


async def test_a_route_from_the_future_gives_way(routes: Routes) -> None:
    """Redis' clock is behind that of the Redis before."""
    await routes.acquire_slot("n1", range(2))
    await routes.acquire_slot("n2", range(2))
    await routes.write_routes([Route("alice", "phone", "n1", 0, routes.now() + 60_000)])
    await routes.write_routes([Route("alice", "phone", "n2", 1, routes.now())])
    assert [tuple(route) for route in (await routes.lookup(["alice"]))["alice"]] == [("phone", 1)]


async def test_a_slot_that_was_leased_before_its_node_heard_so_is_not_lost(routes: Routes) -> None:
    assert await routes.acquire_slot("n1", range(2)) == 0
    assert await routes.acquire_slot("n1", range(2)) == 0


def test_the_other_clock_by_answers_that_come_soon() -> None:
    assert clock_ahead(None, 10.0, 10.02, 70.01) == pytest.approx(60)
    assert clock_ahead(60.0, 20.0, 20.04, 80.03) == pytest.approx(60.01)
    assert clock_ahead(60.0, 20.0, 50.0, 80.0) == 60, (
        "this process was paused while it was answered"
    )
    assert clock_ahead(None, 20.0, 50.0, 80.0) == pytest.approx(45), "better than nothing"


async def test_redis_away_is_said_so_soon() -> None:
    client = RedisClient("redis://127.0.0.1:1/0")
    away = RedisRoutes(client)
    began = time.monotonic()
    with pytest.raises(RedisUnavailable):
        await away.lookup(["alice"])
    assert time.monotonic() - began < 3
    await client.close()


async def test_a_lookup_comes_back_after_whatever_happened_to_its_connection(
    redis: RedisClient,
) -> None:
    routes = RedisRoutes(redis)
    await routes.acquire_slot("n1", range(1))
    await routes.write_routes(
        [Route("alice", "phone", "n1", 0, 1), Route("bob", "web", "n1", 0, 1)]
    )
    assert list((await routes.lookup(["alice"]))["alice"]) == [("phone", 0)]
    await redis.command("SCRIPT", "FLUSH")
    assert list((await routes.lookup(["alice"]))["alice"]) == [("phone", 0)]
    cancelled = asyncio.create_task(routes.lookup(["alice"]))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert list((await routes.lookup(["bob"]))["bob"]) == [("web", 0)], (
        "not the answer of the one before"
    )
    await asyncio.gather(*(routes.lookup(["alice"]) for _ in range(20)))
    await redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.gather(*(routes.lookup(["alice"]) for _ in range(20)))


async def test_a_redis_that_began_anew_is_noticed_though_the_lease_is_there(
    redis: RedisClient,
) -> None:
    routes = RedisRoutes(redis)
    await routes.acquire_slot("n1", range(1))
    assert await routes.renew_slot("n1", 0) is Lease.HELD
    routes._run = b"another"
    assert await routes.renew_slot("n1", 0) is Lease.VANISHED
    assert await routes.renew_slot("n1", 0) is Lease.HELD


async def test_routes_of_dead_nodes_do_not_pile_up_while_a_device_lives(redis: RedisClient) -> None:
    routes = RedisRoutes(redis)
    now = int(time.time() * 1000)
    old = now - 2 * ROUTE_SECONDS * 1000
    for number in range(20):
        node = f"n{number}"
        assert await routes.acquire_slot(node, range(1)) == 0
        await routes.write_routes(
            [
                Route("alice", f"phone-{number}", node, 0, now),
                Route("alice", f"web-{number}", node, 0, now),
            ]
        )
        await routes.release_slot(node, 0)
    assert await redis.command("HLEN", "routes:alice") <= 4
    await redis.command("HSET", "routes:alice", "ancient", f"n77 7 {old}", "lapsed", f"n78 8 {now}")
    assert await routes.acquire_slot("last", range(1)) == 0
    await routes.write_routes([Route("alice", "phone", "last", 0, now)])
    assert set(await redis.command("HKEYS", "routes:alice")) == {b"phone", b"lapsed"}, (
        "a lease that has merely run out costs no route"
    )
