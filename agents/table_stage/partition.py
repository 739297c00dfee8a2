"""One partition of a folding stage, from assignment to revocation.

restoring ─→ running ─→ closed
    └──────────┴─→ halted: kept, nothing read, health red, other partitions run (R7)
"""

import abc
import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from agents.table_stage.io import TableStageIO
from connectors.kafka.ports import KafkaUnreachable, OffsetGone, ReadTimeout
from connectors.kafka.reader import Reader
from schemas.codec import NewerVersion, Undecodable, encode_deliveries
from schemas.events import Delivered
from streams.earlier_stage import GoOn, Status

log = logging.getLogger(__name__)

MAX_WAITING = 50_000
"""Facts read and not done, per partition; beyond them it reads no more."""
_BATCH = 5_000
_RETRY_SECONDS = 1.0

Fact = TypeVar("Fact")
Found = TypeVar("Found")


class InputRecord(Protocol):
    """A record of the input, as any Kafka client gives it: broker time in ms."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class Partition(abc.ABC, Generic[Fact]):
    """Reads facts in order and folds some at a time. `go_on` asks the consumer to read from
    `next_offset` on."""

    def __init__(
        self, number: int, outside: TableStageIO, figures: Counter[str], go_on: GoOn
    ) -> None:
        self.number = number
        self.status = Status.RESTORING
        self.reason = ""
        self.progress = 0
        """Grows with whatever this partition gets done; the watchdog looks at it."""
        self.waiting_for_redis = False
        self.committable: int | None = None
        """All facts before this offset are kept, and were told."""
        self.outside = outside
        self.figures = figures
        self._next: int | None = None
        self._waiting: list[tuple[Fact, int, int]] = []
        """(fact, broker's time, offset of its record)."""
        self._go_on = go_on
        self._grown = asyncio.Event()
        self._reading: asyncio.Future[Any] | None = None
        self._working = asyncio.create_task(self._work())

    # What a stage brings

    @abc.abstractmethod
    def decode(self, value: bytes) -> Sequence[Fact]:
        """The facts of a record. Raises Undecodable, NewerVersion."""

    @abc.abstractmethod
    async def restore(self) -> int:
        """Bring the table up to what Kafka has; the input offset to go on from. Raises ReadTimeout,
        OffsetGone, KafkaUnreachable: try again."""

    @property
    @abc.abstractmethod
    def readable(self) -> bool:
        """The table can be asked."""

    @abc.abstractmethod
    async def fold(self, facts: Sequence[tuple[Fact, int, int]]) -> None:
        """Fold facts, each with the broker's time and the offset of its record; returns when they
        are kept and told."""

    @abc.abstractmethod
    def let_go(self) -> None:
        """Close the table."""

    # What the consumer asks (streams.earlier_positions)

    @property
    def held(self) -> bool:
        return self.status is not Status.RUNNING or len(self._waiting) > MAX_WAITING

    @property
    def next_offset(self) -> int | None:
        return self._next if self.status is Status.RUNNING else None

    # Running

    def feed(self, records: Sequence[InputRecord]) -> None:
        """Take the next records as they came from Kafka. What cannot be read is left out: whoever
        wrote it says it again."""
        if self.status is not Status.RUNNING or self._next is None:
            return
        for record in records:
            if record.offset < self._next:
                continue
            try:
                facts = self.decode(record.value or b"")
                self._waiting += [(fact, record.timestamp, record.offset) for fact in facts]
            except NewerVersion as error:
                self.halt(f"input record {record.offset}: {error}; deploy that version and restart")
                break
            except Undecodable as error:
                self.figures["unreadable"] += 1
                log.error(
                    "partition %d: input record %d is left out: %s",
                    self.number,
                    record.offset,
                    error,
                )
            self._next = record.offset + 1
        self.figures["events"] += 1
        self.progress += 1
        self._grown.set()

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
        if (
            self._reading is not None
        ):  # a thread is not cancelled, and holds the table until it ends
            await asyncio.gather(self._reading, return_exceptions=True)
        self.let_go()

    async def in_thread(self, read: Callable[[], Found]) -> Found:
        """Run blocking work of `restore`, which asks `closed` now and then; `close` waits for its
        end."""
        self._reading = asyncio.ensure_future(asyncio.to_thread(read))
        return await asyncio.shield(self._reading)

    @property
    def closed(self) -> bool:
        return self.status is Status.CLOSED

    def input_offset(self, reader: Reader, topic: str) -> int:
        """Where to go on in the input: where the group was, or at the beginning if the topic is
        another by now. Raises ReadTimeout."""
        committed = reader.committed(topic, self.number)
        start, end = reader.watermarks(topic, self.number)
        return committed if committed is not None and start <= committed <= end else start

    async def tell(self, slots: Mapping[int, Sequence[Delivered]]) -> None:
        """Deliver slot → events; returns when they are acknowledged."""
        self.figures["told"] += sum(map(len, slots.values()))
        await self.outside.deliver(
            [(slot, value) for slot, events in slots.items() for value in encode_deliveries(events)]
        )

    def waits_for_redis(self, waiting: bool) -> None:
        self.waiting_for_redis = waiting

    async def _work(self) -> None:
        try:
            self._next = self.committable = await self._restored()
            self.status = Status.RUNNING
            await self.outside.claim(
                self.number
            )  # before any look for routes: gateway/queries/worker_client.py relies on it
            await self._go_on(self.number)
            while True:
                await self._grown.wait()
                self._grown.clear()
                while self._waiting:
                    facts = self._waiting[:_BATCH]
                    await self.fold(facts)
                    del self._waiting[: len(facts)]
                    self.figures["facts"] += len(facts)
                    self.committable = self._waiting[0][2] if self._waiting else self._next
                    self.progress += 1
                self.committable = self._next
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("partition %d failed", self.number)
            self.halt(f"folding failed: {error!r}")

    async def _restored(self) -> int:
        while True:
            try:
                return await self.restore()
            except (ReadTimeout, OffsetGone, KafkaUnreachable) as error:
                log.warning("partition %d: %s", self.number, error)
                self.progress += 1
                await asyncio.sleep(_RETRY_SECONDS)

    def report(self) -> dict[str, Any]:
        """State and position of the partition, for the monitor page."""
        return {
            "partition": self.number,
            "status": self.status.value,
            "reason": self.reason,
            "next": self._next,
            "done": self.committable,
            "waiting": len(self._waiting),
            "waiting_for_redis": self.waiting_for_redis,
        }
