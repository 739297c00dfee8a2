"""Gateways and workers of a world: production code, wired to the twins in memory, and a supervisor
that starts what has ended."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents.builders import BUILDERS, WorkerPorts
from agents.sequencer.snapshot_writer import SnapshotPolicy
from agents.settings import WorkerSettings
from agents.worker import PRODUCER
from connectors.dependency import Dependencies
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.ports import KafkaUnreachable
from connectors.redis.memory import (
    MemoryNodes,
    MemoryOwners,
    MemoryQuotas,
    MemoryRoutes,
    MemoryWatchers,
)
from connectors.redis.memory_recent import MemoryRecentWindows
from connectors.redis.memory_server import MemoryRedis
from connectors.webhook import MemoryEndpoint
from gateway.edge.tokens import JwtVerifier, Secrets, TokenRules
from gateway.node import Node
from gateway.parts import STAGES, NodePorts
from gateway.settings import GatewaySettings
from schemas.topics import SUBMITTED
from simulation.group import Member
from simulation.network import MemoryWorkerTransport
from simulation.process import Process
from streams.inputs import Inputs
from streams.restores import Restores
from streams.slot_sender import SlotSender
from streams.stage import Shared
from streams.tables.memory import MemoryDisk
from streams.worker import Worker

if TYPE_CHECKING:
    from simulation.world import World

log = logging.getLogger(__name__)

RESTART_SECONDS = 0.5, 3.0
"""How soon a supervisor starts a process that has ended."""
SNAPSHOTS = SnapshotPolicy(
    interval_ms=20_000, look_seconds=5.0, chunk_bytes=400, slice_bytes=100, pause_seconds=0.05
)
"""Often, and in many chunks: histories last some minutes and have few messages."""
_HTTP_PORT = 8400
_FLUSH_SECONDS = 2.0


class Part(ABC):
    """A process that is started again whenever it has ended."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.process: Process
        self.kafka: MemoryKafka
        self.redis: list[MemoryRedis]
        self._world = world
        self._chance = world.source(name)
        self._stopping = False
        self.start()

    def start(self) -> None:
        self._stopping = False
        self.process = Process(self.name, self._world.loop)
        try:
            self.process.call(self._start)
        except KafkaUnreachable as error:
            log.warning("%s does not start: %s", self.name, error)
            self.kill()

    def kill(self) -> None:
        """It ends at once; another process of the same name takes its place."""
        if self.process.alive:
            self._end()
            self._world.loop.call_later(
                self._chance.uniform(*RESTART_SECONDS), self.start, context=self._world.context
            )

    def stop(self) -> None:
        """It ends as after SIGTERM; then another takes its place."""
        if self.process.alive and not self.process.paused and not self._stopping:
            self._stopping = True
            self.process.start(self._stop_and_end())

    async def _stop_and_end(self) -> None:
        await self._stop()
        self._world.loop.call_soon(self.kill, context=self._world.context)

    def _end(self) -> None:
        self.process.kill()
        self.kafka.forget()

    @abstractmethod
    def _start(self) -> None:
        """Make everything that the process has, in its context."""

    @abstractmethod
    async def _stop(self) -> None:
        """End in good order."""

    def _new_redis(self) -> MemoryRedis:
        redis = MemoryRedis(self._world.redis)
        self.redis.append(redis)
        return redis


class Gateway(Part):
    """A node, whose devices come by the network."""

    def __init__(self, world: "World", name: str) -> None:
        self.url = f"http://{name}:{_HTTP_PORT}"
        self.node: Node
        self.transport: MemoryWorkerTransport
        super().__init__(world, name)
        world.network.gateways[self.url] = self

    def _start(self) -> None:
        world = self._world
        self.redis = []
        redis, lease_redis = self._new_redis(), self._new_redis()
        self.kafka = MemoryKafka(world.broker)
        log_id = world.broker.topic_ids()[SUBMITTED]
        self.transport = MemoryWorkerTransport(world.network)
        ports = NodePorts(
            self.kafka,
            MemoryRoutes(lease_redis),
            MemoryNodes(redis),
            MemoryWatchers(redis),
            MemoryQuotas(redis),
            {stage: MemoryOwners(redis, stage) for stage in STAGES},
            MemoryRecentWindows(redis, log_id),
            world.archive if "archiver" in world.shape.stages else None,
            self.transport,
            world.now,
            self._chance,
            Dependencies(world.loop.time),
            JwtVerifier([Secrets(world.secret)], TokenRules()),
        )
        settings = GatewaySettings(
            "",
            "",
            world.secret,
            http_host=self.name,
            http_port=_HTTP_PORT,
            partitions=world.shape.partitions,
            slots=world.shape.slots,
            redirect=world.shape.redirect,
            policy=world.shape.policy,
            drain_seconds=2.0,
        )
        self.node = Node(settings, ports, log_id)
        self.node.start()

    async def _stop(self) -> None:
        await self.node.drain()
        await self.node.stop()


class WorkerPart(Part):
    """A worker with these stages, on a machine whose disk outlives it."""

    def __init__(self, world: "World", name: str, stages: Sequence[str]) -> None:
        self.stages = stages
        self.disk = MemoryDisk()
        self.worker: Worker
        self.address = f"{name}:6066"
        self._members: list[Member] = []
        self._ports: WorkerPorts
        super().__init__(world, name)
        world.network.workers[self.address] = self

    def _start(self) -> None:
        world = self._world
        self.redis = []
        redis = self._new_redis()
        self.kafka = MemoryKafka(world.broker)
        shape = world.shape
        settings = WorkerSettings(
            *("", "", "", 6066, self.name, self.name, shape.partitions, shape.slots),
            webhook_secret=f"whsec_{'a' * 32}",
        )
        shared = Shared(
            Inputs(self.kafka),
            Restores(),
            Dependencies(world.loop.time),
            world.now,
            self._chance.random,
        )
        producer = self.kafka.producer(PRODUCER)
        self._ports = WorkerPorts(
            settings,
            self.kafka,
            producer,
            SlotSender(producer),
            lambda stage: MemoryOwners(redis, stage),
            MemoryRoutes(redis),
            MemoryWatchers(redis),
            lambda: world.archive,
            self.disk,
            shared,
            SNAPSHOTS,
            MemoryEndpoint,
        )
        specs = [spec for stage in self.stages for spec in BUILDERS[stage](self._ports)]
        self.worker = Worker(specs, shared, self._expired)
        self._members = [
            Member(f"{self.name} {stage.name}", world.group(stage), stage, self.kafka, self._chance)
            for stage in self.worker.stages
        ]
        self.worker.start()
        for member in self._members:
            member.start()
        asyncio.get_running_loop().create_task(self.worker.watch())

    async def _stop(self) -> None:
        await asyncio.gather(*(member.stop() for member in self._members))
        await self._ports.producer.close(_FLUSH_SECONDS)
        await self.worker.close()

    def _end(self) -> None:
        super()._end()
        self.disk.crash(self._chance)

    def _expired(self, why: str) -> None:
        log.warning("%s ends: %s", self.name, why)
        self._world.loop.call_soon(self.kill, context=self._world.context)
