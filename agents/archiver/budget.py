"""What all partitions of an archiver may hold together."""

import asyncio

PARTITION_BYTES = 4 * 1024 * 1024
"""Of records a partition holds before it reads no more: one block under way, one full behind it."""
_TOTAL_BYTES = 32 * 1024 * 1024
_INSERTS = 2
"""Inserts under way at once: ClickHouse merges better what comes in few large blocks."""


class Budget:
    """Bytes of records held by the partitions of a process, and turns to insert."""

    def __init__(self) -> None:
        self.bytes = 0
        self.turns = asyncio.Semaphore(_INSERTS)

    def full(self, held: int) -> bool:
        """A partition that holds `held` bytes must read no more."""
        return held >= PARTITION_BYTES or (held > 0 and self.bytes >= _TOTAL_BYTES)
