"""One partition of the memberships: it folds its input, which is its own changelog (R11)."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from connectors.kafka.ports import Kafka, KafkaUnreachable, ReadTimeout
from connectors.kafka.record import Record
from connectors.redis.owners import Owners
from schemas.codec import decode_membership
from schemas.events import AllSaid, Membership
from schemas.topics import MEMBERSHIPS
from streams.backlog import BacklogPartition, FactBacklog, Facts
from streams.inputs import InputSeen
from streams.partition import PartitionRuntime
from streams.tables.changelog import Header
from streams.tables.memberships import MembershipTable

log = logging.getLogger(__name__)

Fact = Membership | AllSaid

_FOLDING_SECONDS = 0.5
"""A question waits so long for a partition that is behind its input."""


class MembershipsIO(NamedTuple):
    """The ports of the stage. `partitions` is how many the log has, `open_table(partition)` opens a
    table on this worker's disk, and `address` is where gateways reach this worker."""

    kafka: Kafka
    owners: Owners
    partitions: int
    open_table: Callable[[int], MembershipTable]
    address: str


class MembershipsPartition(BacklogPartition[Fact, Facts[Fact]]):
    """`table` is None while it is not open. It says up to where the input is folded; what the group
    has committed does not count."""

    def __init__(self, number: int, runtime: PartitionRuntime, io: MembershipsIO) -> None:
        super().__init__(number, runtime, FactBacklog())
        self.table: MembershipTable | None = None
        self._io = io
        self._topic = ""
        """Kafka's id of the input."""
        self._start = 0
        self._moved = asyncio.Event()
        """Set, and replaced, when something was folded."""

    async def restore(self) -> int:
        await self.in_restores(self._restore)
        return self._start

    def _restore(self) -> None:
        """In a thread."""
        topics = self._io.kafka.topic_ids()
        if MEMBERSHIPS not in topics:
            raise KafkaUnreachable(f"there is no topic {MEMBERSHIPS} now")
        self._topic = topics[MEMBERSHIPS]
        with contextlib.closing(self._io.kafka.reader()) as reader:
            start, end = reader.watermarks(MEMBERSHIPS, self.number)
        table = self._io.open_table(self.number)
        try:
            if table.header is not None and table.header.topic != self._topic:
                table.wipe()
                table = self._io.open_table(self.number)
            offset = table.header.offset if table.header is not None else 0
            self._start = min(max(offset, start), end)
            table.write((), Header(self._topic, self._start))
        except BaseException:
            table.close()
            raise
        self.table = table

    async def begin(self) -> None:
        await self._io.owners.take(self.number, self._io.address)

    def decode(self, record: Record) -> Sequence[Fact]:
        return [decode_membership(record.value).fact]

    async def apply(self, block: Facts[Fact]) -> None:
        if self.table is not None:
            facts = [told.fact for told in block.facts]
            self.table.write(facts, Header(self._topic, block.last + 1))
            self.figures["facts"] += len(facts)
            self._wake_questions()

    def input_is(self, seen: InputSeen, position: int) -> None:
        if seen.topic != self._topic:
            why = f"{MEMBERSHIPS} was created anew"
        elif seen.end < position:
            why = f"{MEMBERSHIPS} has lost its tail: it ends at {seen.end}, not {position}"
        else:
            return
        log.critical("%s: %s", self.name, why)
        self.runtime.restart(self.number, why)

    def detach(self) -> Callable[[], None] | None:
        table, self.table = self.table, None
        self._wake_questions()
        return table.close if table is not None else None

    @property
    def readable(self) -> bool:
        return self.table is not None and super().readable

    # What gateways ask

    async def partitions_of(self, users: Sequence[str]) -> list[list[int]] | None:
        """In which partitions of the log each user may have conversations, in order: from all that
        is in the input now, whoever answers. None if this partition is not as far."""
        folded = self._folded
        with contextlib.suppress(ReadTimeout, TimeoutError):
            end = await self.runtime.inputs.end(MEMBERSHIPS, self.number)
            if end >= folded:  # else it is another topic, or has lost its tail
                async with asyncio.timeout(_FOLDING_SECONDS):
                    while self._is_behind(end):
                        await self._moved.wait()
                if self.table is not None:
                    unsaid = set(range(self._io.partitions)) - self.table.said
                    return [sorted(unsaid.union(self.table.partitions(user))) for user in users]
        return None

    def _is_behind(self, end: int) -> bool:
        return self.table is not None and self._folded < end

    @property
    def _folded(self) -> int:
        """The offset up to which the input is in the table."""
        header = self.table.header if self.table is not None else None
        return header.offset if header is not None else -1

    def report(self) -> dict[str, Any]:
        said = len(self.table.said) if self.table is not None else None
        return super().report() | {"said": said}

    def _wake_questions(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
