"""Appending to the log (R6): only a report whose offset is the next one counts; after anything else
the log is read.

    append ─→ waiting (its dead letters first) ─→ in flight ─→ landed: folded into the state

A partition whose producer report was not plain reads the log to its end, drops what is there
already, and appends the rest again from r + 1. Repeats in the log are harmless (R2), a hole would
not be.
"""

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from agents.rules.batch import Batch
from agents.rules.fold import DeadItem
from agents.sequencer.log_applier import Halt, LogApplier
from connectors.kafka.ports import OffsetGone, QueueFull, ReadTimeout
from connectors.kafka.record import Record
from schemas.codec import encode_event
from schemas.events import LogRecord

log = logging.getLogger(__name__)

MAX_RECORDS = 200
MAX_BYTES = 16 * 1024 * 1024
"""Appends not yet landed, per partition; beyond them it reads no more input."""

_RETRY_SECONDS = 0.5


class LogAccess(Protocol):
    """The log of one partition, as the appender uses it."""

    def append(self, value: bytes, report: Callable[[bool, int], None]) -> None:
        """Produce a record; `report(ok, offset)` comes once. Raises QueueFull."""

    async def dead_letters(self, items: list[DeadItem]) -> None:
        """Set items aside; returns when they are acknowledged, however long that takes."""

    async def read_to_end(self, start: int) -> list[Record]:
        """All records from offset `start` on. Raises ReadTimeout, OffsetGone."""


class _Append:
    __slots__ = ("dead", "entry", "value")

    def __init__(self, entry: LogRecord, value: bytes, dead: list[DeadItem]) -> None:
        self.entry = entry
        self.value = value
        self.dead = dead


class Appender:
    """Appends the batches of one partition in order. `landed(log offset, to)` is called for each
    log record folded."""

    def __init__(
        self,
        fold: LogApplier,
        access: LogAccess,
        landed: Callable[[int, int], None],
        halt: Callable[[str], None],
    ) -> None:
        self._fold = fold
        self._access = access
        self._landed = landed
        self._halt = halt
        self._waiting: deque[_Append] = deque()
        self._in_flight: deque[_Append] = deque()
        self._unreported = 0
        self._unclear = False
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def full(self) -> bool:
        """More is under way than the partition may have."""
        return len(self._waiting) + len(self._in_flight) > MAX_RECORDS or self._bytes > MAX_BYTES

    @property
    def idle(self) -> bool:
        """Everything appended has landed."""
        return not self._waiting and not self._in_flight

    def append(self, batch: Batch, delivered: int) -> int:
        """Append a batch, `delivered` being d of R5 now; returns the record's size in bytes."""
        entry = batch.log_record(delivered)
        value = encode_event(entry)
        self._waiting.append(_Append(entry, value, batch.outcome.dead))
        self._bytes += len(value)
        self._pump()
        return len(value)

    def close(self) -> None:
        """Nothing more is sent or folded; what is in flight may still land, and harms nobody."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    def _pump(self) -> None:
        while self._waiting and self._task is None and not self._unclear and not self._closed:
            first = self._waiting[0]
            if first.dead:
                self._start(self._set_aside(first))
                return
            try:
                self._access.append(
                    first.value,
                    lambda ok, offset, sent=first: self._reported(sent, ok, offset),  # type: ignore[misc]
                )
            except QueueFull:
                self._start(asyncio.sleep(_RETRY_SECONDS / 10))
                return
            self._waiting.popleft()
            self._in_flight.append(first)
            self._unreported += 1

    def _start(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                await work
            except Halt as error:
                self._closed = True
                self._halt(str(error))
            finally:
                self._task = None
            self._pump()

        self._task = asyncio.create_task(run())

    async def _set_aside(self, item: _Append) -> None:
        """Dead letters before the append: what the log covers has been set aside, whoever owns the
        partition later."""
        await self._access.dead_letters(item.dead)
        item.dead = []

    def _reported(self, item: _Append, ok: bool, offset: int) -> None:
        self._unreported -= 1
        if self._closed:
            return
        if (
            ok
            and not self._unclear
            and item is self._in_flight[0]
            and offset == self._fold.header.log_offset + 1
        ):
            self._in_flight.popleft()
            self._bytes -= len(item.value)
            self._fold.take(offset, zlib.crc32(item.value), item.entry)
            self._landed(offset, item.entry.to)
            return
        self._unclear = True
        if self._unreported == 0 and self._task is None:
            self._start(self._catch_up())

    async def _catch_up(self) -> None:
        """Every report has come and not all were plain: what the log says is true."""
        while True:
            try:
                records = await self._access.read_to_end(self._fold.header.log_offset + 1)
                break
            except ReadTimeout as error:
                log.warning("reading the log again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            except OffsetGone as error:
                raise Halt(f"the log expired under this worker: {error}; restart it") from None
        for record in records:
            self._landed(record.offset, self._fold.read(record).to)
        position = self._fold.header.position
        left = [item for item in self._in_flight if item.entry.to > position]
        log.info(
            "log read to offset %d, %d appends sent again", self._fold.header.log_offset, len(left)
        )
        self._waiting.extendleft(reversed(left))
        self._in_flight.clear()
        self._bytes = sum(len(item.value) for item in self._waiting)
        self._unclear = False
