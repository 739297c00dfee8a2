"""What ClickHouse's client raises when connections break, on a real server behind a proxy, in both
loops."""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from connectors.clickhouse.archive import ClickHouseArchive
from connectors.clickhouse.client import ClickHouseClient
from connectors.clickhouse.ports import ArchiveUnavailable
from connectors.dependency import Dependency
from schemas.archive import Row
from tests.harness.clickhouse import ClickHouse
from tests.harness.proxy import Proxy

pytestmark = pytest.mark.real
SECONDS = 2.0
Scenario = Callable[[ClickHouseArchive, Proxy, Dependency], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, clickhouse: ClickHouse) -> Run:
    async def behind_a_proxy(scenario: Scenario) -> None:
        with Proxy(clickhouse.port) as proxy:
            url = clickhouse.url("archiver").replace(str(clickhouse.port), str(proxy.port))
            dependency = Dependency("clickhouse")
            archive = ClickHouseArchive(ClickHouseClient(url, SECONDS, dependency))
            assert await archive.last_seq("nobody:noone") == 0
            await scenario(archive, proxy, dependency)
            await archive.close()

    return lambda scenario: request.param(behind_a_proxy(scenario))


def _row(seq: int) -> Row:
    return Row(
        "cut:away", seq + 1, bytes(16), "cut", "phone", "hello", 1_700_000_000_000, 1, 0, seq
    )


def test_a_reset_of_idle_connections_is_not_noticed(run: Run) -> None:
    async def scenario(archive: ClickHouseArchive, proxy: Proxy, _: Dependency) -> None:
        for number in range(5):
            await asyncio.gather(*(archive.last_seq("nobody:noone") for _ in range(4)))
            proxy.reset()
            await asyncio.sleep(0.05)
            assert await archive.last_seq("nobody:noone") == 0
            proxy.reset()
            await asyncio.sleep(0.05)
            await archive.insert([_row(number)], uuid.uuid4().hex)

    run(scenario)


def test_half_open_paused_and_late_connections_raise_unavailable(run: Run) -> None:
    async def scenario(archive: ClickHouseArchive, proxy: Proxy, dependency: Dependency) -> None:
        proxy.vanish()
        with pytest.raises(ArchiveUnavailable):
            await archive.last_seq("nobody:noone")
        assert "clickhouse is unreachable" in str(dependency.problem())
        assert await archive.last_seq("nobody:noone") == 0, "by a new connection"
        assert dependency.problem() is None

        proxy.pause()
        for outcome in await asyncio.gather(
            *(archive.last_seq("nobody:noone") for _ in range(5)), return_exceptions=True
        ):
            assert isinstance(outcome, ArchiveUnavailable), repr(outcome)
        proxy.resume()
        assert await archive.last_seq("nobody:noone") == 0

        proxy.answer_late(SECONDS + 0.3)
        with pytest.raises(ArchiveUnavailable):
            await archive.last_seq("nobody:noone")
        proxy.answer_late(0)
        for _ in range(20):
            assert await archive.first_seq("nobody:noone") == 0
            await asyncio.sleep(0.02)

    run(scenario)


def test_a_server_that_is_gone_is_unavailable(run: Run) -> None:
    async def scenario(archive: ClickHouseArchive, proxy: Proxy, dependency: Dependency) -> None:
        target, proxy.target = proxy.target, 1
        proxy.reset()
        for _ in range(3):
            with pytest.raises(ArchiveUnavailable):
                await archive.last_seq("nobody:noone")
        assert dependency.problem() is not None
        proxy.target = target
        assert await archive.last_seq("nobody:noone") == 0

    run(scenario)
