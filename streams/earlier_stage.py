"""The partitions of a stage on one worker, and what Faust's consumer asks about them
(streams.earlier_positions)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

GoOn = Callable[[int], Awaitable[None]]
"""`go_on(partition)` makes the consumer read from the partition's `next_offset` on."""


class Status(Enum):
    RESTORING = "restoring"
    RUNNING = "running"
    HALTED = "halted"
    CLOSED = "closed"


class Owned(Protocol):
    """A partition from assignment to revocation, which begins to restore itself when it is made."""

    number: int
    status: Status
    reason: str

    @property
    def held(self) -> bool:
        """See Intake, as the next two."""

    @property
    def next_offset(self) -> int | None: ...
    @property
    def committable(self) -> int | None: ...

    def feed(self, records: Sequence[Any]) -> None:
        """Take the next records as they came from Kafka. Never raises: what cannot go on halts the
        partition."""

    async def close(self) -> None:
        """Revoked or stopping: let go of everything. `committable` still answers."""


Kept = TypeVar("Kept", bound=Owned)


class Stage(Generic[Kept]):
    """`Intake` of the stage's app. `make(number, figures, go_on)` makes a partition."""

    def __init__(self, make: Callable[[int, Counter[str], GoOn], Kept], go_on: GoOn) -> None:
        self.figures: Counter[str] = Counter()
        self.partitions: dict[int, Kept] = {}
        self._make = make
        self._go_on = go_on
        self._closed: dict[int, Kept] = {}
        self._stopped = False

    # Intake

    def held(self, partition: int) -> bool:
        return partition not in self.partitions or self.partitions[partition].held

    def next_offset(self, partition: int) -> int | None:
        owned = self.partitions.get(partition)
        return owned.next_offset if owned else None

    def committable(self, partition: int) -> int | None:
        owned = self.partitions.get(partition) or self._closed.get(partition)
        return owned.committable if owned else None

    async def stop(self) -> None:
        self._stopped = True
        self._closed, self.partitions = self.partitions, {}
        await asyncio.gather(*(partition.close() for partition in self._closed.values()))

    # Faust

    def feed(self, partition: int, fetched: list[Any]) -> None:
        """One event: consecutive records of a partition."""
        owned = self.partitions.get(partition)
        if owned is not None:
            owned.feed(fetched)

    async def assigned(self, partitions: set[int]) -> None:
        """A rebalance: keep what stays, let go of what went, restore what came."""
        gone = [self.partitions.pop(number) for number in set(self.partitions) - partitions]
        await asyncio.gather(*(partition.close() for partition in gone))
        for number in sorted(partitions - set(self.partitions)):
            if not self._stopped:
                self.partitions[number] = self._make(number, self.figures, self._go_on)

    def unhealthy(self) -> list[str]:
        """What an operator must know; empty when every partition runs."""
        return [
            f"partition {p.number} is {p.status.value}{': ' + p.reason if p.reason else ''}"
            for p in self.partitions.values()
            if p.status is not Status.RUNNING
        ]
