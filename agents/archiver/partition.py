"""One partition of an archiver: rows in blocks, acknowledged before the offset moves."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple

from agents.archiver.backlog import ArchiveBacklog, Budget
from agents.archiver.content import Content
from agents.archiver.inserts import Inserts, Tokened
from agents.rules.archive import Block, R
from connectors.clickhouse.archive import Archive, ArchiveMismatch
from connectors.clickhouse.client import ArchiveRefused, ArchiveUnavailable
from connectors.kafka.ports import Kafka
from connectors.kafka.record import Record
from schemas.topics import SUBMITTED
from streams.backlog import BacklogPartition
from streams.inputs import InputSeen, Start, start_at
from streams.partition import Halt, PartitionRuntime

log = logging.getLogger(__name__)

_START_SECONDS = 5.0


class ArchiverIO(NamedTuple, Generic[R]):
    """What the partitions of a topic share. `topic_id` is Kafka's of the topic when the worker
    began: the group's offsets are of that topic."""

    kafka: Kafka
    group: str
    topic_id: str
    content: Content[R]
    archive: Archive
    inserts: Inserts[R]
    budget: Budget


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

    @property
    def owes(self) -> bool:
        """Rows wait for more rows, and an insert has a time limit of its own."""
        return False

    def decode(self, record: Record) -> Sequence[R]:
        return self._io.content.rows(self.number, record.offset, record.value)

    async def restore(self) -> int:
        numbering = (await self.runtime.inputs.topic_ids())[SUBMITTED]
        try:
            await self._io.archive.prepare(numbering)
        except ArchiveMismatch as error:
            raise Halt(str(error)) from None
        except (ArchiveUnavailable, ArchiveRefused) as error:
            self._met(error)
            raise
        start = await self.in_restores(self._find_start)
        if start.lost:
            self._lose(start.lost, start.offset)
        return start.offset

    def _find_start(self) -> Start:
        topic = self.runtime.topic
        reader = self._io.kafka.reader(_START_SECONDS, self._io.group)
        with contextlib.closing(reader):
            committed = reader.committed(topic, self.number)
            return start_at(committed, *reader.watermarks(topic, self.number))

    async def apply(self, block: Block[R]) -> None:
        if not block.rows:
            return
        tokened = Tokened(block.rows, block.token(self._io.topic_id, self.number))
        try:
            # one with which something is wrong goes alone, and is in nobody's way
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
