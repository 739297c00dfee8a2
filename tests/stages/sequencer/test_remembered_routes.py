"""When what a partition remembers of routes counts (R11.4)."""

import asyncio
from collections.abc import Mapping, Sequence

from agents.sequencer import remembered_routes as module
from agents.sequencer.remembered_routes import KEPT_SECONDS, RememberedRoutes
from connectors.kafka.memory import MemoryKafka
from connectors.redis.memory import MemoryRoutes
from connectors.redis.memory_server import MemoryRedis
from connectors.redis.routes import Route
from schemas.events import AnswerDelivered
from schemas.worker_api import HeadsQuestion
from streams.stage import SESSION_SECONDS
from tests.harness.sequencing import SLOT, Make, Run, ask, pushed, send
from tests.harness.stage_run import delivered

OTHER = SLOT - 1
"""The slot of another node."""


async def _talked(kafka: MemoryKafka, redis: MemoryRedis, run: Run) -> None:
    """Alice has written to bob, so their routes are remembered. Then bob's phone goes to another
    node."""
    await run.running()
    routes = MemoryRoutes(redis)
    await routes.write_routes([Route("alice", "phone", "node", SLOT, 0)])
    await _sends(kafka, run, 1)
    assert pushed(kafka) == [1]
    await routes.write_routes([Route("bob", "phone", "other", OTHER, 1)])


async def _sends(kafka: MemoryKafka, run: Run, ordinal: int) -> None:
    send(kafka, ordinal, slot=SLOT)
    await run.done(ordinal)


async def test_routes_are_looked_up_again_when_they_are_old(
    kafka: MemoryKafka, redis: MemoryRedis, make: Make
) -> None:
    async with make() as run:
        await _talked(kafka, redis, run)
        await _sends(kafka, run, 2)
        assert pushed(kafka) == [1, 2], "where he was"
        await asyncio.sleep(KEPT_SECONDS)
        await _sends(kafka, run, 3)
        assert pushed(kafka) == [1, 2]
        assert len(delivered(kafka, OTHER)) == 1


async def test_whoever_asks_what_is_new_gets_what_comes_later(
    kafka: MemoryKafka, redis: MemoryRedis, make: Make
) -> None:
    async with make() as run:
        await _talked(kafka, redis, run)
        await ask(run, "/sequencer/heads/", [HeadsQuestion("bob", "", "", {0: {}})])
        await _sends(kafka, run, 2)
        assert pushed(kafka) == [1]
        assert len(delivered(kafka, OTHER)) == 1


async def test_what_is_remembered_does_not_count_while_another_worker_may_answer(
    kafka: MemoryKafka, redis: MemoryRedis, make: Make
) -> None:
    async with make() as run:
        await _talked(kafka, redis, run)
        run.stage.confirmed_at = lambda: asyncio.get_running_loop().time() - SESSION_SECONDS
        await _sends(kafka, run, 2)
        assert pushed(kafka) == [1]
        assert len(delivered(kafka, OTHER)) == 1


async def test_a_device_that_sends_from_another_node_hears_of_it_there(
    kafka: MemoryKafka, redis: MemoryRedis, make: Make
) -> None:
    """It sends at once, before it is told what is new; first what it has sent already."""
    async with make() as run:
        await _talked(kafka, redis, run)
        await MemoryRoutes(redis).write_routes([Route("alice", "phone", "other", OTHER, 1)])
        for done, ordinal in ((2, 1), (3, 2)):
            send(kafka, ordinal, slot=OTHER)
            await run.done(done)
        answers = [event for event in delivered(kafka, OTHER) if type(event) is AnswerDelivered]
        assert len(answers) == 2


class Redis:
    """Answers when it is told to. `slot`: where everybody is."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []
        self.slot = 1
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        self.asked.append(users)
        found = {user: [("phone", self.slot)] for user in users}
        await self.goes_on.wait()
        return found


async def test_what_was_being_looked_up_when_it_was_forgotten_is_not_remembered() -> None:
    redis = Redis()
    routes = RememberedRoutes(redis.lookup, lambda: True, lambda: 0.0)
    redis.goes_on.clear()
    looking = asyncio.create_task(routes.lookup(["alice", "bob"]))
    await asyncio.sleep(0)
    redis.slot = 2
    routes.forget("bob")
    redis.goes_on.set()
    assert await looking == {"alice": [("phone", 1)], "bob": [("phone", 1)]}
    assert await routes.lookup(["alice"]) == {"alice": [("phone", 1)]}
    assert len(redis.asked) == 1
    assert await routes.lookup(["bob", "alice"]) == {
        "alice": [("phone", 2)],
        "bob": [("phone", 2)],
    }


async def test_so_many_users_are_remembered_and_no_more() -> None:
    redis = Redis()
    routes = RememberedRoutes(redis.lookup, lambda: True, lambda: 0.0)
    most = module.MAX_USERS
    users = [str(number) for number in range(most + 1)]
    for user in users[:most]:
        await routes.lookup([user])
    await routes.lookup(users[:most])
    assert len(redis.asked) == most
    await routes.lookup(users[most:])
    await routes.lookup(users[:1])
    assert redis.asked[most:] == [users[most:], users[:1]]
