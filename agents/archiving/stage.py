"""The archiver's partitions on one worker, and what Faust's consumer asks about them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from agents.archiving.budget import Budget
from agents.archiving.partition import Partition, Source, Status
from connectors.clickhouse.archive import Archive


class ArchiverStage:
    """`Intake` of the archiver's app. `go_on(partition)` makes the consumer read from the stage's position."""

    def __init__(self, source: Source, archive: Archive, go_on: Callable[[int], Awaitable[None]]) -> None:
        self.figures: Counter[str] = Counter()
        self.partitions: dict[int, Partition] = {}
        self._budget = Budget()
        self._source = source
        self._archive = archive
        self._go_on = go_on
        self._closed: dict[int, Partition] = {}

    # Intake

    def held(self, partition: int) -> bool:
        return partition not in self.partitions or self.partitions[partition].held

    def next_offset(self, partition: int) -> int | None:
        owned = self.partitions.get(partition)
        return owned.next_offset if owned else None

    def committable(self, partition: int) -> int | None:
        owned = self.partitions.get(partition) or self._closed.get(partition)
        return owned.archived if owned else None

    # Faust

    def feed(self, partition: int, fetched: list[Any]) -> None:
        """One event: consecutive aiokafka records of a partition."""
        owned = self.partitions.get(partition)
        if owned is not None:
            owned.feed(fetched)

    async def assigned(self, partitions: set[int]) -> None:
        """A rebalance: keep what stays, let go of what went, begin what came."""
        gone = [self.partitions.pop(number) for number in set(self.partitions) - partitions]
        await asyncio.gather(*(partition.close() for partition in gone))
        for number in sorted(partitions - set(self.partitions)):
            self._closed.pop(number, None)
            self.partitions[number] = Partition(number, self._source, self._archive, self._budget, self.figures, self._go_on)

    async def stop(self) -> None:
        """Let go of everything; what was archived can still be committed."""
        self._closed, self.partitions = self.partitions, {}
        await asyncio.gather(*(partition.close() for partition in self._closed.values()))

    def unhealthy(self) -> list[str]:
        """What an operator must know; empty when every partition runs and its inserts come through."""
        problems = []
        for partition in self.partitions.values():
            if partition.status is not Status.RUNNING or partition.reason:
                reason = f": {partition.reason}" if partition.reason else ""
                problems.append(f"partition {partition.number} is {partition.status.value}{reason}")
            if partition.lost:
                problems.append(f"partition {partition.number}: {partition.lost}")
        return problems
