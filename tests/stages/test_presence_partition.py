"""One partition of the presence over a topic in memory: what is kept was told, whenever the worker
ends."""

import asyncio
import itertools
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from agents.presence.partition import PresencePartition
from connectors.redis.memory import MemoryWatchers
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import Holders
from schemas.codec import decode_presence_state, encode_event
from schemas.events import SCHEMA_VERSION, PresenceChange, PresenceDelivered, PresenceRecord
from schemas.topics import PRESENCE, PRESENCE_SUBMITTED
from streams.earlier_stage import Status
from streams.tables.rocks import RocksBudget
from tests.harness.fake_gateway import eventually
from tests.harness.fake_kafka import FakeKafka

Make = Callable[[], PresencePartition]


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka(PRESENCE, PRESENCE_SUBMITTED)


@pytest.fixture
async def make(kafka: FakeKafka, tmp_path: Path) -> AsyncIterator[Make]:
    """A worker's partition, always on the same disk; somebody watches alice."""
    made = []
    watchers = MemoryWatchers(MemoryRedis(MemoryRedisServer(lambda: 0.0)))
    await watchers.watch(["alice"], 1)

    async def go_on(partition: int) -> None: ...

    def new() -> PresencePartition:
        budget = RocksBudget(1 << 20, 1 << 20)
        made.append(PresencePartition(0, kafka, watchers, tmp_path, budget, Counter(), go_on))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for partition in made:
        await partition.close()


async def running(partition: PresencePartition) -> PresencePartition:
    await eventually(lambda: partition.status is not Status.RESTORING)
    assert partition.status is Status.RUNNING, partition.reason
    return partition


def say(kafka: FakeKafka, partition: PresencePartition, online: bool) -> None:
    record = PresenceRecord(SCHEMA_VERSION, [PresenceChange("alice", "n1", online)])
    kafka.append(PRESENCE_SUBMITTED, encode_event(record))
    partition.feed(kafka.topics[PRESENCE_SUBMITTED][-1:])


def online(partition: PresencePartition) -> bool:
    """What is answered."""
    found = partition.presence(["alice"])
    assert found is not None
    return any(state.online for state in found)


def kept(kafka: FakeKafka) -> list[list[str]]:
    """The nodes that alice is online on, as the next owner would read it, after each change."""
    return [list(decode_presence_state(record.value).nodes) for record in kafka.topics[PRESENCE]]


def told(kafka: FakeKafka) -> list[bool]:
    return [
        msgspec.json.decode(event.frame)["online"]
        for event in kafka.told
        if isinstance(event, PresenceDelivered)
    ]


async def test_a_change_that_was_not_kept_when_the_worker_ended_is_folded_again(
    kafka: FakeKafka, make: Make
) -> None:
    """Though its disk is the same: what only the table knew would be no change any more, and never
    reach the topic."""
    first = await running(make())
    kafka.keeps.clear()
    say(kafka, first, True)
    await eventually(lambda: told(kafka) == [True])
    await first.close()
    kafka.keeps.set()
    second = await running(make())
    assert not online(second), "the next owner knows no more than the topic"
    second.feed(kafka.topics[PRESENCE_SUBMITTED])
    await eventually(lambda: kept(kafka) == [["n1"]])
    assert (online(second), told(kafka)) == (True, [True, True])


async def test_a_change_is_told_before_it_is_kept_and_answered_before_it_is_told(
    kafka: FakeKafka, make: Make
) -> None:
    """Or a worker that ends in between leaves watchers with the old for good."""
    partition = await running(make())
    kafka.delivers.clear()
    say(kafka, partition, True)
    await eventually(lambda: online(partition))
    await asyncio.sleep(0.05)
    assert (told(kafka), kept(kafka)) == ([], [])
    kafka.delivers.set()
    await eventually(lambda: kept(kafka) == [["n1"]])
    assert told(kafka) == [True]


async def test_the_end_of_a_node_that_was_not_told_when_the_worker_ended_is_found_again(
    kafka: FakeKafka, make: Make
) -> None:
    first = await running(make())
    say(kafka, first, True)
    await eventually(lambda: kept(kafka) == [["n1"]])
    kafka.delivers.clear()
    looking = asyncio.create_task(look_until_dead(first))
    await eventually(lambda: not online(first))
    looking.cancel()
    await first.close()
    kafka.delivers.set()
    second = await running(make())
    assert online(second)
    await look_until_dead(second)
    await look_until_dead(second)
    assert (online(second), kept(kafka), told(kafka)) == (False, [["n1"], []], [True, False])


async def test_what_an_owner_that_was_paused_kept_late_is_outdone_and_written_again(
    kafka: FakeKafka, make: Make, tmp_path: Path
) -> None:
    """On a new disk: only the topic knows, and compaction keeps what is last."""
    first = await running(make())
    say(kafka, first, True)
    await eventually(lambda: kept(kafka) == [["n1"]])
    say(kafka, first, False)
    await eventually(lambda: kept(kafka) == [["n1"], []])
    await first.close()
    late = kafka.topics[PRESENCE][0].value
    kafka.append(PRESENCE, late)
    shutil.rmtree(tmp_path / "presence-0")
    second = await running(make())
    assert not online(second)
    assert kept(kafka) == [["n1"], [], ["n1"], []]
    second.feed(kafka.topics[PRESENCE_SUBMITTED])
    await eventually(lambda: second.committable == 2)
    assert (len(kept(kafka)), told(kafka)) == (4, [True, False]), (
        "what is known is not folded again"
    )


async def look_until_dead(partition: PresencePartition) -> None:
    """Nobody has a lease, for long."""
    for asked in itertools.takewhile(lambda seconds: seconds < 10, itertools.count(0, 0.5)):
        await partition.look(asked, Holders(set(), 1000.0))
