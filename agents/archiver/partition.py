"""One partition of an archiver: rows in blocks, acknowledged before the offset moves."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from agents.archiver.backlog import ArchiveBacklog, Budget
from agents.archiver.content import Content
from agents.archiver.inserts import Inserts, Tokened
from agents.archiver.tail import Tail, is_replaced, read_tail, row_before
from agents.rules.archive import Block, R
from agents.rules.fold import VERSIONS
from connectors.clickhouse.ports import Archive, ArchiveMismatch, ArchiveRefused, ArchiveUnavailable
from connectors.kafka.ports import Kafka, Reader
from connectors.kafka.record import Record
from schemas.archive import Row
from schemas.numbering import Numbering
from schemas.topics import LOG, SUBMITTED
from streams.backlog import BacklogPartition
from streams.inputs import InputSeen, Start, start_at
from streams.partition import Halt, PartitionRuntime, Status
from streams.retry import TROUBLE_OUTSIDE

log = logging.getLogger(__name__)

T = TypeVar("T")

_READ_SECONDS = 5.0
_LOOK_SECONDS = 10.0


class ArchiverIO(NamedTuple, Generic[R]):
    """What the partitions of a topic share. `topic_id` is Kafka's of the topic when the worker
    began: the group's offsets are of that topic, which has so many `partitions`. `holes`: partition
    → the last record of the log that was met with something missing before it."""

    kafka: Kafka
    topic_id: str
    partitions: int
    content: Content[R]
    archive: Archive
    inserts: Inserts[R]
    budget: Budget
    holes: dict[int, int]

    @property
    def group(self) -> str:
        """A topic that is created anew has another group, and is read from its start."""
        return f"archiver-{self.topic_id}"


class _Replaced(Exception):
    """Below what was read, the log has other records now."""


class ArchiverPartition(BacklogPartition[R, Block[R]], Generic[R]):
    """Archives one partition of a topic."""

    must_decode = True
    retry_seconds = (0.2, 5.0)

    def __init__(self, number: int, runtime: PartitionRuntime, io: ArchiverIO[R]) -> None:
        self._held = ArchiveBacklog[R](io.content.linger, io.budget)
        super().__init__(number, runtime, self._held)
        self.lost = ""
        """What expired before it was archived, in one line."""
        self.last_error = ""
        self.error_at: int | None = None
        self._io = io
        self._tail: Tail | None = None
        """None: whatever comes joins on."""

    @property
    def owes(self) -> bool:
        """Rows wait for more rows, and an insert has a time limit of its own."""
        return False

    def decode(self, record: Record) -> Sequence[R]:
        found = self._io.content.read(self.number, record.offset, record.value)
        if found.inputs is not None:
            self._follow(record, *found.inputs)
        return found.rows

    def _follow(self, record: Record, from_: int, to: int) -> None:
        before = to if self._tail is None else self._tail.to
        if from_ > before + 1 and record.offset > self._io.holes.get(self.number, -1):
            # Something was below this record that was not read. Or it comes later (R2), and then
            # the same is met once more.
            self._io.holes[self.number] = record.offset
            raise _Replaced(f"record {record.offset} goes on from input {from_}, not {before + 1}")
        self._tail = Tail(record, max(before, to))

    def accept(self, records: Sequence[Record]) -> None:
        try:
            super().accept(records)
        except _Replaced as error:
            self._begin_anew(str(error))

    async def restore(self) -> int:
        ids = await self.runtime.inputs.topic_ids()
        numbering = Numbering(ids[SUBMITTED], ids[LOG], self._io.partitions, max(VERSIONS))
        try:
            await self._io.archive.prepare(numbering)
        except ArchiveMismatch as error:
            raise Halt(str(error)) from None
        except (ArchiveUnavailable, ArchiveRefused) as error:
            self._met(error)
            raise
        start = await self._read(self._find_start)
        if start.lost:
            self._lose(start.lost, start.offset)
        if self._io.content.compacted:
            return start.offset
        try:
            offset = await self._find_archived(start.offset)
        except (ArchiveUnavailable, ArchiveRefused) as error:
            self._met(error)
            raise
        if offset < start.offset:
            log.warning("%s: archived again from offset %d on", self.name, offset)
        self._tail = await self._read(lambda reader: read_tail(reader, self.number, offset))
        return offset

    async def _read(self, work: Callable[[Reader], T]) -> T:
        def run() -> T:
            reader = self._io.kafka.reader(_READ_SECONDS, self._io.group)
            with contextlib.closing(reader):
                return work(reader)

        return await self.in_restores(run)

    def _find_start(self, reader: Reader) -> Start:
        topic = self.runtime.topic
        committed = reader.committed(topic, self.number)
        return start_at(committed, *reader.watermarks(topic, self.number))

    async def _find_archived(self, offset: int) -> int:
        """The offset up to which all is archived, `offset` at most. The group's offset does not
        tell: records below it may have replaced others. Those that have are the last ones."""
        back = 1
        while True:
            first, row = await self._rows_before(offset, back)
            if row is not None and await self._has(row):
                return row.log_offset + 1
            if first > offset - back:
                return first
            back *= 2

    async def _rows_before(self, offset: int, back: int) -> tuple[int, Row | None]:
        return await self._read(lambda reader: row_before(reader, self.number, offset, back))

    async def _has(self, row: Row) -> bool:
        page = await self._io.archive.page(row.conversation, after=row.seq - 1, limit=1)
        return bool(page) and page[0].seq == row.seq

    async def run(self) -> None:
        if not self._io.content.compacted:
            self.spawn(self._keep_looking())
        await super().run()

    async def _keep_looking(self) -> None:
        """Look whether the last record that was read is still there: maybe nothing follows it that
        would show it."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._tail is not None and self.status is Status.RUNNING:
                with contextlib.suppress(*TROUBLE_OUTSIDE):
                    await self._look_at(self._tail.record)

    async def _look_at(self, last: Record) -> None:
        if await is_replaced(self.runtime.inputs, self.number, last):
            self._begin_anew(f"record {last.offset} is another one now")

    def _begin_anew(self, why: str) -> None:
        if not self._seeking:
            self._seeking = True  # nothing more is read
            log.warning("%s: %s; what is missing in the archive is read again", self.name, why)
            self.runtime.restart(self.number, why)

    async def apply(self, block: Block[R]) -> None:
        if not block.rows:
            return
        tokened = Tokened(block.rows, block.token(self._io.topic_id, self.number))
        try:
            # a block that has failed goes alone, and does not stop the others
            await self._io.inserts.insert(tokened, block.bytes, alone=bool(self.retry.problem))
        except (ArchiveUnavailable, ArchiveRefused) as error:
            self._met(error)
            raise
        self.figures["rows"] += len(block.rows)

    def input_is(self, seen: InputSeen, position: int) -> None:
        if seen.topic == self._io.topic_id and seen.end < position:
            why = f"{self.runtime.topic} has lost its tail: it ends at {seen.end}, not {position}"
            log.critical("%s: %s; it is archived again from its start", self.name, why)
            self.runtime.restart(self.number, why)

    def skipped(self, expected: int, first: int) -> bool:
        if not self._io.content.compacted:
            self._lose(first - expected, first)
        return True

    def detach(self) -> Callable[[], None] | None:
        self._held.forget()
        return None

    def _lose(self, lost: int, start: int) -> None:
        self.lost = f"{lost} records before offset {start} expired before they were archived"
        log.critical(
            "%s: %s; `messenger archive restore` brings what a backup has", self.name, self.lost
        )

    def _met(self, error: Exception) -> None:
        self.last_error, self.error_at = str(error), self.runtime.now()
        self.figures["errors"] += 1

    def report(self) -> dict[str, Any]:
        under_way = len(self.under_way.rows) if self.under_way else 0
        return super().report() | {
            "lost": self.lost,
            "archived": self.committable,
            "rows_waiting": self._held.rows + under_way,
            "bytes_waiting": self._held.bytes,
            "last_error": self.last_error,
            "last_error_at": self.error_at,
        }
