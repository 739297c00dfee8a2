"""One partition of an archiver, from assignment to revocation.

restoring ─→ running ─→ closed
    └──────────┴─→ halted: kept, nothing read, health red, other partitions run (R7)
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol

from agents.archiver.budget import Budget
from agents.archiver.content import Content
from agents.archiver.inserts import Inserts, Tokened
from agents.rules.archive import Block, Gathering, R, Start
from connectors.clickhouse.archive import Archive, ArchiveMismatch
from connectors.clickhouse.client import ArchiveRefused, ArchiveUnavailable
from connectors.kafka.ports import KafkaUnreachable, ReadTimeout
from schemas.codec import NewerVersion, Undecodable
from streams.earlier_stage import GoOn, Status

log = logging.getLogger(__name__)

_BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)


class RecordRead(Protocol):
    """A record of the topic, as any Kafka client gives it."""

    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class Source(Protocol):
    """What a partition asks Kafka. Raises ReadTimeout, KafkaUnreachable. `topic_id` is of the topic
    that is read."""

    topic_id: str

    async def start(self, partition: int) -> Start:
        """Where to go on."""

    async def numbering(self) -> str:
        """The topic id of `messages.submitted`."""


class Partition(Generic[R]):
    """Archives one partition of a topic. `go_on` asks the consumer to read from `next_offset`
    on."""

    def __init__(
        self,
        number: int,
        content: Content[R],
        source: Source,
        archive: Archive,
        inserts: Inserts[R],
        budget: Budget,
        figures: Counter[str],
        go_on: GoOn,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.number = number
        self._content = content
        self._name = f"{content.topic} partition {number}"
        self.status = Status.RESTORING
        self.reason = ""
        """Why it is halted, or what is wrong now though it goes on."""
        self.lost = ""
        self.progress = 0
        """Grows with whatever this partition gets done; the watchdog looks at it."""
        self.error_at: float | None = None
        self.last_error = ""
        self.committable: int | None = None
        """All records before this offset are in the archive."""
        self._next: int | None = None
        self._gathering = Gathering[R](content.linger)
        self._under_way: Block[R] | None = None
        self._held = 0
        self._source = source
        self._archive = archive
        self._inserts = inserts
        self._budget = budget
        self._figures = figures
        self._go_on = go_on
        self._now = now
        self._grown = asyncio.Event()
        self._working = asyncio.create_task(self._work())

    # What the consumer asks (streams.earlier_positions)

    @property
    def held(self) -> bool:
        return self.status is not Status.RUNNING or self._budget.full(self._held)

    @property
    def next_offset(self) -> int | None:
        return self._next if self.status is Status.RUNNING else None

    @property
    def idle(self) -> bool:
        """Nothing waits to be inserted."""
        return not self._held

    # Running

    def feed(self, records: Sequence[RecordRead]) -> None:
        """Take the next records as they came from Kafka. Never raises: what cannot go on halts the
        partition."""
        if self.status is not Status.RUNNING or self._next is None:
            return
        now = self._now()
        for record in records:
            if record.offset < self._next:
                continue  # read again after a rebalance
            value = record.value or b""
            try:
                rows = self._content.rows(self.number, record.offset, value)
            except NewerVersion as error:
                self.halt(
                    f"record {record.offset} of {self._content.topic}: {error}; deploy that version and restart"
                )
                break
            except Undecodable as error:
                self.halt(
                    f"record {record.offset} of {self._content.topic} cannot be read: {error}"
                )
                break
            size = self._gathering.add(record.offset, value, rows, now)
            self._held += size
            self._budget.bytes += size
            self._next = record.offset + 1
            self._figures["records"] += 1
        self._figures["events"] += 1
        self.progress += 1
        self._grown.set()

    def halt(self, reason: str) -> None:
        """Read nothing more. What was read is still archived."""
        if self.status is not Status.CLOSED:
            self.status, self.reason = Status.HALTED, reason
            log.critical("%s is halted: %s", self._name, reason)

    async def close(self) -> None:
        """Revoked or stopping: what is not in the archive is read again by whoever has the
        partition next."""
        self.status = Status.CLOSED
        self._working.cancel()
        await asyncio.gather(self._working, return_exceptions=True)
        self._budget.bytes -= self._held
        self._held = 0

    async def _work(self) -> None:
        try:
            await self._begin()
            while True:
                await self._wait_until_due()
                block = self._under_way = self._gathering.take(self._now())
                await self._insert(block)
                self._done(block)
        except ArchiveMismatch as error:
            self.halt(str(error))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("%s: archiving failed", self._name)
            self.halt(f"archiving failed: {error!r}")

    async def _begin(self) -> None:
        await self._trying(self._prepare)
        log.info("%s: going on at offset %s", self._name, self._next)
        self.status = Status.RUNNING
        await self._go_on(self.number)

    async def _prepare(self) -> None:
        await self._archive.prepare(await self._source.numbering())
        start = await self._source.start(self.number)
        self._next = self.committable = start.offset
        if start.lost:
            self.lost = f"{start.lost} records before offset {start.offset} expired before they were archived"
            log.critical(
                "%s: %s; `messenger archive restore` brings what a backup has",
                self._name,
                self.lost,
            )

    async def _wait_until_due(self) -> None:
        while (wait := self._gathering.due(self._now())) > 0:
            self._grown.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait == float("inf") else wait):
                    await self._grown.wait()

    async def _insert(self, block: Block[R]) -> None:
        if block.rows:
            tokened = Tokened(block.rows, block.token(self._source.topic_id, self.number))
            await self._trying(
                lambda: self._inserts.insert(tokened, block.bytes, alone=bool(self.reason))
            )

    async def _trying(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Ask for ever: nothing is given up."""
        for attempt in range(2**62):
            try:
                await ask()
            except (ArchiveUnavailable, ArchiveRefused, ReadTimeout, KafkaUnreachable) as error:
                text = str(error)
                log.log(
                    logging.WARNING if text != self.last_error else logging.DEBUG,
                    "%s: %s",
                    self._name,
                    text,
                )
                self.last_error = text
                if self.status is not Status.HALTED:
                    self.reason = text
                self.error_at = time.time()
                self._figures["errors"] += 1
                await asyncio.sleep(_BACKOFF[min(attempt, len(_BACKOFF) - 1)])
            else:
                if self.status is not Status.HALTED:
                    self.reason = ""
                return

    def _done(self, block: Block[R]) -> None:
        self._under_way = None
        self._held -= block.bytes
        self._budget.bytes -= block.bytes
        self.committable = block.last + 1
        self.progress += 1

    def report(self) -> dict[str, Any]:
        """State and position of the partition, for the monitor page."""
        under_way = len(self._under_way.rows) if self._under_way else 0
        return {
            "partition": self.number,
            "status": self.status.value,
            "reason": self.reason,
            "lost": self.lost,
            "next": self._next,
            "archived": self.committable,
            "rows_waiting": self._gathering.count + under_way,
            "bytes_waiting": self._held,
            "last_error": self.last_error,
            "last_error_at": self.error_at,
        }
