"""A partition that folds facts into a table, whose changelog is a compacted topic: cursors,
presence and people.

Their folds number nothing and do not mind repeats. When a worker dies, the next owner reads and
folds again what was not done. A change is in the changelog before it is in the table, so that the
next owner, who may not have this disk, knows it too.
"""

import abc
import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from connectors.kafka.ports import Kafka, Producer, Reader, ReadTimeout
from connectors.redis.owners import Owners
from schemas.events import Delivered
from streams.backlog import BacklogPartition, FactBacklog, Facts, Told
from streams.inputs import InputSeen, start_at
from streams.partition import PartitionRuntime, Stopped
from streams.sending import send_all
from streams.slot_news import SlotNews
from streams.slot_sender import SlotSender
from streams.steps import Step
from streams.tables.changelog import ChangelogTable, Header

log = logging.getLogger(__name__)

_BEHIND_SECONDS = 0.5
"""A question that needs all of the input waits so long for a partition that is behind."""
FOLD_SECONDS = 0.025
"""All partitions of a process fold at these moments, so that what they deliver shares lookups and
records."""

Fact = TypeVar("Fact")
Key = TypeVar("Key")
Value = TypeVar("Value")
Table = TypeVar("Table", bound=ChangelogTable)


class TableIO(NamedTuple, Generic[Table]):
    """The ports of such a stage. `open_table(partition)` opens a table on this worker's disk;
    `address` is where gateways reach this worker; `group` is the stage's in Kafka; `sender`
    is that of all stages of the process."""

    kafka: Kafka
    producer: Producer
    sender: SlotSender
    owners: Owners
    open_table: Callable[[int], Table]
    group: str
    changelog: str
    address: str


class TablePartition(
    BacklogPartition[Fact, Facts[Fact]], abc.ABC, Generic[Fact, Table, Key, Value]
):
    """`table` is None while it is not open."""

    def __init__(self, number: int, runtime: PartitionRuntime, io: TableIO[Table]) -> None:
        super().__init__(number, runtime, FactBacklog(FOLD_SECONDS))
        self.table: Table | None = None
        self.news: SlotNews
        """There is one once the state is restored."""
        self.input_id = ""
        """Kafka's id of the input."""
        self._io = io
        self._start = 0
        self._superseded: dict[Key, Value] = {}
        self._folded = 0
        """The input's records before this offset are in the table."""
        self._moved = asyncio.Event()
        """Set, and replaced, when something was folded."""

    # What a stage says

    @abc.abstractmethod
    def change(self, value: bytes) -> tuple[Key, Value]:
        """What a record of the changelog says."""

    @abc.abstractmethod
    def known(self, table: Table, key: Key) -> Value | None:
        """What a table has of a key."""

    @abc.abstractmethod
    def is_late(self, value: Value, known: Value) -> bool:
        """Whether a record of the changelog comes from an owner that was paused: another value of
        the key, which is known, is later."""

    @abc.abstractmethod
    def record(self, key: Key, value: Value) -> tuple[bytes, bytes]:
        """The value and the key of a record of the changelog."""

    @abc.abstractmethod
    async def fold(self, facts: Sequence[Told[Fact]]) -> None:
        """Fold facts; return when the changelog and the table have the changes, and deliveries are
        sent. It is called again with the same facts after trouble outside, and by the next owner if
        not all deliveries were acknowledged: it must deliver then what is known already."""

    # What it does itself

    async def apply(self, block: Facts[Fact]) -> None:
        await self.fold(block.facts)
        self.news.reach(block.last)
        self._folded = block.last + 1
        self._moved.set()
        self._moved = asyncio.Event()
        self.figures["facts"] += len(block.facts)

    async def run(self) -> None:
        self.spawn(self.news.run())
        await super().run()

    @property
    def committable(self) -> int | None:
        if self._committable is not None:  # it is restored
            self._committable = self.news.delivered + 1
        return self._committable

    @property
    def readable(self) -> bool:
        return self.table is not None and super().readable

    async def restore(self) -> int:
        if self.table is None:
            await self.in_restores(self._restore)
        # An owner that was paused may have written, late, what its successor has superseded, and
        # compaction would keep that.
        await self.append(self._superseded)
        self.news = SlotNews(self.name, self._io.sender, self._start - 1)
        self._folded = self._start
        return self._start

    async def begin(self) -> None:
        # Before any look for routes: gateway/queries/worker_client.py relies on it.
        await self._io.owners.take(self.number, self._io.address)

    async def caught_up(self) -> bool:
        """Whether everything that is in the input now is folded, in a moment at the latest."""
        topic, number = self.runtime.topic, self.number
        with contextlib.suppress(ReadTimeout, TimeoutError):
            end = await self.runtime.inputs.end(topic, number)
            async with asyncio.timeout(_BEHIND_SECONDS):
                while self.readable and self._folded < end:
                    await self._moved.wait()
            return self.readable
        return False

    async def append(self, changed: Mapping[Key, Value]) -> None:
        """Append changes to the changelog. Raises KafkaSendError, QueueFull."""
        records = [(self.number, *self.record(key, value)) for key, value in changed.items()]
        topic = self._io.changelog
        sent = send_all(self._io.producer, topic, records)
        await self.retry.acknowledged(sent, f"records of {topic}/{self.number}")

    async def deliver(self, slots: Mapping[int, Sequence[Delivered]]) -> Step:
        """Send events to gateways, by slot; they may not be acknowledged yet."""
        self.figures["told"] += sum(map(len, slots.values()))
        return await self.news.send(slots)

    def report(self) -> dict[str, Any]:
        behind = self.news.behind if self.committable is not None else []
        return super().report() | {"slots_left_behind": behind}

    def input_is(self, seen: InputSeen, position: int) -> None:
        if seen.topic != self.input_id:
            why = f"{self.runtime.topic} was created anew"
        elif seen.end < position:
            why = f"{self.runtime.topic} has lost its tail: it ends at {seen.end}, not {position}"
        else:
            return
        self.input_id = seen.topic  # say so once
        log.critical("%s: %s; it is read from its start", self.name, why)
        self.figures["inputs_begun_anew"] += 1
        self.runtime.restart(self.number, why)

    def skipped(self, expected: int, first: int) -> bool:
        self._lose(first - expected, first)
        return True

    def detach(self) -> Callable[[], None] | None:
        table, self.table = self.table, None
        return table.close if table is not None else None

    def _lose(self, lost: int, start: int) -> None:
        self.figures["lost_records"] += lost
        log.critical(
            "%s: %d records of %s before offset %d expired before they were read",
            *(self.name, lost, self.runtime.topic, start),
        )

    # In a thread

    def _restore(self) -> None:
        topics = self._io.kafka.topic_ids()
        table = self._io.open_table(self.number)
        try:
            if table.header is not None and table.header.topic != topics[self._io.changelog]:
                table.wipe()
                table = self._io.open_table(self.number)
            with contextlib.closing(self._io.kafka.reader(group=self._io.group)) as reader:
                self._find_start(reader, table.header, topics[self.runtime.topic])
                self._superseded = self._read_changelog(reader, table, topics[self._io.changelog])
        except BaseException:
            table.close()
            raise
        self.table = table

    def _find_start(self, reader: Reader, header: Header | None, input_id: str) -> None:
        self.input_id = input_id
        committed = reader.committed(self.runtime.topic, self.number)
        if header is not None and header.input not in ("", input_id):
            committed = None  # of another topic
        start = start_at(committed, *reader.watermarks(self.runtime.topic, self.number))
        self._start = start.offset
        if start.lost:
            self._lose(start.lost, start.offset)

    def _read_changelog(self, reader: Reader, table: Table, topic_id: str) -> dict[Key, Value]:
        """Bring the table up to its topic's end. Returns the values that must be appended again:
        compaction would keep an older one."""
        start, end = reader.watermarks(self._io.changelog, self.number)
        first = max(start, table.header.offset if table.header else 0)
        superseded: dict[Key, Value] = {}
        for batch in reader.batches(
            self._io.changelog, self.number, first, end, lambda: self.stopped
        ):
            changed: dict[Key, Value] = {}
            for key, value in (self.change(record.value) for record in batch):
                before = changed.get(key) or self.known(table, key)
                if before is not None and self.is_late(value, before):
                    superseded[key] = before
                else:
                    changed[key] = value
                    superseded.pop(key, None)
            table.write(changed, Header(topic_id, batch[-1].offset + 1, self.input_id))
            self.restoring_at(batch[-1].offset + 1 - first, end - first)
        if self.stopped:
            raise Stopped
        table.write({}, Header(topic_id, end, self.input_id))
        return superseded
