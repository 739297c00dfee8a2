"""What the parts of the model share: Kafka is lists, Redis is its ports in memory, time is the
test's.

`off` switches one rule off, to show that it is needed.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from agents.rules.batch import Batch
from connectors.kafka.ports import KafkaSendError, QueueFull
from connectors.kafka.record import Record
from connectors.redis.memory import MemoryOwners, MemoryRoutes, MemoryWatchers
from schemas.events import Taken
from tests.property.quiet_loop import QuietLoop

SLOTS = 4
STAGES = ("sequencer", "cursors", "presence")


class Redis:
    """All ports in memory. What stands in them can be lost, or be what it was earlier."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.routes = MemoryRoutes(clock)
        self.watchers = MemoryWatchers(clock)
        self.owners = {stage: MemoryOwners(clock) for stage in STAGES}
        self.run = 0
        """Another one after each start."""
        self.empty = self.saved()

    def _ports(self) -> list[object]:
        return [self.routes, self.routes.directory, self.watchers, *self.owners.values()]

    def saved(self) -> list[dict[str, Any]]:
        return [
            {n: copy.deepcopy(v) for n, v in vars(port).items() if isinstance(v, dict)}
            for port in self._ports()
        ]

    def restart(self, saved: list[dict[str, Any]]) -> None:
        self.run += 1
        for port, data in zip(self._ports(), copy.deepcopy(saved), strict=True):
            vars(port).update(data)
        self.routes.directory.run = f"run {self.run}"
        self.routes._remembers_since = None


class Kafka:
    """Topics of one partition each, and `deliveries` by slot. `committed` are the groups' offsets
    by topic."""

    def __init__(self, loop: QuietLoop) -> None:
        self.committed: dict[str, int] = {}
        self._loop = loop
        self._topics: dict[tuple[str, int], list[Record]] = defaultdict(list)

    def append(self, topic: str, partition: int, value: bytes) -> int:
        records = self._topics[topic, partition]
        records.append(Record(partition, len(records), int(self._loop.time() * 1000) + 1, value))
        return len(records) - 1

    def end(self, topic: str, partition: int = 0) -> int:
        return len(self._topics[topic, partition])

    def read(self, topic: str, partition: int, start: int, most: int) -> list[Record]:
        return self._topics[topic, partition][start : start + most]


class Worker(Protocol):
    """A worker of a stage, as others see it: `current` unless another has taken its place."""

    stage: str
    address: str
    current: bool

    async def answer(
        self, page: str, body: bytes | None, query: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """What the pages of its monitor answer."""


class World:
    """What all parts share."""

    def __init__(self, loop: QuietLoop, off: str = "") -> None:
        self.loop = loop
        self.off = off
        self.kafka = Kafka(loop)
        self.redis = Redis(loop.time)
        self.log: list[Batch] = []
        """What has landed."""
        self.delivered = 0
        """So much of it is known to be delivered (d)."""
        self.workers: dict[str, Worker] = {}
        """By address, those that sleep included."""

    def address(self, stage: str, worker: "Worker") -> str:
        address = f"{stage}-{len(self.workers)}"
        self.workers[address] = worker
        return address

    def messages(self) -> dict[str, list[Taken]]:
        """conversation → its messages, by the log."""
        found: dict[str, list[Taken]] = defaultdict(list)
        for batch in self.log:
            for item in batch.outcome.taken:
                if item.seq:
                    found[item.conversation].append(item)
        return found


class Process:
    """What ends with a process: after `kill` nothing that it still does is seen by others."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.alive = True
        self.mood = ""
        """How Kafka takes records: "" well, "refuses", "hides": takes one and says it has not."""

    def __len__(self) -> int:
        return 0

    def send(
        self,
        topic: str,
        partition: int,
        value: bytes,
        on_report: Callable[[KafkaSendError | None, int], None] | None = None,
    ) -> None:
        """KafkaProducer."""
        if not self.alive:
            return
        if self.mood == "refuses":
            raise QueueFull
        offset = self.world.kafka.append(topic, partition, value)
        if on_report is not None:
            self.world.loop.call_soon(
                on_report, KafkaSendError("hidden") if self.mood == "hides" else None, offset
            )
