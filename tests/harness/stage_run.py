"""A stage over Kafka in memory, in a group of which it is the only member."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Self, TypeVar

import msgspec

from connectors.dependency import Dependencies
from connectors.kafka.memory import MemoryKafka
from schemas.codec import decode_deliveries
from schemas.events import Delivered
from schemas.topics import DELIVERIES
from streams.inputs import Inputs
from streams.intake import Intake, coalesce
from streams.partition import Partition, Status
from streams.restores import Restores
from streams.stage import Shared, StageSpec
from streams.worker import Worker
from streams.worker_api import Request
from tests.harness.fake_gateway import eventually

P = TypeVar("P", bound=Partition)


def shared(kafka: MemoryKafka) -> Shared:
    """What a worker's stages share."""
    return Shared(
        Inputs(kafka),
        Restores(),
        Dependencies(),
        now=lambda: int(time.time() * 1000),
        random=lambda: 0.0,
    )


class StageRun(Generic[P]):
    """Use it as an async context manager; `crash` it for what a killed process leaves. It commits
    when it is told to."""

    def __init__(
        self, kafka: MemoryKafka, spec: StageSpec[P], partitions: Iterable[int] = (0,)
    ) -> None:
        self.kafka = kafka
        self.spec = spec
        self.expired: list[str] = []
        self.worker = Worker([spec], shared(kafka), self.expired.append)
        self.stage = self.worker.stages[0]
        self.intake = Intake(lambda: kafka.fetcher(spec.topic, spec.fetch), self.stage)
        self.stage.renew = self.intake.renew
        self.stage.seek = self._seek
        self._assigned = set(partitions)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.worker.start()
        await self.stage.assigned(self._assigned, 1)
        self.intake.assign(self._assigned)
        self._tasks = [asyncio.create_task(work) for work in (self._read(), self.worker.watch())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await self.stage.stop()
        await self.intake.close()
        await self.worker.close()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def partition(self) -> P:
        """Partition 0."""
        partition: P = self.stage.partitions[0]
        return partition

    @property
    def figures(self) -> Counter[str]:
        return self.stage.figures

    async def running(self) -> P:
        """Partition 0, once it runs and is read."""
        await eventually(lambda: 0 in self.stage.partitions and not self.partition.paused)
        assert self.partition.status is Status.RUNNING, self.stage.problems()
        return self.partition

    async def read(self, offset: int) -> None:
        """Until all records of partition 0 before an offset have been read."""
        await eventually(lambda: self.partition.next_offset == offset)

    async def done(self, offset: int) -> None:
        """Until all records of partition 0 before an offset are done."""
        await eventually(lambda: self.stage.committable(0) == offset)

    def commit(self) -> None:
        """What the group does every second."""
        for number in self._assigned:
            offset = self.stage.committable(number)
            if offset is not None:
                self.kafka.broker.commit(self.spec.group, self.spec.topic, number, offset)

    async def health(self) -> tuple[int, list[str]]:
        response = await self.worker.api.handle(Request("/health/"))
        found: Mapping[str, Any] = msgspec.json.decode(response.body)
        return response.status, found["problems"]

    async def _seek(self, partition: int) -> None:
        self.intake.seek(partition)

    async def _read(self) -> None:
        while True:
            for partition, records in (await self.intake.next(self._assigned, 0.1)).items():
                for some in coalesce(records):
                    self.stage.feed(partition, some)


def delivered(kafka: MemoryKafka, slot: int) -> list[Delivered]:
    """What was delivered to a gateway slot."""
    records = kafka.broker.read_all(DELIVERIES, slot)
    return [event for record in records for event in decode_deliveries(record.value).events]


class Loses(random.Random):
    """For `MemoryKafka.break_producers`: all that was on its way is lost."""

    def random(self) -> float:
        return 0.0


async def forget_what_was_sent(kafka: MemoryKafka, slot: int) -> None:
    """What was on its way to the slot's partition, which had no leader, is lost; now it has one."""
    kafka.break_producers(Loses())
    await asyncio.sleep(0)
    kafka.mend()
    kafka.broker.find_leader(DELIVERIES, slot)
