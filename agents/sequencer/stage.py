"""The sequencer's partitions on one worker: their tables written, their input looked at, their
questions answered."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable

from agents.sequencer.io import SequencerIO
from agents.sequencer.partition import Partition
from connectors.kafka.ports import KafkaUnreachable, ReadTimeout
from schemas.ids import partition_of
from schemas.topics import LOG
from schemas.worker_api import (
    HeadsAnswer,
    HeadsQuestion,
    HoldingAnswer,
    HoldingQuestion,
    NewestAnswer,
    NewestQuestion,
    SeqsAnswer,
    SeqsQuestion,
)
from streams.earlier_stage import GoOn, Stage, Status

log = logging.getLogger(__name__)


class SequencerStage(Stage[Partition]):
    """`partitions` is how many the topics have."""

    def __init__(
        self, partitions: int, outside: SequencerIO, go_on: GoOn, now: Callable[[], int]
    ) -> None:
        def make(number: int, figures: Counter[str], go_on: GoOn) -> Partition:
            return Partition(number, outside.partition(number), figures, go_on, now)

        super().__init__(make, go_on)
        self._count = partitions
        self._outside = outside

    def write(self) -> None:
        """Bring what has landed into the tables, every second, and sweep a little of their
        indexes."""
        for partition in self.partitions.values():
            partition.write()
            partition.sweep()

    async def look(self) -> None:
        """See whether the input of every running partition still joins on (it may have been
        re-created unnoticed), and where its log begins."""
        running = {p: p.position for p in self.partitions.values() if p.status is Status.RUNNING}
        try:
            inputs = await self._outside.inputs([partition.number for partition in running])
            logs = await self._outside.watermarks(LOG, [partition.number for partition in running])
        except (ReadTimeout, KafkaUnreachable) as error:
            log.warning("Kafka cannot be looked at: %s", error)
            return
        for partition, position in running.items():
            partition.input_is(inputs[partition.number], position)
            partition.log_start = logs[partition.number][0]

    def seq(self, conversation: str) -> int:
        """The last sequence number of a conversation of one of this worker's partitions, else 0."""
        owned = self.partitions.get(partition_of(conversation, self._count))
        return owned.table.seq(conversation) if owned and owned.table else 0

    def _asked(self, numbers: Iterable[int]) -> dict[int, Partition]:
        """The partitions asked that are here; the question is counted."""
        owned = {number: self.partitions[number] for number in numbers if number in self.partitions}
        self.figures["questions"] += 1
        self.figures["partitions_asked"] += len(owned)
        return owned

    async def holding(self, question: HoldingQuestion) -> HoldingAnswer:
        """Whether a user has conversations, of the partitions asked that are here."""
        owned = self._asked(question.partitions)
        found = await asyncio.gather(
            *(partition.holds(question.user) for partition in owned.values())
        )
        return {
            number: holds for number, holds in zip(owned, found, strict=True) if holds is not None
        }

    async def heads(self, question: HeadsQuestion) -> HeadsAnswer:
        """What is new to a device, of the partitions asked that are here."""
        owned = self._asked(question.cursors)
        found = await asyncio.gather(
            *(
                partition.heads(
                    question.user, question.after, question.until, question.cursors[number]
                )
                for number, partition in owned.items()
            )
        )
        return {
            number: dict(heads)
            for number, heads in zip(owned, found, strict=True)
            if heads is not None
        }

    async def seqs(self, question: SeqsQuestion) -> SeqsAnswer:
        """Last seqs of conversations, of the partitions asked that are here."""
        owned = self._asked(question.conversations)
        found = await asyncio.gather(
            *(partition.seqs(question.conversations[number]) for number, partition in owned.items())
        )
        return {number: seqs for number, seqs in zip(owned, found, strict=True) if seqs is not None}

    async def newest(self, question: NewestQuestion) -> NewestAnswer:
        """Conversations last written to, of the partitions asked that are here."""
        owned = self._asked(question.partitions)
        found = await asyncio.gather(
            *(
                partition.newest(question.user, question.limit, question.before)
                for partition in owned.values()
            )
        )
        return {
            number: newest
            for number, newest in zip(owned, found, strict=True)
            if newest is not None
        }

    def readable(self) -> list[int]:
        """The partitions whose log this worker can tell by number, halted ones included."""
        return [
            partition.number
            for partition in self.partitions.values()
            if partition.table is not None
        ]
