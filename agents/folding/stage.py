"""The partitions of a folding stage on one worker, and what Faust's consumer asks about them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from agents.folding.outside import Outside
from agents.folding.partition import Partition, Status

GoOn = Callable[[int], Awaitable[None]]
Kept = TypeVar("Kept", bound=Partition[Any])


class FoldingStage(Generic[Kept]):
    """`Intake` of the stage's app. `make(number, figures, go_on)` makes a partition; `go_on(partition)` makes the consumer read
    from its position."""

    def __init__(self, outside: Outside, make: Callable[[int, Counter[str], GoOn], Kept], go_on: GoOn) -> None:
        self.figures: Counter[str] = Counter()
        self.partitions: dict[int, Kept] = {}
        self.outside = outside
        self._make = make
        self._go_on = go_on
        self._closed: dict[int, Kept] = {}

    # Intake

    def held(self, partition: int) -> bool:
        return partition not in self.partitions or self.partitions[partition].held

    def next_offset(self, partition: int) -> int | None:
        owned = self.partitions.get(partition)
        return owned.next_offset if owned else None

    def committable(self, partition: int) -> int | None:
        owned = self.partitions.get(partition) or self._closed.get(partition)
        return owned.done if owned else None

    # Faust

    def feed(self, partition: int, fetched: list[Any]) -> None:
        """One event: consecutive aiokafka records of a partition."""
        owned = self.partitions.get(partition)
        if owned is not None:
            owned.feed(fetched)

    async def assigned(self, partitions: set[int]) -> None:
        """A rebalance: keep what stays, let go of what went, restore what came."""
        gone = [self.partitions.pop(number) for number in set(self.partitions) - partitions]
        await asyncio.gather(*(partition.close() for partition in gone))
        for number in sorted(partitions - set(self.partitions)):
            self._closed.pop(number, None)
            self.partitions[number] = self._make(number, self.figures, self._go_on)

    async def stop(self) -> None:
        """Let go of everything; what is done can still be committed."""
        self._closed, self.partitions = self.partitions, {}
        await asyncio.gather(*(partition.close() for partition in self._closed.values()))

    def readable(self) -> list[int]:
        """The partitions this worker can be asked about, halted ones included."""
        return [partition.number for partition in self.partitions.values() if partition.readable]

    def unhealthy(self) -> list[str]:
        """What an operator must know; empty when every partition runs."""
        return [
            f"partition {p.number} is {p.status.value}{': ' + p.reason if p.reason else ''}"
            for p in self.partitions.values()
            if p.status is not Status.RUNNING
        ]
