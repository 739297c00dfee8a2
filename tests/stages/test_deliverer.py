"""Delivering from memory and from the log (R4, R5): in order, nothing forgotten, whatever is
away."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from agents.rules.batch import Batch
from agents.sequencer import backlog, first_messages
from agents.sequencer import deliverer as module
from agents.sequencer.deliverer import Deliverer
from connectors.dependency import Dependencies
from connectors.kafka.ports import KafkaSendError
from connectors.kafka.record import Record
from connectors.redis.client import RedisUnavailable
from schemas.codec import encode_event
from schemas.events import Delivered, DeliveriesMissed, MessageDelivered
from streams import steps
from streams.retry import Retry
from tests.stages.test_appender import batches

RETRY = Retry("the test", Dependencies(), lambda: 0.0)


class World:
    """`homes`: user → slot, else slot 0. `away`: Redis does not answer. `failing`: so many
    deliveries fail. A slot in `stuck` acknowledges nothing."""

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self.delivered: list[int] = []
        self.by_slot: dict[int, list[int]] = {}
        self.homes: dict[str, int] = {}
        self.away = False
        self.failing = 0
        self.broken: Exception | None = None
        self.stuck: set[int] = set()
        self.unreported: dict[int, list[Callable[[bool], None]]] = {}
        self.lookups = 0
        self.reads = 0
        self.said: list[str] = []
        self.unsayable = 0
        self.sayable = asyncio.Event()
        """Kafka acknowledges what is said of members."""
        self.sayable.set()
        self.told_to_ask: list[int] = []
        """Slots."""
        self.forgotten: list[str] = []

    def forget(self, users: Sequence[str]) -> None:
        self.forgotten += users

    async def say_members(self, users: Sequence[str]) -> None:
        await asyncio.sleep(0)
        if self.unsayable:
            self.unsayable -= 1
            raise KafkaSendError("no leader")
        await self.sayable.wait()
        self.said += users

    async def lookup(self, users: Sequence[str]) -> Mapping[str, Sequence[tuple[str, int]]]:
        await asyncio.sleep(0)
        self.lookups += 1
        if self.broken is not None:
            raise self.broken
        if self.away:
            raise RedisUnavailable("away")
        return {user: [("one", self.homes.get(user, 0))] for user in users}

    def deliver(
        self, slot: int, events: Sequence[Delivered], report: Callable[[bool], None]
    ) -> None:
        if self.failing:
            self.failing -= 1
            report(False)
            return
        if events == [DeliveriesMissed()]:
            self.told_to_ask.append(slot)
        seqs = [event.seq for event in events if isinstance(event, MessageDelivered)]
        self.delivered += seqs
        self.by_slot.setdefault(slot, []).extend(seqs)
        if slot in self.stuck:
            self.unreported.setdefault(slot, []).append(report)
        else:
            report(True)

    def recover(self, slot: int, ok: bool = True) -> None:
        """The slot has a leader again: what was sent is acknowledged, or lost."""
        self.stuck.discard(slot)
        for report in self.unreported.pop(slot, []):
            report(ok)

    async def read_log(self, start: int) -> AsyncIterator[list[Record]]:
        await asyncio.sleep(0)
        self.reads += 1
        yield [
            Record(0, offset, 0, value) for offset, value in enumerate(self.log) if offset >= start
        ]

    def append(self, batch: Batch, deliverer: Deliverer) -> None:
        self.log.append(encode_event(batch.log_record(-1)))
        deliverer.landed(len(self.log) - 1, batch.last)


@asynccontextmanager
async def running(deliverer: Deliverer) -> AsyncIterator[None]:
    task = asyncio.create_task(deliverer.run())
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_everything_is_delivered_at_once_and_in_order() -> None:
    world = World()
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    running = asyncio.create_task(deliverer.run())
    for batch in batches(20):
        deliverer.offer(batch, 100)
    await until(lambda: deliverer.delivered == 19)
    assert world.delivered == list(range(1, 21))
    assert world.lookups < 20, "what queued goes out with one lookup"
    assert world.said == ["alice", "bob"], "the conversation began once"
    running.cancel()


async def test_a_new_owner_delivers_from_the_log_what_is_owed_and_goes_on_from_memory() -> None:
    world = World()
    made = batches(10)
    deliverer = Deliverer(world, RETRY, position=7, delivered=3, log_from=2)
    for batch in made[:8]:
        world.log.append(encode_event(batch.log_record(-1)))
    running = asyncio.create_task(deliverer.run())
    for batch in made[8:]:
        deliverer.offer(batch, 100)
    await until(lambda: deliverer.delivered == 9)
    assert world.delivered == [5, 6, 7, 8, 9, 10]
    assert deliverer.redelivered == 4
    running.cancel()


async def test_what_began_is_said_once_before_the_look_for_routes_from_the_log_too() -> None:
    world = World()
    world.away = True
    (batch,) = batches(1)
    world.log.append(encode_event(batch.log_record(-1)))
    deliverer = Deliverer(world, RETRY, position=0, delivered=-1, log_from=0)
    running = asyncio.create_task(deliverer.run())
    await until(lambda: deliverer.waiting_for_redis)
    assert world.said == ["alice", "bob"]
    world.away = False
    await until(lambda: deliverer.delivered == 0)
    assert world.said == ["alice", "bob"]
    running.cancel()


async def test_redis_away_costs_no_memory_and_nothing_is_forgotten() -> None:
    world = World()
    world.away = True
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    async with running(deliverer):
        for batch in batches(50):
            deliverer.offer(batch, backlog.MAX_BYTES // 5)
            world.append(batch, deliverer)
            await asyncio.sleep(0.002)
        assert deliverer.waiting_for_redis
        assert len(deliverer._backlog._held) <= 5
        assert deliverer.delivered == -1
        world.away = False
        await until(lambda: deliverer.delivered == 49)
        assert world.delivered == list(range(1, 51))
        assert deliverer.log_from == 50


@pytest.mark.parametrize("landed", [True, False])
async def test_a_failed_delivery_is_made_again_from_the_log_or_from_memory(landed: bool) -> None:
    world = World()
    world.failing = 1
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    async with running(deliverer):
        for batch in batches(5):
            deliverer.offer(batch, 100)
            if landed:
                world.append(batch, deliverer)
            await asyncio.sleep(0.01)
        await until(lambda: deliverer.delivered == 4)
        assert sorted(set(world.delivered)) == [1, 2, 3, 4, 5]
        first_seen = list(dict.fromkeys(world.delivered))
        assert first_seen[-1] == 5
        assert deliverer.behind == []


async def test_trouble_that_no_port_names_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 20: uvloop's RuntimeError after a reset of an idle connection halted the partition."""
    monkeypatch.setattr(module, "_LAST_SECONDS", 0.01)
    world = World()
    world.broken = RuntimeError("unable to perform operation on <TCPTransport closed=True>")
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    async with running(deliverer):
        for batch in batches(3):
            deliverer.offer(batch, 100)
        await until(lambda: world.lookups > 2)
        world.broken = None
        await until(lambda: deliverer.delivered == 2)
        assert world.delivered == [1, 2, 3]


async def test_what_only_the_log_has_is_delivered_at_once() -> None:
    """Fault 16: another owner had appended it and died; it waited for the next input."""
    world = World()
    made = batches(3)
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    async with running(deliverer):
        for batch in made:
            world.append(batch, deliverer)
        deliverer.owe(2)
        await until(lambda: deliverer.delivered == 2)
        assert world.delivered == [1, 2, 3]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "MAX_UNDER_WAY", 10)
    monkeypatch.setattr(steps, "STUCK_SECONDS", 0.05)
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.05)
    monkeypatch.setattr(module, "_LAST_SECONDS", 0.02)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.parametrize("lands", [True, False])
async def test_a_slot_that_does_not_acknowledge_stops_no_other(
    acknowledged: bool, lands: bool
) -> None:
    """Fault 14: after 200 steps nothing more was delivered to anybody."""
    world = World()
    world.homes = {"bob": 1}
    world.stuck = {1}
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    made = batches(100)

    async def go_on(some: Sequence[Batch]) -> None:
        for batch in some:
            deliverer.offer(batch, 100)
            if lands:
                world.append(batch, deliverer)
            await asyncio.sleep(0.002)

    async with running(deliverer):
        await go_on(made[:60])
        await until(lambda: world.by_slot[0][-1] == 60)
        assert deliverer.behind == [1]
        assert len(world.by_slot[1]) <= 12, "what waits is bounded"
        assert len(deliverer._steps) <= 12
        assert deliverer.delivered == -1, "a new owner has to deliver all of it"
        world.recover(1, acknowledged)
        await go_on(made[60:])
        await until(lambda: deliverer.delivered == 99)
        assert deliverer.behind == []
        for slot in (0, 1):
            assert list(dict.fromkeys(world.by_slot[slot])) == list(range(1, 101)), slot
        assert world.by_slot[0] == list(range(1, 101)), "the others get nothing twice"


@pytest.mark.usefixtures("soon")
async def test_d_stays_below_what_a_slot_is_owed_until_it_has_it() -> None:
    world = World()
    world.homes = {"bob": 1}
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    made = batches(80)
    async with running(deliverer):
        for batch in made[:5]:
            deliverer.offer(batch, 100)
            world.append(batch, deliverer)
        await until(lambda: deliverer.delivered == 4)
        world.stuck = {1}
        for batch in made[5:]:
            deliverer.offer(batch, 100)
            world.append(batch, deliverer)
            await asyncio.sleep(0.002)
        await until(lambda: deliverer.behind == [1] and world.by_slot[0][-1] == 80)
        assert deliverer.delivered == 4
        assert deliverer.log_from == 5
        reports = world.unreported[1]
        reports.pop(0)(True)
        assert deliverer.delivered == 4
        world.recover(1)
        await until(lambda: deliverer.delivered == 79)
        assert list(dict.fromkeys(world.by_slot[1])) == list(range(1, 81))


@pytest.mark.usefixtures("soon")
async def test_a_slot_that_gets_stuck_again_and_again_is_caught_up_in_the_end() -> None:
    world = World()
    world.homes = {"bob": 1}
    world.stuck = {1}
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    chance = random.Random(7)
    async with running(deliverer):
        for batch in batches(300):
            deliverer.offer(batch, 100)
            world.append(batch, deliverer)
            if chance.random() < 0.03:
                world.recover(1, chance.random() < 0.5)
            if chance.random() < 0.03:
                world.stuck = {1}
            await asyncio.sleep(0.002)
        world.recover(1)
        await until(lambda: deliverer.delivered == 299)
        assert world.by_slot[0] == list(range(1, 301))
        assert sorted(set(world.by_slot[1])) == list(range(1, 301))


async def test_routes_are_looked_up_after_the_members_are_said() -> None:
    world = World()
    world.unsayable = 2
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    async with running(deliverer):
        deliverer.offer(batches(1)[0], 100)
        await until(lambda: world.unsayable < 2)
        looked = world.lookups
        await until(lambda: deliverer.delivered == 0)
        assert looked == 0
        assert world.said == ["alice", "bob"]
        assert world.lookups == 1


async def test_members_that_cannot_be_said_hold_up_nobody_and_their_devices_ask_later() -> None:
    """Nobody leads their partition of `memberships`. R11.1."""
    world = World()
    world.sayable.clear()
    world.homes["bob"] = 1
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    async with running(deliverer):
        for batch in batches(5):
            deliverer.offer(batch, 100)
            world.append(batch, deliverer)
        await until(lambda: world.by_slot.get(1) == [1, 2, 3, 4, 5])
        assert deliverer.delivered == -1, "whoever comes next says them again"
        assert (deliverer.log_from, world.said, world.told_to_ask) == (0, [], [])
        looked = world.lookups
        world.failing = 1
        world.sayable.set()
        await until(lambda: deliverer.delivered == 4)
        assert world.said == world.forgotten == ["alice", "bob"]
        assert world.lookups == looked + 1, "whoever comes after that look asks after it, too"
        assert set(world.told_to_ask) == {0, 1}


async def test_so_many_may_be_said_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_messages, "MAX_UNSAID", 0)
    world = World()
    world.sayable.clear()
    deliverer = Deliverer(world, RETRY, -1, -1, 0)
    async with running(deliverer):
        deliverer.offer(batches(1)[0], 100)
        await asyncio.sleep(1.5 * steps.STUCK_SECONDS)
        assert world.lookups == 0
        world.sayable.set()
        await until(lambda: deliverer.delivered == 0)
        assert world.told_to_ask == []
