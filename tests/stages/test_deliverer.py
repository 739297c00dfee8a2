"""Delivering from memory and from the log (R4, R5): in order, nothing forgotten, whatever is
away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

from agents.rules.batch import Batch
from agents.sequencer import deliverer as module
from agents.sequencer.deliverer import Deliverer
from connectors.kafka.record import Record
from connectors.redis.client import RedisUnavailable
from schemas.codec import decode_deliveries, encode_event
from schemas.events import MessageDelivered
from tests.stages.test_appender import batches


class World:
    """Routes everybody to slot 0. `away`: Redis does not answer. `failing`: so many deliveries
    fail."""

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self.delivered: list[int] = []
        self.away = False
        self.failing = 0
        self.lookups = 0
        self.begun: list[str] = []

    async def lookup(
        self, users: Sequence[str], begun: Sequence[str]
    ) -> Mapping[str, Sequence[tuple[str, int]]]:
        await asyncio.sleep(0)
        self.lookups += 1
        if self.away:
            raise RedisUnavailable("away")
        self.begun += begun
        return {user: [("one", 0)] for user in users}

    def deliver(self, slot: int, value: bytes, report: Callable[[bool], None]) -> None:
        if self.failing:
            self.failing -= 1
            report(False)
            return
        events = decode_deliveries(value).events
        self.delivered += [event.seq for event in events if isinstance(event, MessageDelivered)]
        report(True)

    async def read_log(self, start: int) -> AsyncIterator[list[Record]]:
        await asyncio.sleep(0)
        yield [
            Record(0, offset, 0, value) for offset, value in enumerate(self.log) if offset >= start
        ]

    def append(self, batch: Batch, deliverer: Deliverer) -> None:
        self.log.append(encode_event(batch.log_record(-1)))
        deliverer.landed(len(self.log) - 1, batch.last)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_everything_is_delivered_at_once_and_in_order() -> None:
    world = World()
    deliverer = Deliverer(world, -1, -1, 0)
    running = asyncio.create_task(deliverer.run())
    for batch in batches(20):
        deliverer.offer(batch, 100)
    await until(lambda: deliverer.delivered == 19)
    assert world.delivered == list(range(1, 21))
    assert world.lookups < 20, "what queued goes out with one lookup"
    assert world.begun == ["alice", "bob"], "the conversation began once"
    running.cancel()


async def test_a_new_owner_delivers_from_the_log_what_is_owed_and_goes_on_from_memory() -> None:
    world = World()
    made = batches(10)
    deliverer = Deliverer(world, position=7, delivered=3, log_from=2)
    for batch in made[:8]:
        world.log.append(encode_event(batch.log_record(-1)))
    running = asyncio.create_task(deliverer.run())
    for batch in made[8:]:
        deliverer.offer(batch, 100)
    await until(lambda: deliverer.delivered == 9)
    assert world.delivered == [5, 6, 7, 8, 9, 10]
    assert deliverer.redelivered == 4
    running.cancel()


async def test_what_began_is_said_with_the_look_for_routes_from_the_log_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_FIRST_RETRY", 0.001)
    world = World()
    world.away = True
    (batch,) = batches(1)
    world.log.append(encode_event(batch.log_record(-1)))
    deliverer = Deliverer(world, position=0, delivered=-1, log_from=0)
    running = asyncio.create_task(deliverer.run())
    await until(lambda: deliverer.waiting_for_redis)
    assert world.begun == []
    world.away = False
    await until(lambda: deliverer.delivered == 0)
    assert world.begun == ["alice", "bob"]
    running.cancel()


async def test_redis_away_costs_no_memory_and_nothing_is_forgotten() -> None:
    world = World()
    world.away = True
    deliverer = Deliverer(world, -1, -1, 0)
    running = asyncio.create_task(deliverer.run())
    for batch in batches(50):
        deliverer.offer(batch, module.MAX_LIVE_BYTES // 5)
        world.append(batch, deliverer)
        await asyncio.sleep(0.002)
    assert deliverer.waiting_for_redis
    assert len(deliverer._live) <= 5
    assert deliverer.delivered == -1
    world.away = False
    await until(lambda: deliverer.delivered == 49)
    assert world.delivered == list(range(1, 51))
    assert deliverer.log_from == 50
    running.cancel()


async def test_a_failed_delivery_is_made_again_from_the_log() -> None:
    world = World()
    world.failing = 1
    deliverer = Deliverer(world, -1, -1, 0)
    running = asyncio.create_task(deliverer.run())
    for batch in batches(5):
        deliverer.offer(batch, 100)
        world.append(batch, deliverer)
        await asyncio.sleep(0.01)
    await until(lambda: deliverer.delivered == 4)
    assert sorted(set(world.delivered)) == [1, 2, 3, 4, 5]
    first_seen = list(dict.fromkeys(world.delivered))
    assert first_seen[-1] == 5
    running.cancel()
