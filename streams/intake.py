"""Which records a worker reads now: everything between a fetcher and the partitions of a stage, but
the group. The Faust consumer and the simulation's group both read through it."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Sequence

from connectors.kafka.ports import Fetcher
from connectors.kafka.record import Record
from connectors.kafka.traffic import Traffic
from streams.positions import PartitionPositions

log = logging.getLogger(__name__)

MAX_RECORDS = 1000
MAX_BYTES = 512 * 1024
"""Bounds of one event. A log record is at most half as large again as the input it covers, so it
stays below 1 MiB."""

POLL_SECONDS = 10.0
"""The longest that one wait for records takes. Any record that comes ends it."""
PAUSE_SECONDS = 0.02
"""How soon the intake sees that it may read a partition with waiting records again."""
_MANY, _MANY_SECONDS = 8, 0.002
"""After a fetch of many records the next one is waited for a moment: under load fewer, larger
events cost half and come no later; at light load nothing waits."""
BUSY = 400
"""From so many records a second on, the worker waits for records of several partitions. A gateway
sends so many when its departures begin to keep a distance (500 messages/s). With fewer, each record
goes by itself, and has no other to wait for."""
GATHER_SECONDS = 0.001
"""A gateway sends the records of all partitions together, and Kafka answers after the first. So on
a busy worker the first one waits so long for the others: they share lookups and deliveries."""


def coalesce(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Cut fetched records into events of at most MAX_RECORDS and MAX_BYTES; one record alone may be
    larger."""
    if len(records) <= MAX_RECORDS and sum(len(record.value) for record in records) <= MAX_BYTES:
        if records:
            yield records
        return
    start = size = 0
    for index, record in enumerate(records):
        if index > start and (index - start == MAX_RECORDS or size + len(record.value) > MAX_BYTES):
            yield list(records[start:index])
            start, size = index, 0
        size += len(record.value)
    yield list(records[start:])


class Intake:
    """Reads the partitions that its group has assigned, from where the stage says. Close it."""

    def __init__(self, make_fetcher: Callable[[], Fetcher], positions: PartitionPositions) -> None:
        self._make_fetcher = make_fetcher
        self._fetcher = make_fetcher()
        self._positions = positions
        self._assigned: Collection[int] = ()
        self._fetched_many = False
        self._traffic = Traffic()
        self._closing: set[asyncio.Task[None]] = set()

    def assign(self, partitions: Collection[int]) -> None:
        """Read these and no others. What the stage does not know yet is not read, and sought when
        it does (R3)."""
        self._assigned = frozenset(partitions)
        offsets = {
            partition: offset
            for partition in partitions
            if (offset := self._positions.next_offset(partition)) is not None
        }
        self._fetcher.read(offsets)

    def seek(self, partition: int) -> bool:
        """Read a partition from the stage's position on: it has restored its state, or a gap was
        seen. False if it is not assigned."""
        offset = self._positions.next_offset(partition)
        if offset is None or partition not in self._assigned:
            return False
        self._fetcher.seek(partition, offset)
        return True

    async def next(self, active: Collection[int], seconds: float) -> dict[int, list[Record]]:
        """partition → what has come, of those of the `active` partitions that may be read. It waits
        up to `seconds`, and returns nothing if nothing comes."""
        loop = asyncio.get_running_loop()
        if self._fetched_many:
            await asyncio.sleep(_MANY_SECONDS)
        if not self._fetcher.has(self._reading(active)):
            held = self._fetcher.has(self._assigned)
            await self._fetcher.wait(min(seconds, PAUSE_SECONDS) if held else seconds)
            if len(active) > 1 and self._traffic.per_second(loop.time()) >= BUSY:
                await asyncio.sleep(GATHER_SECONDS)
        # A partition may have been paused meanwhile.
        records = self._fetcher.take(self._reading(active))
        count = sum(map(len, records.values()))
        self._traffic.passed(count, loop.time())
        self._fetched_many = count >= _MANY
        return records

    def _reading(self, active: Collection[int]) -> list[int]:
        paused = self._positions.paused
        return [partition for partition in active if not paused(partition)]

    def renew(self) -> None:
        """Read by a new client, because the present one brings nothing although there are
        records."""
        log.warning("the Kafka fetcher brings nothing; reading goes on by a new one")
        old, self._fetcher = self._fetcher, self._make_fetcher()
        self.assign(self._assigned)
        task = asyncio.create_task(old.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        await asyncio.gather(self._fetcher.close(), *self._closing, return_exceptions=True)
