"""What an archiver holds: the rows of one partition, gathered into blocks, within a budget of the
process."""

import asyncio
from collections.abc import Sequence
from typing import Generic

from agents.rules.archive import Block, Gathering, R
from connectors.kafka.record import Record

PARTITION_BYTES = 4 * 1024 * 1024
"""Bytes of records that a partition holds before it reads no more: one block under way, and one
full behind it."""
_TOTAL_BYTES = 32 * 1024 * 1024
_INSERTS = 2
"""Inserts under way at once: ClickHouse merges better what comes in few large blocks."""


class Budget:
    """What all partitions of a process share: the bytes of records that they may hold, and how many
    may insert at once."""

    def __init__(self) -> None:
        self.bytes = 0
        self.turns = asyncio.Semaphore(_INSERTS)

    def full(self, held: int) -> bool:
        """Whether a partition that holds `held` bytes must read no more."""
        return held >= PARTITION_BYTES or (held > 0 and self.bytes >= _TOTAL_BYTES)


class ArchiveBacklog(Generic[R]):
    """`Backlog` (streams/backlog.py) of one partition. A block waits at most `linger` seconds."""

    def __init__(self, linger: float, budget: Budget) -> None:
        self._gathering = Gathering[R](linger)
        self._budget = budget
        self.bytes = 0
        """Held, a block under way included."""

    @property
    def rows(self) -> int:
        """Not yet in a block."""
        return self._gathering.count

    @property
    def full(self) -> bool:
        return self._budget.full(self.bytes)

    @property
    def empty(self) -> bool:
        return not self.bytes

    def add(self, record: Record, facts: Sequence[R], now: float) -> None:
        size = self._gathering.add(record.offset, record.value, list(facts), now)
        self.bytes += size
        self._budget.bytes += size

    def due(self, now: float) -> float:
        return self._gathering.due(now)

    def take(self, now: float) -> Block[R]:
        return self._gathering.take(now)

    def done(self, block: Block[R]) -> None:
        self.bytes -= block.bytes
        self._budget.bytes -= block.bytes

    def forget(self) -> None:
        """The partition is released: what it holds is read again by its next owner."""
        self._budget.bytes -= self.bytes
        self.bytes = 0
