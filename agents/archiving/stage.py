"""The archiver's partitions on one worker."""

from collections import Counter

from agents.archiving.budget import Budget
from agents.archiving.partition import Partition, Source
from connectors.clickhouse.archive import Archive
from streams.stage import GoOn, Stage, Status


class ArchiverStage(Stage[Partition]):
    """All its partitions share one budget."""

    def __init__(self, source: Source, archive: Archive, go_on: GoOn) -> None:
        budget = Budget()

        def make(number: int, figures: Counter[str], go_on: GoOn) -> Partition:
            return Partition(number, source, archive, budget, figures, go_on)

        super().__init__(make, go_on)

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
