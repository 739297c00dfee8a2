"""A whole system in one process: brokers, workers, gateways, people, and the judge."""

import itertools
import logging
import math
import random
from collections.abc import Sequence
from contextvars import Context
from typing import Any, Literal, NamedTuple

from agents.builders import BUILDERS
from connectors.clickhouse.memory import MemoryArchive
from connectors.kafka.memory_broker import MemoryBroker
from connectors.redis.memory_server import MemoryRedisServer
from connectors.redis.recent import Window, window_key
from schemas.codec import encode_frame
from schemas.frames import Message
from schemas.topics import all_topics
from simulation.group import Group
from simulation.judge import Judge
from simulation.loop import VirtualLoop
from simulation.network import Network
from simulation.people import People
from simulation.process import Process, current_process
from simulation.processes import Gateway, WorkerPart
from streams.stage import Stage

START_MS = 1_800_000_000_000
"""When every history begins, in ms since 1970."""
REST_SECONDS = 300.0
"""By then everything has drained, once nothing goes wrong any more."""
_REST_STEP = 2.0
PEACE_SECONDS = 8.0
"""So long it must stay right."""


class Shape(NamedTuple):
    """What a world consists of. `stages` share the workers named in `workers`: one tuple of stages
    each. People write to those in `away`, too, who never come."""

    gateways: int = 2
    workers: Sequence[Sequence[str]] = (
        ("sequencer", "cursors", "presence", "memberships", "people", "archiver"),
        ("sequencer", "cursors", "presence", "memberships", "people", "archiver"),
    )
    users: Sequence[str] = ("alice", "bob", "carol")
    partitions: int = 2
    slots: int = 4
    redirect: bool = False
    away: Sequence[str] = ()
    policy: Literal["everyone", "requests"] = "everyone"

    @property
    def stages(self) -> list[str]:
        """Every stage that has a worker, in order."""
        return [stage for stage in BUILDERS if any(stage in stages for stages in self.workers)]


class Complaints(logging.Handler):
    """Keeps what must not happen, whatever goes wrong outside: exceptions that were caught and
    logged, and critical lines."""

    def __init__(self, world: "World") -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if not record.exc_info and record.levelno < logging.CRITICAL:
            return
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
        if not any(accepted in text for accepted in self._world.accepted):
            self._world.complaints.append(f"{record.name}: {text}")


class World:
    """Make it from a seed; `advance` it; `close` it."""

    def __init__(self, seed: object, shape: Shape = Shape()) -> None:  # noqa: B008 (it is a value)
        self.shape = shape
        self.secret = "the secret of the simulated gateways"
        self.complaints: list[str] = []
        """See `Complaints`."""
        self.accepted: list[str] = []
        """What complaints may contain, after what was done to this world."""
        self.context = Context()
        """That of nobody's process."""
        self._seed = seed
        self.loop = VirtualLoop(self.source("threads"))
        counts = {"conversations": shape.partitions, "slots": shape.slots}
        self.broker = MemoryBroker(
            {name: counts[topic.partitions] for name, topic in all_topics().items()},
            self.now,
            self.source("kafka"),
            self.loop.spend,
        )
        self.redis = MemoryRedisServer(lambda: self.now() / 1000, self.source("redis"))
        self._fill_redis_with_another_log()
        self.archive = MemoryArchive(self.source("archive"))
        self.network = Network(self.loop, self.source("network"))
        self.judge = Judge(self)
        self.saved = self.redis.save()
        """What Redis had a while ago."""
        self._groups: dict[str, Group] = {}
        self._topics: dict[str, str] = {}
        self._coordinator = Process("coordinator", self.loop)
        self._handler = Complaints(self)
        logging.getLogger().addHandler(self._handler)
        self.gateways: list[Gateway] = []
        self.workers: list[WorkerPart] = []
        self.people = People(self, shape.users)
        self.loop.do(self._start)

    def _start(self) -> None:
        for number in range(self.shape.gateways):
            self.gateways.append(Gateway(self, f"gateway-{number}"))
        for number, stages in enumerate(self.shape.workers):
            self.workers.append(WorkerPart(self, f"worker-{number}", stages))
        self.people.come()

    def _fill_redis_with_another_log(self) -> None:
        """Redis has a file from before the topics were created anew: windows of the same
        conversations and numbers, with other messages."""
        for one, other in itertools.combinations(sorted(self.shape.users), 2):
            name = f"{one}:{other}"
            frames = [
                encode_frame(Message(name, seq, one, "0" * 32, 1, "of another log"))
                for seq in range(1, 200)
            ]
            key = window_key("another log", name)
            self.redis.tables["recent"][key] = Window(1, frames), math.inf

    def source(self, name: str) -> random.Random:
        """A random source of its own, so that one part's numbers do not shift another's."""
        return random.Random(f"{self._seed} {name}")

    def now(self) -> int:
        """The time in ms."""
        return START_MS + int(self.loop.time() * 1000)

    def group(self, stage: Stage[Any]) -> Group:
        """The consumer group of a stage."""
        spec = stage.spec
        group = self._groups.get(spec.group)
        if group is None:
            group = Group(
                spec.group, spec.topic, spec.partitions, self.broker, self.source(spec.group)
            )
            self._groups[spec.group] = group
            self._topics[spec.group] = spec.topic
            self._coordinator.start(group.run())
        return group

    def inputs(self) -> dict[str, str]:
        """group → the topic it reads."""
        return self._topics

    def running(self) -> str:
        """The name of the process that runs now."""
        process = current_process()
        return process.name if process is not None else ""

    def gateway_urls(self) -> list[str]:
        return [gateway.url for gateway in self.gateways]

    def advance(self, seconds: float) -> None:
        self.loop.advance(seconds)

    def rest(self) -> list[str]:
        """Let everything drain, until all has been right for PEACE_SECONDS. What is wrong if that
        does not come."""
        until = self.loop.time() + REST_SECONDS
        right_since: float | None = None
        while True:
            self.advance(_REST_STEP)
            now, wrong = self.loop.time(), self.wrong()
            if self.judge.faults or (wrong and now >= until):
                return wrong
            if wrong:
                right_since = None
            elif right_since is None:
                right_since = now
            elif now - right_since >= PEACE_SECONDS:
                return []

    def wrong(self) -> list[str]:
        """What is wrong now."""
        return self.loop.do(self.judge.wrong)

    def close(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        self.loop.close()
