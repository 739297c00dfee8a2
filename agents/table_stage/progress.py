"""What must move in a worker of a folding stage, for the watchdog."""

from collections.abc import Iterable
from typing import Any

from agents.table_stage.stage import TableStage
from streams.earlier_stage import Status
from streams.earlier_watchdog import ProgressProbe
from streams.faust_adapter.app import PipelineApp


class TableStageProgress:
    """The group membership, and every partition that has facts to do. One that waits for Redis owes
    nothing."""

    def __init__(self, app: PipelineApp, stage: TableStage[Any]) -> None:
        self._app = app
        self._stage = stage

    def vitals(self) -> Iterable[ProgressProbe]:
        yield ProgressProbe("joining the group", self._app.rebalancing_count, self._app.joining)
        for partition in self._stage.partitions.values():
            if partition.status is Status.RUNNING:
                end, done = self._app.input_end(partition.number), partition.committable
                owed = (
                    end is not None
                    and done is not None
                    and end > done
                    and not partition.waiting_for_redis
                )
                yield ProgressProbe(f"partition {partition.number}", partition.progress, owed)

    async def reachable(self) -> bool:
        """Whether Kafka answers."""
        return await self._stage.outside.reachable(
            self._app.intake_topic, next(iter(self._stage.partitions), 0)
        )
