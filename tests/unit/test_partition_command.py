"""What `messenger partition` makes of what the workers say of their partitions."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from connectors.redis.memory import MemoryOwners
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from ops.commands.partition import advice
from ops.partitions import CLAIMED, Place, look
from tests.harness.ports import free_base_port

Serve = Callable[[dict[str, Any]], Awaitable[str]]
RUNNING = {"partition": 0, "status": "running", "reason": "", "skips": None}
HALTED = {"partition": 1, "status": "halted", "reason": "a broken record", "skips": [3, 3]}


@pytest.fixture
def owners() -> dict[str, MemoryOwners]:
    redis = MemoryRedis(MemoryRedisServer(lambda: 0.0))
    return {stage: MemoryOwners(redis, stage) for stage in CLAIMED}


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a worker's page, and returns its address."""
    runners: list[web.AppRunner] = []

    async def start(page: dict[str, Any]) -> str:
        async def partitions(request: web.Request) -> web.Response:
            return web.json_response(page)

        app = web.Application()
        app.router.add_get("/partitions/", partitions)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        port = free_base_port()
        await web.TCPSite(runners[-1], "127.0.0.1", port).start()
        return f"127.0.0.1:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_a_worker_that_claims_one_partition_is_asked_about_all_that_it_has(
    owners: dict[str, MemoryOwners], serve: Serve
) -> None:
    worker = await serve({"sequencer": [RUNNING, HALTED]})
    archiver = await serve({"archiver-messages": [RUNNING]})
    await owners["sequencer"].take(0, worker)
    places = await look(owners, 2, [archiver])
    found = {(place.stage, place.number): place for place in places}
    assert found["sequencer", 0] == Place("sequencer", 0, worker, RUNNING)
    assert (found["sequencer", 1].state, found["sequencer", 1].skips) == ("halted", (3, 3))
    assert found["archiver-messages", 0].state == "running"
    assert found["cursors", 1].problem == "no worker says that it has it"
    assert [(place.stage, place.number) for place in places] == sorted(found)


async def test_of_two_workers_that_say_they_have_it_the_one_that_claims_it_counts(
    owners: dict[str, MemoryOwners], serve: Serve
) -> None:
    """The other one was paused, perhaps."""
    lost, has = (
        await serve({"cursors": [HALTED | {"partition": 0}]}),
        await serve({"cursors": [RUNNING]}),
    )
    await owners["cursors"].take(0, has)
    for others in ([lost], [lost, has]):
        places = {(one.stage, one.number): one for one in await look(owners, 1, others)}
        assert places["cursors", 0].worker == has


async def test_a_worker_that_does_not_answer_is_named(owners: dict[str, MemoryOwners]) -> None:
    await owners["presence"].take(0, f"127.0.0.1:{free_base_port()}")
    places = {place.stage: place for place in await look(owners, 1, [])}
    assert "its worker does not answer" in places["presence"].problem
    assert places["presence"].state == "unknown"


@pytest.mark.parametrize(
    ("stage", "report", "said"),
    [
        ("sequencer", HALTED, "or `messenger partition skip`"),
        ("sequencer", HALTED | {"skips": None}, "then `messenger partition resume`, or restart"),
        ("cursors", HALTED, "mend what the reason names, and restart its worker"),
        ("sequencer", {"status": "restoring"}, "wait"),
        ("sequencer", {}, "look at its worker"),
    ],
)
def test_it_says_what_to_do(stage: str, report: dict[str, Any], said: str) -> None:
    assert said in advice(Place(stage, 1, "here", report, "nobody has it"))
