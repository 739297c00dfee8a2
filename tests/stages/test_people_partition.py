"""One partition of the people over Kafka in memory: what it has answered, every later owner
knows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.people.partition import PeoplePartition
from agents.people.stage import people_stage
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.redis.memory import MemoryRoutes, MemoryWatchers
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import Route
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, PeopleRecord, PersonChange, PersonDelivered, PersonState
from schemas.topics import DELIVERIES, PEOPLE, PEOPLE_SUBMITTED
from schemas.worker_api import Stance
from streams.tables.people import PeopleTable
from streams.tables.rocks import RocksBudget
from tests.harness.stage_run import StageRun, delivered
from tests.harness.table_io import memory_table_io

Make = Callable[[], StageRun[PeoplePartition]]
BLOCKED = Stance(True, False, True, True)
ALICES, BOBS = 0, 1
"""Slots."""


@pytest.fixture
def kafka() -> MemoryKafka:
    return MemoryKafka(MemoryBroker({PEOPLE_SUBMITTED: 1, PEOPLE: 1, DELIVERIES: 2}))


@pytest.fixture
async def make(kafka: MemoryKafka, tmp_path: Path) -> Make:
    """A worker of the stage, each on a disk of its own. Alice and bob each have a device."""
    redis = MemoryRedis(MemoryRedisServer(lambda: 0.0))
    routes = MemoryRoutes(redis)
    await routes.write_routes(
        [Route("alice", "phone", "n1", ALICES, 1), Route("bob", "phone", "n2", BOBS, 1)]
    )
    budget = RocksBudget(1 << 20, 1 << 20)
    disks = iter(range(9))

    def new() -> StageRun[PeoplePartition]:
        disk = tmp_path / str(next(disks))
        io = memory_table_io(
            kafka,
            redis,
            "people",
            PEOPLE,
            lambda partition: PeopleTable(disk / f"people-{partition}", budget),
        )
        return StageRun(kafka, people_stage(io, routes, MemoryWatchers(redis), 1))

    return new


def say(kafka: MemoryKafka, blocked: bool, other: str = "bob") -> None:
    record = PeopleRecord(SCHEMA_VERSION, [PersonChange("alice", other, blocked)])
    kafka.broker.append(PEOPLE_SUBMITTED, 0, encode_event(record))


async def test_whoever_asks_after_a_change_is_told_of_it_and_so_is_the_next_owner(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as first:
        partition = await first.running()
        assert partition.stances([("alice", "bob")]) == [Stance()]
        say(kafka, True)
        assert await partition.caught_up()
        assert [one.other for one in partition.people("alice")] == ["bob"]
        assert partition.stances([("alice", "bob"), ("bob", "alice")]) == [BLOCKED, Stance()]
        await first.done(1)
    async with make() as second:
        partition = await second.running()
        assert partition.stances([("alice", "bob")]) == [BLOCKED]
        say(kafka, False)
        assert await partition.caught_up()
        assert (partition.people("alice"), partition.stances([("alice", "bob")])) == (
            [],
            [Stance()],
        )


async def test_the_devices_of_both_hear_of_a_change(kafka: MemoryKafka, make: Make) -> None:
    async with make() as run:
        await run.running()
        say(kafka, True)
        await run.done(1)
        told = PersonDelivered("alice", "bob", b'{"t":"person","user":"bob","blocked":true}')
        assert (delivered(kafka, ALICES), delivered(kafka, BOBS)) == ([told], [told])


async def test_what_an_owner_that_was_paused_appends_late_does_not_count(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as first:
        await first.running()
        say(kafka, True)
        say(kafka, False)
        await first.done(2)
        late = PersonState(SCHEMA_VERSION, "alice", "bob", True, first.partition.input_id, 0)
    kafka.broker.append(PEOPLE, 0, encode_event(late), b"alice\0bob")
    async with make() as second:
        partition = await second.running()
        assert partition.stances([("alice", "bob")]) == [Stance()]
    async with make() as third:  # compaction has left the last record only
        await third.running()
        assert third.partition.stances([("alice", "bob")]) == [Stance()]


async def test_of_two_first_messages_one_is_kept_and_every_owner_knows_which(
    kafka: MemoryKafka, make: Make
) -> None:
    def ask(key: bytes) -> None:
        record = PeopleRecord(SCHEMA_VERSION, [PersonChange("alice", "bob", request=key)])
        kafka.broker.append(PEOPLE_SUBMITTED, 0, encode_event(record))

    waits = Stance(False, False, True, True, b"1" * 16)
    async with make() as first:
        partition = await first.running()
        ask(b"1" * 16)
        ask(b"2" * 16)
        await first.done(2)
        assert partition.stances([("alice", "bob")]) == [waits]
        told = PersonDelivered("alice", "bob", b'{"t":"person","user":"bob","request":true}')
        assert delivered(kafka, ALICES)[-1] == told
    async with make() as second:
        partition = await second.running()
        ask(b"3" * 16)
        await second.done(3)
        assert partition.stances([("alice", "bob")]) == [waits]


async def test_an_owner_that_is_behind_its_input_does_not_answer_for_all_of_it(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(PEOPLE, 0)  # nothing can be kept
        say(kafka, True)
        assert not await partition.caught_up()
        assert partition.stances([("alice", "bob")]) == [Stance()]
        kafka.broker.find_leader(PEOPLE, 0)
        await run.done(1)
        assert await partition.caught_up()
