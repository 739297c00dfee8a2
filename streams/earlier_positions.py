"""What the Faust consumer asks about the partitions of a coalesced topic: the stage answers from
its own state (R3, R5, R7)."""

from typing import Protocol


class PartitionPositions(Protocol):
    def held(self, partition: int) -> bool:
        """Nothing may be read from this partition now: it restores its state, is halted, or is
        full."""

    def next_offset(self, partition: int) -> int | None:
        """The offset to read next, from the state and never from the consumer group; None if not
        known yet."""

    def committable(self, partition: int) -> int | None:
        """The offset to commit: all before it is appended and delivered; None if there is nothing
        to say."""

    async def stop(self) -> None:
        """Let go of all partitions, with what they hold on disk. Nothing is read after it;
        `committable` still answers."""
