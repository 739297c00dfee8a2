"""One partition of the presence over Kafka in memory: what is kept was delivered, whenever the
worker ends."""

import asyncio
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from agents.presence.partition import _USERS_AT_ONCE, PresencePartition
from agents.presence.stage import presence_stage
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.redis.memory import MemoryRoutes, MemoryWatchers
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import Holders
from schemas.codec import decode_presence_state, encode_event
from schemas.events import (
    SCHEMA_VERSION,
    PresenceChange,
    PresenceDelivered,
    PresenceRecord,
    PresenceState,
)
from schemas.topics import DELIVERIES, PRESENCE, PRESENCE_SUBMITTED
from streams.slot_news import PATIENCE_SECONDS
from streams.stage import SESSION_SECONDS
from streams.tables.presence import PresenceTable
from streams.tables.rocks import RocksBudget
from tests.harness.fake_gateway import eventually
from tests.harness.stage_run import Loses, StageRun, delivered, forget_what_was_sent
from tests.harness.table_io import memory_table_io

SLOT = 1

Run = StageRun[PresencePartition]
Make = Callable[[], Run]


@pytest.fixture
def kafka() -> MemoryKafka:
    return MemoryKafka(MemoryBroker({PRESENCE: 1, PRESENCE_SUBMITTED: 1, DELIVERIES: 2}))


@pytest.fixture
async def make(kafka: MemoryKafka, tmp_path: Path) -> Make:
    """A worker of the stage, always on the same disk; somebody watches alice. Its own looks at the
    nodes find nobody dead for long."""
    redis = MemoryRedis(MemoryRedisServer(lambda: 0.0))
    watchers = MemoryWatchers(redis)
    await watchers.watch(["alice"], SLOT)
    budget = RocksBudget(1 << 20, 1 << 20)

    def new() -> Run:
        io = memory_table_io(
            kafka,
            redis,
            "presence",
            PRESENCE,
            lambda partition: PresenceTable(tmp_path / f"presence-{partition}", budget),
        )
        return StageRun(kafka, presence_stage(io, MemoryRoutes(redis), watchers, 1, 1))

    return new


def say(kafka: MemoryKafka, online: bool, *users: str) -> None:
    changes = [PresenceChange(user, "n1", online) for user in users or ("alice",)]
    record = PresenceRecord(SCHEMA_VERSION, changes)
    kafka.broker.append(PRESENCE_SUBMITTED, 0, encode_event(record))


def online(partition: PresencePartition) -> bool:
    """What is answered."""
    return any(state.online for state in partition.presence(["alice"]))


def kept(kafka: MemoryKafka) -> list[list[str]]:
    """The nodes that alice is online on, as the next owner would read it, after each change."""
    records = kafka.broker.read_all(PRESENCE, 0)
    return [list(decode_presence_state(record.value).nodes) for record in records]


def told(kafka: MemoryKafka) -> list[bool]:
    return [
        msgspec.json.decode(event.frame)["online"]
        for event in delivered(kafka, SLOT)
        if isinstance(event, PresenceDelivered)
    ]


async def test_a_change_that_was_kept_and_not_delivered_is_delivered_by_the_next_owner(
    kafka: MemoryKafka, make: Make
) -> None:
    """Or watchers have the old for good: what is kept changes nothing when it is folded again."""
    async with make() as first:
        await first.running()
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        say(kafka, True)
        await eventually(lambda: kept(kafka) == [["n1"]])
        await asyncio.sleep(0.05)
        first.commit()
        kafka.cut(hears=True)
    await forget_what_was_sent(kafka, SLOT)
    async with make() as second:
        partition = await second.running()
        await second.done(1)
        assert (online(partition), kept(kafka), told(kafka)) == (True, [["n1"]], [True])


async def test_a_change_is_answered_and_kept_before_it_is_delivered(
    kafka: MemoryKafka, make: Make
) -> None:
    """A slot without a leader holds nobody up. The next owner tells what was not delivered."""
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        say(kafka, True)
        await eventually(lambda: online(partition))
        await eventually(lambda: kept(kafka) == [["n1"]])
        assert (told(kafka), run.stage.committable(0)) == ([], 0)
        kafka.broker.find_leader(DELIVERIES, SLOT)
        await run.done(1)
        assert told(kafka) == [True]


async def test_no_node_is_found_dead_while_that_cannot_be_told(
    kafka: MemoryKafka, make: Make
) -> None:
    """Nobody says it again, if it was kept and not told."""
    async with make() as run:
        partition = await run.running()
        say(kafka, True)
        await run.done(1)
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        await look_until_dead(partition)
        assert (kept(kafka), told(kafka)) == ([["n1"]], [True])
        kafka.broker.find_leader(DELIVERIES, SLOT)
        await eventually(lambda: not partition.news.stuck)
        await look_until_dead(partition, 20.0)
        assert (online(partition), kept(kafka)) == (False, [["n1"], []])


async def test_who_comes_back_is_told_of_although_the_end_before_was_told_to_some_only(
    kafka: MemoryKafka, make: Make
) -> None:
    """Seed 880058 of the simulation: by what was kept, nothing had changed for them."""
    async with make() as run:
        partition = await run.running()
        say(kafka, True)
        await run.done(1)
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        await look_until_dead(partition)
        assert (online(partition), kept(kafka)) == (False, [["n1"]])
        change = PresenceChange("alice", "n2", True)
        record = PresenceRecord(SCHEMA_VERSION, [change])
        kafka.broker.append(PRESENCE_SUBMITTED, 0, encode_event(record))
        await eventually(lambda: kept(kafka) == [["n1"], ["n2"]])
        kafka.broker.find_leader(DELIVERIES, SLOT)
        await run.done(2)
        assert told(kafka) == [True, False, True]


async def test_the_end_of_a_node_that_was_not_told_when_the_worker_ended_is_found_again(
    kafka: MemoryKafka, make: Make
) -> None:
    async with make() as first:
        partition = await first.running()
        say(kafka, True)
        await eventually(lambda: kept(kafka) == [["n1"]])
        await first.done(1)
        first.commit()
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        looking = asyncio.create_task(look_until_dead(partition))
        await eventually(lambda: not online(partition))
        await asyncio.sleep(PATIENCE_SECONDS * 1.5)  # until it is on its way
        looking.cancel()
        kafka.cut(hears=True)
    await forget_what_was_sent(kafka, SLOT)
    async with make() as second:
        partition = await second.running()
        assert online(partition)
        await look_until_dead(partition)
        await look_until_dead(partition)
        assert (online(partition), kept(kafka), told(kafka)) == (
            False,
            [["n1"], []],
            [True, False],
        )


async def test_what_an_owner_that_was_paused_kept_late_is_outdone_and_written_again(
    kafka: MemoryKafka, make: Make, tmp_path: Path
) -> None:
    """On a new disk: only the topic knows, and compaction keeps what is last."""
    async with make() as first:
        await first.running()
        say(kafka, True)
        await eventually(lambda: kept(kafka) == [["n1"]])
        say(kafka, False)
        await eventually(lambda: kept(kafka) == [["n1"], []])
    late = kafka.broker.read_all(PRESENCE, 0)[0].value
    kafka.broker.append(PRESENCE, 0, late)
    shutil.rmtree(tmp_path / "presence-0")
    async with make() as second:
        partition = await second.running()
        assert not online(partition)
        assert kept(kafka) == [["n1"], [], ["n1"], []]
        await second.done(2)
        assert (len(kept(kafka)), told(kafka)) == (4, [True, False, False]), (
            "what is known is not folded again, and told as it is now"
        )


async def test_two_owners_that_found_a_node_dead_agree_since_when_a_user_is_away(
    kafka: MemoryKafka, make: Make
) -> None:
    """Seed 21160305 of the simulation: the owner that was cut off kept its own time, and devices
    had been shown that of its successor."""
    async with make() as first:
        partition = await first.running()
        say(kafka, True)
        await first.done(1)
        await look_until_dead(partition)
        (early,) = partition.presence(["alice"])
    late = replace(early, last_seen=early.last_seen + 1000)
    for state in (late, early):
        kafka.broker.append(PRESENCE, 0, encode_event(state), b"alice")
    async with make() as second:
        assert (await second.running()).presence(["alice"]) == [late]


async def test_a_worker_that_may_have_lost_a_partition_finds_no_node_of_it_dead(
    kafka: MemoryKafka, make: Make
) -> None:
    """Seed 21160958 of the simulation: a worker that had been cut off told watchers that a user was
    offline. Its successor knew of another node of the user, and had nothing to tell them."""
    async with make() as run:
        partition = await run.running()
        looks: list[float] = []

        async def look(asked: float, holders: Holders) -> None:
            looks.append(asked)

        partition.look = look  # type: ignore[method-assign]
        await asyncio.sleep(2)
        assert looks
        lost = asyncio.get_running_loop().time() - SESSION_SECONDS
        run.stage.confirmed_at = lambda: lost
        looks.clear()
        await asyncio.sleep(2)
        assert not looks


async def test_the_users_of_a_dead_node_go_a_few_at_a_time(kafka: MemoryKafka, make: Make) -> None:
    """All at once, they held up the worker's loop for as long as there were users."""
    users = [f"user{number:04}" for number in range(2 * _USERS_AT_ONCE + 1)]
    async with make() as run:
        partition = await run.running()
        say(kafka, True, *users)
        await run.done(1)
        say(kafka, True, "alice")
        await run.done(2)
        assert partition.table is not None
        most = 0
        node_gone = partition._deliver_and_keep

        async def counted(outcome: object) -> None:
            nonlocal most
            most = max(most, len(outcome.changed))  # type: ignore[attr-defined]
            await node_gone(outcome)  # type: ignore[arg-type]

        partition._deliver_and_keep = counted  # type: ignore[method-assign]
        await look_until_dead(partition)
        assert most == _USERS_AT_ONCE
        assert not any(state.online for state in partition.presence([*users, "alice"]))
        assert told(kafka) == [True, False]


async def look_until_dead(partition: PresencePartition, after: float = 0.0) -> None:
    """Nobody has a lease, for long, `after` seconds from now."""
    now = asyncio.get_running_loop().time() + after
    for asked in itertools.takewhile(lambda seconds: seconds < 10, itertools.count(0, 0.5)):
        await partition.look(now + asked, Holders(set(), 1000.0))


async def test_who_comes_back_is_told_of_although_the_end_before_could_not_be_kept(
    kafka: MemoryKafka, make: Make
) -> None:
    """Watchers know of the end already. If the table alone counted, nothing would have changed."""
    async with make() as run:
        partition = await run.running()
        say(kafka, True)
        await eventually(lambda: kept(kafka) == [["n1"]])
        kafka.broker.lose_leader(PRESENCE, 0)
        looking = asyncio.create_task(look_until_dead(partition))
        await eventually(lambda: told(kafka) == [True, False])
        kafka.break_producers(Loses())
        await asyncio.gather(looking, return_exceptions=True)
        kafka.broker.find_leader(PRESENCE, 0)
        change = PresenceChange("alice", "n2", True)
        record = PresenceRecord(SCHEMA_VERSION, [change])
        kafka.broker.append(PRESENCE_SUBMITTED, 0, encode_event(record))
        await eventually(lambda: told(kafka) == [True, False, True])
        await eventually(lambda: kept(kafka)[-1] == ["n2"])
        assert online(partition)


async def test_a_worker_that_missed_a_generation_of_its_group_restores_what_it_keeps(
    kafka: MemoryKafka, make: Make
) -> None:
    """It stood still, and another worker has had the partition meanwhile. Not all of what that has
    written follows from the input."""
    async with make() as run:
        first = await run.running()
        await run.stage.assigned({0}, 2)
        assert run.partition is first
        state = PresenceState(SCHEMA_VERSION, "alice", ("n2",), 0, "another", 7)
        kafka.broker.append(PRESENCE, 0, encode_event(state), b"alice")
        await run.stage.assigned({0}, 4)
        assert run.partition is not first
        await run.running()
        assert online(run.partition)
