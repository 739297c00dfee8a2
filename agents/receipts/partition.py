"""One partition of the receipts, from assignment to revocation.

restoring ─→ running ─→ closed
    └──────────┴─→ halted: kept, nothing read, health red, other partitions run (R7)
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any, Protocol

from agents.receipts.outside import Outside
from agents.rules.cursors import Outcome, fold_receipts, mark_of
from agents.rules.marks import deliveries
from connectors.kafka.reader import OffsetGone, ReadTimeout
from connectors.kafka.topics import KafkaUnreachable
from connectors.redis.client import RedisUnavailable
from schemas.codec import MAX_DELIVERY_BYTES, NewerVersion, Undecodable, decode_receipts, encode_event, pack
from schemas.events import SCHEMA_VERSION, DeliveryRecord, DeviceForgotten, MarkDelivered, Receipt
from schemas.frames import Mark
from schemas.ids import members_of_valid
from streams.cursor_table import CursorTable

log = logging.getLogger(__name__)

MAX_WAITING = 50_000
"""Receipts read and not done, per partition; beyond them it reads no more."""
_BATCH = 5_000
_RETRY_SECONDS = 1.0
_FIRST_RETRY, _LAST_RETRY = 0.05, 1.0


class Status(Enum):
    RESTORING = "restoring"
    RUNNING = "running"
    HALTED = "halted"
    CLOSED = "closed"


class ReceiptRecordRead(Protocol):
    """A record of `receipts.submitted`, as any Kafka client gives it."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class Partition:
    """Folds receipts, keeps the cursors, tells the devices. `go_on` asks the consumer to read from `next_offset` on."""

    def __init__(self, number: int, outside: Outside, figures: Counter[str], go_on: Callable[[int], Awaitable[None]]) -> None:
        self.number = number
        self.status = Status.RESTORING
        self.reason = ""
        self.progress = 0
        """Grows with whatever this partition gets done; the watchdog looks at it."""
        self.table: CursorTable | None = None
        self.waiting_for_redis = False
        self.done: int | None = None
        """All receipts before this offset are kept, and were told."""
        self._next: int | None = None
        self._waiting: list[tuple[Receipt | DeviceForgotten, int, int]] = []
        """(receipt, broker's time, offset of its record)."""
        self._outside = outside
        self._figures = figures
        self._go_on = go_on
        self._grown = asyncio.Event()
        self._working = asyncio.create_task(self._work())

    # What the consumer asks (streams.intake)

    @property
    def held(self) -> bool:
        return self.status is not Status.RUNNING or len(self._waiting) > MAX_WAITING

    @property
    def next_offset(self) -> int | None:
        return self._next if self.status is Status.RUNNING else None

    @property
    def idle(self) -> bool:
        """Everything that was read is done."""
        return self.done == self._next

    # Running

    def feed(self, records: Sequence[ReceiptRecordRead]) -> None:
        """Take the next records as they came from Kafka. What cannot be read is left out: devices say it again."""
        if self.status is not Status.RUNNING or self._next is None:
            return
        for record in records:
            if record.offset < self._next:
                continue
            try:
                items = decode_receipts(record.value or b"").items
                self._waiting += [(item, record.timestamp, record.offset) for item in items]
            except NewerVersion as error:
                self.halt(f"receipts {record.offset}: {error}; deploy that version and restart")
                break
            except Undecodable as error:
                self._figures["unreadable"] += 1
                log.error("receipts %d/%d cannot be read and are left out: %s", self.number, record.offset, error)
            self._next = record.offset + 1
        self._figures["events"] += 1
        self.progress += 1
        self._grown.set()

    def marks(self, conversations: Sequence[str]) -> list[Mark] | None:
        """Marks of both users of each conversation; None if this partition is not here. What was folded is in it, and what is
        told later finds the route of who asks now."""
        if self.table is None:
            return None
        found = [mark_of(self.table, name, user) for name in conversations for user in members_of_valid(name)]
        return [mark for mark in found if mark.received]

    def halt(self, reason: str) -> None:
        """Read nothing more. What was read is still done."""
        if self.status is not Status.CLOSED:
            self.status, self.reason = Status.HALTED, reason
            log.critical("partition %d is halted: %s", self.number, reason)

    async def close(self) -> None:
        """Revoked or stopping: what is not done is read again by whoever has the partition next."""
        self.status = Status.CLOSED
        self._working.cancel()
        await asyncio.gather(self._working, return_exceptions=True)
        if self.table is not None:
            self.table.close()
            self.table = None

    async def _work(self) -> None:
        try:
            self.table, self._next = await self._restored()
            self.done = self._next
            self.status = Status.RUNNING
            await self._outside.claim(self.number)  # before any look for routes: gateway/workers.py relies on it
            await self._go_on(self.number)
            while True:
                await self._grown.wait()
                self._grown.clear()
                while self._waiting:
                    await self._fold(self.table)
                    self.done = self._waiting[0][2] if self._waiting else self._next
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("partition %d: receipts failed", self.number)
            self.halt(f"receipts failed: {error!r}")

    async def _restored(self) -> tuple[CursorTable, int]:
        while True:
            try:
                return await self._outside.restore(self.number)
            except (ReadTimeout, OffsetGone, KafkaUnreachable) as error:
                log.warning("partition %d: %s", self.number, error)
                self.progress += 1
                await asyncio.sleep(_RETRY_SECONDS)

    async def _fold(self, table: CursorTable) -> None:
        items = self._waiting[:_BATCH]
        outcome = Outcome({}, {})
        fold_receipts(table, ((item, time) for item, time, _ in items), outcome)
        table.write(outcome.changed)
        await asyncio.gather(self._outside.keep(self.number, outcome.changed), self._tell(table, outcome.told))
        del self._waiting[: len(items)]
        self._figures["receipts"] += len(items)
        self._figures["raised"] += len(outcome.changed)
        self.progress += 1

    async def _tell(self, table: CursorTable, told: dict[tuple[str, str], bool]) -> None:
        if not told:
            return
        marks = [(mark_of(table, conversation, user), own) for (conversation, user), own in told.items()]
        users = sorted({user for mark, _ in marks for user in members_of_valid(mark.conversation)})
        delay = _FIRST_RETRY
        while True:
            try:
                routes = await self._outside.routes.lookup(users)
                break
            except RedisUnavailable as error:
                if not self.waiting_for_redis:
                    log.warning("marks wait: %s", error)
                self.waiting_for_redis = True
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY)
        self.waiting_for_redis = False
        events = deliveries(marks, routes)
        self._figures["told"] += sum(map(len, events.values()))
        await self._outside.deliver([(slot, value) for slot, some in events.items() for value in _records(some)])

    def report(self) -> dict[str, Any]:
        """State and position of the partition, for the monitor page."""
        return {
            "partition": self.number,
            "status": self.status.value,
            "reason": self.reason,
            "next": self._next,
            "done": self.done,
            "waiting": len(self._waiting),
            "waiting_for_redis": self.waiting_for_redis,
        }


def _records(events: Sequence[MarkDelivered]) -> list[bytes]:
    """Delivery records of at most 1 MiB."""
    sizes = (len(event.frame) + 300 for event in events)
    return [encode_event(DeliveryRecord(SCHEMA_VERSION, list(events[cut]))) for cut in pack(sizes, MAX_DELIVERY_BYTES)]
