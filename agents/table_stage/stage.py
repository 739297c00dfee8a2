"""The partitions of a folding stage on one worker."""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from agents.table_stage.io import TableStageIO
from agents.table_stage.partition import Partition
from streams.earlier_stage import GoOn, Stage

Kept = TypeVar("Kept", bound=Partition[Any])


class TableStage(Stage[Kept]):
    """`outside` is what its partitions see of the world."""

    def __init__(
        self, outside: TableStageIO, make: Callable[[int, Counter[str], GoOn], Kept], go_on: GoOn
    ) -> None:
        super().__init__(make, go_on)
        self.outside = outside

    def readable(self) -> list[int]:
        """The partitions this worker can be asked about, halted ones included."""
        return [partition.number for partition in self.partitions.values() if partition.readable]
