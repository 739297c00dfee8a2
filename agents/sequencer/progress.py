"""What must move in a sequencer worker, for the watchdog."""

from collections.abc import Iterable

from agents.sequencer.io import SequencerIO
from agents.sequencer.stage import SequencerStage
from connectors.kafka.ports import ReadTimeout
from schemas.topics import SUBMITTED
from streams.earlier_stage import Status
from streams.earlier_watchdog import ProgressProbe
from streams.faust_adapter.app import PipelineApp


class SequencerProgress:
    """The group membership, and every partition that has input to fold or appends under way. Halted
    ones owe nothing."""

    def __init__(self, app: PipelineApp, stage: SequencerStage, outside: SequencerIO) -> None:
        self._app = app
        self._stage = stage
        self._outside = outside

    def vitals(self) -> Iterable[ProgressProbe]:
        yield ProgressProbe("joining the group", self._app.rebalancing_count, self._app.joining)
        for partition in self._stage.partitions.values():
            name = f"partition {partition.number}"
            if partition.status is Status.RESTORING:
                yield ProgressProbe(name, partition.progress, owed=True)
            elif partition.status is Status.RUNNING:
                end = self._app.input_end(partition.number)
                position = partition.next_offset
                lagging = end is not None and position is not None and end > position
                yield ProgressProbe(name, partition.progress, owed=lagging or not partition.idle)

    async def reachable(self) -> bool:
        """Whether Kafka answers for every partition."""
        try:
            await self._outside.watermarks(SUBMITTED, list(self._stage.partitions) or [0])
        except ReadTimeout:
            return False
        return True
