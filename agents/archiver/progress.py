"""What must move in an archiver, for the watchdog."""

from collections.abc import Iterable

from agents.archiver.source import KafkaSource
from agents.archiver.stage import ArchiverStage
from streams.earlier_stage import Status
from streams.earlier_watchdog import ProgressProbe
from streams.faust_adapter.app import PipelineApp


class ArchiverProgress:
    """The group membership, and every partition that has something to read. One that waits for
    ClickHouse owes nothing: its inserts have time limits of their own and are tried for ever."""

    def __init__(self, app: PipelineApp, stage: ArchiverStage, source: KafkaSource) -> None:
        self._app = app
        self._stage = stage
        self._source = source

    def vitals(self) -> Iterable[ProgressProbe]:
        yield ProgressProbe("joining the group", self._app.rebalancing_count, self._app.joining)
        for partition in self._stage.partitions.values():
            if partition.status is Status.RUNNING:
                end, position = self._app.input_end(partition.number), partition.next_offset
                lagging = end is not None and position is not None and end > position
                name = f"{self._stage.topic} partition {partition.number}"
                yield ProgressProbe(name, partition.progress, lagging and not partition.held)

    async def reachable(self) -> bool:
        """Whether Kafka answers."""
        return await self._source.reachable()
