"""A sequencer over Kafka and Redis in memory."""

from pathlib import Path

import pytest

from agents.sequencer.io import SequencerIO
from agents.sequencer.partition import SequencerPartition
from agents.sequencer.snapshot_writer import SnapshotPolicy
from agents.sequencer.stage import sequencer_stage
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.redis.memory import MemoryOwners, MemoryRoutes
from connectors.redis.memory_server import MemoryRedis, MemoryRedisServer
from connectors.redis.routes import Route
from schemas.topics import CHUNKS, DEAD_LETTERS, DELIVERIES, LOG, MEMBERSHIPS, SNAPSHOTS, SUBMITTED
from streams.slot_sender import SlotSender
from streams.stage import StageSpec
from streams.tables.rocks import RocksBudget
from streams.tables.sequences import SequenceTable, table_folder
from tests.harness.sequencing import SLOT, Make
from tests.harness.stage_run import StageRun


@pytest.fixture
def kafka() -> MemoryKafka:
    topics = SUBMITTED, LOG, DELIVERIES, DEAD_LETTERS, MEMBERSHIPS, SNAPSHOTS, CHUNKS
    return MemoryKafka(MemoryBroker(dict.fromkeys(topics, 2)))


@pytest.fixture
def redis() -> MemoryRedis:
    return MemoryRedis(MemoryRedisServer(lambda: 0.0))


@pytest.fixture
async def make(kafka: MemoryKafka, redis: MemoryRedis, tmp_path: Path) -> Make:
    """A worker of the stage, always on the same disk. Bob has a device."""
    routes = MemoryRoutes(redis)
    await routes.write_routes([Route("bob", "phone", "node", SLOT, 0)])
    budget = RocksBudget(1 << 20, 1 << 20)

    def spec(policy: SnapshotPolicy) -> StageSpec[SequencerPartition]:
        producer = kafka.producer({"message.timeout.ms": 0})
        io = SequencerIO(
            kafka,
            SlotSender(producer),
            "sequencer",
            lambda partition: SequenceTable(table_folder(tmp_path, partition), budget),
            routes,
            MemoryOwners(redis, "sequencer"),
            "here",
            2,
        )
        return sequencer_stage(io, 2, policy)

    def run(policy: SnapshotPolicy = SnapshotPolicy()) -> StageRun[SequencerPartition]:  # noqa: B008
        return StageRun(kafka, spec(policy))

    return run
