"""What a consumer asks about the partitions it reads: the stage answers from its own state."""

from typing import Protocol


class PartitionPositions(Protocol):
    """The answers of a stage."""

    def paused(self, partition: int) -> bool:
        """Nothing may be read from this partition now: it restores its state, is halted, or is
        full."""

    def next_offset(self, partition: int) -> int | None:
        """The offset to read next, from the state and never from the consumer group; None if not
        known yet."""

    def committable(self, partition: int) -> int | None:
        """The offset to commit: the stage is done with all records before it. None: nothing to
        commit."""
