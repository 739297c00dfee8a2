"""What must move in a cursors worker, for the watchdog."""

from collections.abc import Iterable

from agents.receipts.outside import Outside
from agents.receipts.partition import Status
from agents.receipts.stage import CursorStage
from streams.app import PipelineApp
from streams.watchdog import Vital


class CursorVitals:
    """The group membership, and every partition that has receipts to do. One that waits for Redis owes nothing."""

    def __init__(self, app: PipelineApp, stage: CursorStage, outside: Outside) -> None:
        self._app = app
        self._stage = stage
        self._outside = outside

    def vitals(self) -> Iterable[Vital]:
        yield Vital("joining the group", self._app.rebalancing_count, self._app.joining)
        for partition in self._stage.partitions.values():
            if partition.status is Status.RUNNING:
                end, done = self._app.input_end(partition.number), partition.done
                owed = end is not None and done is not None and end > done and not partition.waiting_for_redis
                yield Vital(f"partition {partition.number}", partition.progress, owed)

    async def reachable(self) -> bool:
        """Whether Kafka answers."""
        return await self._outside.reachable(next(iter(self._stage.partitions), 0))
