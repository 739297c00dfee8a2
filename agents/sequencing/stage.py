"""The sequencer's partitions on one worker, and what Faust's consumer asks about them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from agents.sequencing.outside import Outside
from agents.sequencing.partition import Partition, Status
from connectors.kafka.reader import ReadTimeout
from schemas.ids import partition_of
from schemas.ranges import HeadsAnswer, HeadsQuestion, NewestAnswer, NewestQuestion, SeqsAnswer, SeqsQuestion
from schemas.topics import LOG, SUBMITTED

log = logging.getLogger(__name__)


class SequencerStage:
    """`Intake` of the sequencer's app. `go_on(partition)` makes the consumer read from the stage's position."""

    def __init__(
        self, partitions: int, outside: Outside, go_on: Callable[[int], Awaitable[None]], now: Callable[[], int]
    ) -> None:
        self.figures: Counter[str] = Counter()
        self.partitions: dict[int, Partition] = {}
        self._count = partitions
        self._outside = outside
        self._go_on = go_on
        self._now = now
        self._closed: dict[int, Partition] = {}

    # Intake

    def held(self, partition: int) -> bool:
        return partition not in self.partitions or self.partitions[partition].held

    def next_offset(self, partition: int) -> int | None:
        owned = self.partitions.get(partition)
        return owned.next_offset if owned else None

    def committable(self, partition: int) -> int | None:
        owned = self.partitions.get(partition) or self._closed.get(partition)
        return owned.committable if owned else None

    # Faust

    def feed(self, partition: int, fetched: list[Any]) -> None:
        """One event: consecutive aiokafka records of a partition."""
        owned = self.partitions.get(partition)
        if owned is not None:
            owned.feed(fetched)

    async def assigned(self, partitions: set[int]) -> None:
        """A rebalance: keep what stays, let go of what went, restore what came."""
        gone = [self.partitions.pop(number) for number in set(self.partitions) - partitions]
        if gone:
            await asyncio.gather(*(partition.close() for partition in gone))
        for number in sorted(partitions - set(self.partitions)):
            self._closed.pop(number, None)
            self.partitions[number] = Partition(number, self._outside.partition(number), self.figures, self._go_on, self._now)

    async def stop(self) -> None:
        """Let go of everything; what was delivered can still be committed."""
        self._closed, self.partitions = self.partitions, {}
        await asyncio.gather(*(partition.close() for partition in self._closed.values()))

    def write(self) -> None:
        """Bring what has landed into the tables, every second, and sweep a little of their indexes."""
        for partition in self.partitions.values():
            partition.write()
            partition.sweep()

    async def look(self) -> None:
        """See whether the input of every running partition still joins on (it may have been re-created unnoticed), and where
        its log begins."""
        running = {p: p.position for p in self.partitions.values() if p.status is Status.RUNNING}
        try:
            inputs = await self._outside.watermarks(SUBMITTED, [partition.number for partition in running])
            logs = await self._outside.watermarks(LOG, [partition.number for partition in running])
        except ReadTimeout as error:
            log.warning("Kafka cannot be looked at: %s", error)
            return
        for partition, position in running.items():
            partition.input_is(*inputs[partition.number], position)
            partition.log_start = logs[partition.number][0]

    def seq(self, conversation: str) -> int:
        """The last sequence number of a conversation of one of this worker's partitions, else 0."""
        owned = self.partitions.get(partition_of(conversation, self._count))
        return owned.table.seq(conversation) if owned and owned.table else 0

    async def heads(self, question: HeadsQuestion) -> HeadsAnswer:
        """What is new to a device, of the partitions asked that are here."""
        owned = {number: self.partitions[number] for number in question.cursors if number in self.partitions}
        found = await asyncio.gather(
            *(
                partition.heads(question.user, question.after, question.until, question.cursors[number])
                for number, partition in owned.items()
            )
        )
        return {number: dict(heads) for number, heads in zip(owned, found, strict=True) if heads is not None}

    async def seqs(self, question: SeqsQuestion) -> SeqsAnswer:
        """Last seqs of conversations, of the partitions asked that are here."""
        owned = {number: self.partitions[number] for number in question.conversations if number in self.partitions}
        found = await asyncio.gather(*(partition.seqs(question.conversations[number]) for number, partition in owned.items()))
        return {number: seqs for number, seqs in zip(owned, found, strict=True) if seqs is not None}

    async def newest(self, question: NewestQuestion) -> NewestAnswer:
        """Conversations last written to, of the partitions asked that are here."""
        owned = {number: self.partitions[number] for number in question.partitions if number in self.partitions}
        found = await asyncio.gather(
            *(partition.newest(question.user, question.limit, question.before) for partition in owned.values())
        )
        return {number: newest for number, newest in zip(owned, found, strict=True) if newest is not None}

    def readable(self) -> list[int]:
        """The partitions whose log this worker can tell by number, halted ones included."""
        return [partition.number for partition in self.partitions.values() if partition.table is not None]

    def unhealthy(self) -> list[str]:
        """What an operator must know; empty when every partition runs."""
        return [
            f"partition {p.number} is {p.status.value}{': ' + p.reason if p.reason else ''}"
            for p in self.partitions.values()
            if p.status is not Status.RUNNING
        ]
