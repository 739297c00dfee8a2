"""The archiver's partitions of one topic on one worker."""

from collections import Counter
from typing import Any

from agents.archiver.budget import Budget
from agents.archiver.content import Content
from agents.archiver.inserts import Inserts
from agents.archiver.partition import Partition, Source
from connectors.clickhouse.archive import Archive
from streams.earlier_stage import GoOn, Stage, Status


class ArchiverStage(Stage[Partition[Any]]):
    """`budget` is shared with the other stages of the worker."""

    def __init__(
        self, content: Content[Any], source: Source, archive: Archive, budget: Budget, go_on: GoOn
    ) -> None:
        self.topic = content.topic

        def make(number: int, figures: Counter[str], go_on: GoOn) -> Partition[Any]:
            return Partition(
                number, content, source, archive, self._inserts, budget, figures, go_on
            )

        super().__init__(make, go_on)
        self._inserts = Inserts(content, archive, budget.turns, self.figures)

    async def stop(self) -> None:
        await super().stop()
        await self._inserts.close()

    def unhealthy(self) -> list[str]:
        """What an operator must know; empty when every partition runs and its inserts come
        through."""
        problems = []
        for partition in self.partitions.values():
            if partition.status is not Status.RUNNING or partition.reason:
                reason = f": {partition.reason}" if partition.reason else ""
                problems.append(
                    f"{self.topic} partition {partition.number} is {partition.status.value}{reason}"
                )
            if partition.lost:
                problems.append(f"{self.topic} partition {partition.number}: {partition.lost}")
        return problems
