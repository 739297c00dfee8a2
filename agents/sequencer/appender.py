"""Appending to the log (R6): only a report whose offset is the next one counts; after anything else
the log is read.

    append ─→ waiting (its dead letters first) ─→ in flight ─→ landed: applied to the state

Appends are lazy: nobody waits for the log (R4), and a Kafka request costs far more than a record.
So they wait for others, and those of all partitions of a process leave together. They leave at once
while somebody waits until they have landed, and when many wait.

Once a report was not plain, the appender waits for the other reports, reads the log to its end,
drops what is there already, and appends the rest again from r + 1. Repeats in the log are harmless
(R2), a hole would not be.
"""

import asyncio
import contextlib
import logging
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

from agents.rules.batch import Batch
from agents.rules.fold import DeadItem
from agents.sequencer.log_applier import LogApplier
from agents.sequencer.ports import AppendEvents, LogPort
from connectors.kafka.ports import OffsetGone, QueueFull
from schemas.codec import encode_event
from schemas.events import LogRecord
from streams.partition import Halt
from streams.retry import Retry

log = logging.getLogger(__name__)

MAX_RECORDS = 200
MAX_BYTES = 16 * 1024 * 1024
"""Appends of a partition that have not landed; beyond them it reads no more input."""
LINGER_SECONDS = 0.2
"""Appends leave at multiples of this on the loop's clock."""
_MAX_HELD, _MAX_HELD_BYTES = 50, 512 * 1024
"""Appends that wait for others; when more do, all leave."""
_RETRY_SECONDS = 0.05
_SLICE_BYTES = 256 * 1024
"""Of the log, decoded at once: a few milliseconds."""


class _Append:
    __slots__ = ("dead", "entry", "value")

    def __init__(self, entry: LogRecord, value: bytes, dead: list[DeadItem]) -> None:
        self.entry = entry
        self.value = value
        self.dead = dead


class Appender:
    """Appends the batches of one partition in order, at multiples of `linger` seconds, or
    at once if that is 0."""

    def __init__(
        self,
        applier: LogApplier,
        io: LogPort,
        partition: AppendEvents,
        retry: Retry,
        linger: float = LINGER_SECONDS,
    ) -> None:
        self._applier = applier
        self._io = io
        self._partition = partition
        self._retry = retry
        self._linger = linger
        self._timer: asyncio.TimerHandle | None = None
        self._held_bytes = 0
        """Of what was appended since the timer was set."""
        self._awaited = 0
        """How many wait for what is appended to land."""
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
        entry = batch.log_record(delivered, self._applier.header.partitions)
        value = encode_event(entry)
        self._waiting.append(_Append(entry, value, batch.outcome.dead))
        self._bytes += len(value)
        self._held_bytes += len(value)
        many = len(self._waiting) > _MAX_HELD or self._held_bytes > _MAX_HELD_BYTES
        if many or self._awaited or not self._linger:
            self._leave()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            multiple = (loop.time() // self._linger + 1) * self._linger
            self._timer = loop.call_at(multiple, self._leave)
        return len(value)

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """Appends leave at once, while somebody waits for them to land."""
        self._awaited += 1
        self._leave()
        try:
            yield
        finally:
            self._awaited -= 1

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._held_bytes = 0
        self._go_on()

    def close(self) -> None:
        """Send and apply nothing more; what is in flight may still land, and harms nobody."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _go_on(self) -> None:
        """Do what can be done next, if nothing is being waited for."""
        while self._task is None and not self._closed:
            if self._unclear:
                if not self._unreported:
                    self._start(self._catch_up)
                return
            if not self._waiting:
                return
            first = self._waiting[0]
            if first.dead:
                self._start(lambda dead=first.dead: self._set_aside(dead))  # type: ignore[misc]
                return
            try:
                self._io.append(
                    first.value,
                    lambda ok, offset, sent=first: self._reported(sent, ok, offset),  # type: ignore[misc]
                )
            except QueueFull:
                self._start(lambda: asyncio.sleep(_RETRY_SECONDS))
                return
            self._waiting.popleft()
            self._in_flight.append(first)
            self._unreported += 1

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await work()
            except Halt as error:
                self._closed = True
                self._partition.halt(str(error))
            except Exception as error:
                self._closed = True
                log.exception("appending failed")
                self._partition.begin_anew(f"appending failed: {error!r}")
            finally:
                self._task = None
            self._go_on()

        self._task = asyncio.create_task(run())

    async def _set_aside(self, dead: list[DeadItem]) -> None:
        """Dead letters before the append: what the log covers has been set aside, whoever owns the
        partition later."""
        await self._retry(lambda: self._io.dead_letters(dead))

    def _reported(self, item: _Append, ok: bool, offset: int) -> None:
        self._unreported -= 1
        if self._closed:
            return
        following = self._applier.header.log_offset + 1
        if ok and offset < following:
            self._lose(f"an append was acknowledged at offset {offset}, and {following} follows")
        elif ok and not self._unclear and item is self._in_flight[0] and offset == following:
            self._in_flight.popleft()
            self._bytes -= len(item.value)
            self._applier.apply(offset, zlib.crc32(item.value), item.entry)
            self._partition.landed(offset, item.entry.to)
        else:
            self._unclear = True
            self._go_on()

    def _lose(self, why: str) -> None:
        self.close()
        self._partition.begin_anew(f"the log has lost its tail, or is another: {why}")

    async def _catch_up(self) -> None:
        """Every report has come and not all were plain: what the log says is true."""
        try:
            await self._retry(self._read_log)
        except _LogGone as error:
            self._lose(str(error))
            return
        position = self._applier.header.position
        left = [item for item in self._in_flight if item.entry.to > position]
        log.info(
            "the log is read to offset %d; %d appends are sent again",
            *(self._applier.header.log_offset, len(left)),
        )
        self._waiting.extendleft(reversed(left))
        self._in_flight.clear()
        self._bytes = sum(len(item.value) for item in self._waiting)
        self._unclear = False

    async def _read_log(self) -> None:
        size = 0
        try:
            async for records in self._io.read_log(self._applier.header.log_offset + 1):
                for record in records:
                    self._partition.landed(record.offset, self._applier.read(record).to)
                    size += len(record.value)
                    if size > _SLICE_BYTES:
                        size = 0
                        await asyncio.sleep(0)
        except OffsetGone as error:
            raise _LogGone(str(error)) from None


class _LogGone(Exception):
    """The log does not go on from where it was applied."""
