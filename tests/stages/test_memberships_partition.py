"""One partition of the memberships over Kafka in memory: it answers for all that its topic has."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from agents.memberships.partition import MembershipsIO, MembershipsPartition
from agents.memberships.stage import memberships_stage
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.redis.memory import MemoryOwners
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, AllSaid, Membership, MembershipRecord
from schemas.topics import MEMBERSHIPS
from schemas.worker_api import MembershipsAnswer, MembershipsQuestion
from streams.tables.memberships import MembershipTable
from streams.tables.rocks import RocksBudget
from streams.worker_api import Request
from tests.harness.fake_gateway import eventually
from tests.harness.stage_run import StageRun

LOG_PARTITIONS = 4

Run = StageRun[MembershipsPartition]
Make = Callable[[], Run]


@pytest.fixture
def kafka() -> MemoryKafka:
    return MemoryKafka(MemoryBroker({MEMBERSHIPS: 1}))


@pytest.fixture
async def make(kafka: MemoryKafka, tmp_path: Path) -> Make:
    """A worker of the stage, always on the same disk."""
    budget = RocksBudget(1 << 20, 1 << 20)
    io = MembershipsIO(
        kafka,
        MemoryOwners(MemoryRedis(MemoryRedisServer(lambda: 0.0)), "memberships"),
        LOG_PARTITIONS,
        lambda partition: MembershipTable(tmp_path / f"memberships-{partition}", budget),
        "here",
    )
    return lambda: StageRun(kafka, memberships_stage(io))


def say(kafka: MemoryKafka, *facts: Membership | AllSaid) -> None:
    for fact in facts:
        kafka.broker.append(
            MEMBERSHIPS,
            0,
            encode_event(MembershipRecord(SCHEMA_VERSION, fact)),
            repr(fact).encode(),
        )


def all_said(kafka: MemoryKafka) -> list[AllSaid]:
    topic = kafka.broker.topic_ids()[MEMBERSHIPS]
    return [AllSaid(number, topic) for number in range(LOG_PARTITIONS)]


async def asked(run: Run, *users: str) -> list[list[int]] | None:
    """What the worker answers; None if it cannot tell."""
    question = msgspec.json.encode([MembershipsQuestion({0: [user]}) for user in users])
    response = await run.worker.api.handle(Request("/memberships/partitions/", body=question))
    answers = msgspec.json.decode(response.body, type=list[MembershipsAnswer])
    found = [answer[0][0] for answer in answers if answer]
    return found if len(found) == len(users) else None


async def test_users_are_asked_for_where_they_have_conversations(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        await run.running()
        say(kafka, *all_said(kafka), Membership("alice", 3), Membership("alice", 1))
        say(kafka, Membership("alice", 3), Membership("bob", 1))
        assert await asked(run, "alice", "bob", "nobody") == [[1, 3], [1], []]


async def test_a_partition_that_has_not_said_all_is_asked_about_everybody(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        await run.running()
        assert await asked(run, "alice") == [[0, 1, 2, 3]]
        say(kafka, Membership("alice", 3), AllSaid(0, "another topic"), *all_said(kafka)[1:])
        assert await asked(run, "alice", "bob") == [[0, 3], [0]]
        say(kafka, all_said(kafka)[0])
        assert await asked(run, "bob") == [[]]


async def test_what_is_in_the_topic_and_not_folded_is_waited_for(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make() as run:
        partition = await run.running()
        say(kafka, *all_said(kafka))
        await run.done(LOG_PARTITIONS)
        free = asyncio.Event()
        fold = partition.apply

        async def later(block: object) -> None:
            await free.wait()
            await fold(block)  # type: ignore[arg-type]

        monkeypatch.setattr(partition, "apply", later)
        say(kafka, Membership("alice", 2))
        assert await asked(run, "alice") is None, "it has waited, and is still behind"
        question = asyncio.create_task(asked(run, "alice"))
        await asyncio.sleep(0.05)
        free.set()
        assert await question == [[2]]


async def test_an_end_that_cannot_be_looked_up_is_not_answered_for(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as run:
        await run.running()
        kafka.broker.lose_leader(MEMBERSHIPS, 0)
        assert await asked(run, "alice") is None


async def test_it_reads_on_from_its_table_and_from_the_start_without_one(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    say(kafka, *all_said(kafka), Membership("alice", 3))
    async with make() as run:
        await run.running()
        await run.done(5)
    say(kafka, Membership("bob", 0))
    kafka.broker.compact(MEMBERSHIPS)
    async with make() as run:
        await run.running()
        await run.done(6)
        assert run.figures["facts"] == 1
        assert await asked(run, "alice", "bob") == [[3], [0]]
    shutil.rmtree(tmp_path / "memberships-0")
    async with make() as run:
        await run.running()
        assert await asked(run, "alice", "bob") == [[3], [0]]


async def test_a_topic_that_was_created_anew_is_believed_and_nothing_else(
    kafka: MemoryKafka, make: Make
) -> None:
    say(kafka, *all_said(kafka), Membership("alice", 3))
    async with make() as run:
        await run.running()
        await run.done(5)
        old = run.partition
        kafka.broker.recreate(MEMBERSHIPS)
        await run.stage.look(run.stage.running())
        await eventually(lambda: run.stage.partitions.get(0, old) is not old)
        await run.running()
        assert await asked(run, "bob") == [[0, 1, 2, 3]]


async def test_a_topic_without_its_tail_is_read_on(kafka: MemoryKafka, make: Make) -> None:
    say(kafka, *all_said(kafka), Membership("alice", 3))
    async with make() as run:
        await run.running()
        await run.done(5)
        kafka.broker.cut_tail(MEMBERSHIPS, 0, 1)
        await run.stage.look(run.stage.running())
        await eventually(lambda: run.stage.committable(0) == 4)
        await run.running()
        say(kafka, Membership("bob", 0))
        assert await asked(run, "alice", "bob") == [[3], [0]], "the table has what was lost"
