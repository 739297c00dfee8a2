"""What becomes of a call whose connection breaks, on a real Redis behind a proxy, in both loops."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from connectors.dependency import Dependency
from connectors.redis.client import (
    CALL_SECONDS,
    MAX_CONNECTIONS,
    RedisClient,
    RedisUnavailable,
)
from connectors.redis.nodes import RedisNodes
from connectors.redis.owners import RedisOwners
from connectors.redis.routes import Lease, RedisRoutes, Route
from connectors.redis.watchers import RedisWatchers
from tests.harness.proxy import Proxy

Scenario = Callable[[RedisClient, Proxy], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, redis_port: int) -> Run:
    async def behind_a_proxy(scenario: Scenario) -> None:
        with Proxy(redis_port) as proxy:
            client = RedisClient(f"redis://127.0.0.1:{proxy.port}/0")
            await client.command("FLUSHALL")
            await scenario(client, proxy)
            await client.close()

    return lambda scenario: request.param(behind_a_proxy(scenario))


def _methods(client: RedisClient) -> list[Callable[[], Awaitable[Any]]]:
    """Every method of the ports, each as one call."""
    routes, owners, nodes = RedisRoutes(client), RedisOwners(client, "cursors"), RedisNodes(client)
    watchers = RedisWatchers(client)
    route = Route("alice", "phone", "n1", 0, 1)
    return [
        lambda: routes.lookup(["alice"]),
        lambda: routes.acquire_slot("n1", range(2)),
        lambda: routes.renew_slot("n1", 0),
        lambda: routes.nodes(2),
        lambda: routes.write_routes([route]),
        lambda: routes.remove_routes([route]),
        lambda: routes.release_slot("n1", 0),
        lambda: owners.take(0, "127.0.0.1:1"),
        lambda: owners.keep([0, 1], "127.0.0.1:1"),
        lambda: owners.find([0, 1]),
        lambda: nodes.announce(0, "http://127.0.0.1:1"),
        lambda: nodes.find(2),
        lambda: watchers.watch(["alice"], 0),
        lambda: watchers.find(["alice"]),
    ]


async def _fill_pool(client: RedisClient) -> None:
    await asyncio.gather(*(client.command("PING") for _ in range(MAX_CONNECTIONS)))


def test_a_reset_of_idle_connections_is_not_noticed(run: Run) -> None:
    async def scenario(client: RedisClient, proxy: Proxy) -> None:
        for method in _methods(client):
            await _fill_pool(client)
            proxy.reset()
            await asyncio.sleep(0.01)
            await method()

    run(scenario)


def test_a_reset_while_calls_are_under_way_raises_one_error_or_none(run: Run) -> None:
    async def scenario(client: RedisClient, proxy: Proxy) -> None:
        for method in _methods(client):
            proxy.pause()
            calls = [asyncio.ensure_future(method()) for _ in range(5)]
            await asyncio.sleep(0.02)
            proxy.reset()
            proxy.resume()
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert not isinstance(outcome, BaseException) or isinstance(
                    outcome, RedisUnavailable
                ), repr(outcome)
        assert await client.command("PING") == b"PONG"

    run(scenario)


def test_a_lease_that_vanished_is_reported_though_the_answer_gets_lost(run: Run) -> None:
    """Without its routes a node receives nothing, and it writes them only when it is told."""

    async def scenario(client: RedisClient, proxy: Proxy) -> None:
        routes = RedisRoutes(client)
        for lost_after in (0.0, 0.3, 0.6, 0.9, 1.2):
            assert await routes.acquire_slot("n1", range(1)) == 0
            await client.command("FLUSHALL")
            proxy.answer_late(0.25)
            renewal = asyncio.ensure_future(routes.renew_slot("n1", 0))
            await asyncio.sleep(lost_after)
            proxy.reset()
            proxy.answer_late(0)
            told: list[Any] = list(await asyncio.gather(renewal, return_exceptions=True))
            for _ in range(3):
                told.append(await routes.renew_slot("n1", 0))
            assert Lease.VANISHED in told, told

    run(scenario)


def test_a_half_open_connection_costs_one_timeout(run: Run) -> None:
    async def scenario(client: RedisClient, proxy: Proxy) -> None:
        await _fill_pool(client)
        proxy.vanish()
        began = time.monotonic()
        with pytest.raises(RedisUnavailable, match="no answer within"):
            await client.command("PING")
        assert time.monotonic() - began < CALL_SECONDS + 0.5
        began = time.monotonic()
        await _fill_pool(client)
        assert time.monotonic() - began < 0.5, "all connections were half-open, and all are new"

    run(scenario)


def test_a_pause_raises_one_error_and_passes(run: Run) -> None:
    async def scenario(client: RedisClient, proxy: Proxy) -> None:
        proxy.pause()
        outcomes = await asyncio.gather(
            *(method() for method in _methods(client)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {RedisUnavailable}, outcomes
        proxy.resume()
        for method in _methods(client):
            await method()

    run(scenario)


def test_a_late_answer_is_not_the_next_calls_answer(run: Run) -> None:
    async def scenario(client: RedisClient, proxy: Proxy) -> None:
        proxy.answer_late(CALL_SECONDS + 0.2)
        calls = [client.command("ECHO", f"late {n}") for n in range(5)]
        await asyncio.gather(*calls, return_exceptions=True)
        proxy.answer_late(0)
        for n in range(50):
            assert await client.command("ECHO", f"now {n}") == f"now {n}".encode()
            await asyncio.sleep(0.01)

    run(scenario)


def test_a_cancelled_calls_answer_is_not_the_next_calls_answer(run: Run) -> None:
    async def scenario(client: RedisClient, proxy: Proxy) -> None:
        for n in range(20):
            call = asyncio.ensure_future(client.command("ECHO", f"cancelled {n}"))
            for _ in range(n % 5):
                await asyncio.sleep(0)
            call.cancel()
            assert await client.command("ECHO", f"next {n}") == f"next {n}".encode()

    run(scenario)


def test_many_calls_at_once_share_few_connections(run: Run) -> None:
    async def scenario(client: RedisClient, proxy: Proxy) -> None:
        answers = await asyncio.gather(*(client.command("ECHO", f"{n}") for n in range(500)))
        assert answers == [f"{n}".encode() for n in range(500)]
        assert proxy.accepted <= MAX_CONNECTIONS

    run(scenario)


def test_a_large_answer_comes_whole(run: Run) -> None:
    async def scenario(client: RedisClient, proxy: Proxy) -> None:
        text = "".join(map(str, range(500_000)))
        assert await client.command("ECHO", text) == text.encode()
        assert await client.command("ECHO", "next") == b"next"

    run(scenario)


def test_what_redis_refuses_is_unavailable_and_keeps_the_connection(run: Run) -> None:
    async def scenario(client: RedisClient, proxy: Proxy) -> None:
        before = proxy.accepted
        for _ in range(3):
            with pytest.raises(RedisUnavailable, match="unknown command"):
                await client.command("NONSENSE")
        assert proxy.accepted == before

    run(scenario)


def test_an_outage_is_reported_once_and_its_end_too(
    run: Run, redis_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(_: RedisClient, proxy: Proxy) -> None:
        dependency = Dependency("redis")
        client = RedisClient(f"redis://127.0.0.1:{proxy.port}/0", dependency)
        await client.command("PING")
        proxy.target = 1
        proxy.reset()
        for _round in range(20):
            with pytest.raises(RedisUnavailable):
                await client.command("PING")
        assert str(dependency.problem()).startswith("redis is unreachable for ")
        proxy.target = redis_port
        await client.command("PING")
        assert dependency.problem() is None
        await client.close()

    run(scenario)
    lines = [r.getMessage() for r in caplog.records if r.name == "connectors.dependency"]
    assert len(lines) == 2, lines
    assert lines[0].startswith("redis is unreachable: ")
    assert lines[1].startswith("redis is reachable again after ")


def test_an_address_that_is_none_is_refused_at_once() -> None:
    for url in ("nonsense", "http://127.0.0.1:1", "redis://127.0.0.1:1/0?nonsense=1"):
        with pytest.raises(ValueError, match="not an address like redis://"):
            RedisClient(url)
