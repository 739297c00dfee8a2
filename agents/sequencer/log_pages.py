"""Log records that gateways ask for by number (R9): read where the table says, and remembered for
a while."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from agents.sequencer.queries import TakenByConversation, by_conversation
from connectors.kafka.ports import Kafka, OffsetGone, Reader, ReadTimeout
from schemas.topics import LOG

_TIMEOUT_SECONDS = 2.0
"""Gateways wait five."""
_NEAR = 50
"""Log records between two wanted ones that are read along rather than sought over."""
_CACHE_BYTES = 16 * 1024 * 1024


class LogPages:
    """Reads the log with two clients: one for partitions that answer, and one for those that did
    not answer the last time, so that they do not keep the others waiting. Close it."""

    def __init__(self, kafka: Kafka) -> None:
        self._lanes = _Lane(kafka), _Lane(kafka)
        self._silent: set[int] = set()
        self._cache = RecordCache()

    async def close(self) -> None:
        for lane in self._lanes:
            await lane.close()

    async def read(self, partition: int, offsets: Sequence[int]) -> list[TakenByConversation]:
        """The records of a partition at these offsets, in order. Raises ReadTimeout, OffsetGone."""
        found = self._cache.find(partition, offsets)
        if len(found) < len(offsets):
            silent = partition in self._silent
            lane = self._lanes[silent]
            if silent and lane.lock.locked():
                raise ReadTimeout(f"partition {partition} of the log does not answer")
            async with lane.lock:
                found |= self._cache.find(partition, [o for o in offsets if o not in found])
                missing = [offset for offset in offsets if offset not in found]
                found |= await self._read(lane, partition, missing)
        if len(found) < len(offsets):
            raise OffsetGone(f"log records of partition {partition} have gone while they were read")
        return [found[offset] for offset in offsets]

    def forget(self, partition: int) -> None:
        """The log of a partition may be another."""
        self._cache.forget(partition)

    async def _read(
        self, lane: "_Lane", partition: int, offsets: Sequence[int]
    ) -> dict[int, TakenByConversation]:
        try:
            records = await asyncio.to_thread(lane.read, partition, offsets)
        except ReadTimeout:
            self._silent.add(partition)
            raise
        self._silent.discard(partition)
        for offset, taken, size in records:
            self._cache.put(partition, offset, taken, size)
        return {offset: taken for offset, taken, _ in records}


class _Lane:
    """A client, and the lock of whoever reads with it."""

    def __init__(self, kafka: Kafka) -> None:
        self.lock = asyncio.Lock()
        self._kafka = kafka
        self._reader: Reader | None = None

    def read(
        self, partition: int, offsets: Sequence[int]
    ) -> list[tuple[int, TakenByConversation, int]]:
        """Blocks. (offset, content, bytes) of the records."""
        if self._reader is None:
            self._reader = self._kafka.reader(_TIMEOUT_SECONDS)
        wanted = set(offsets)
        try:
            return [
                (record.offset, by_conversation(record), len(record.value))
                for start, end in spans(offsets)
                for record in self._reader.read(LOG, partition, start, end)
                if record.offset in wanted
            ]
        except ReadTimeout:
            # A client that has stopped fetching may never fetch again, and all pages of the worker
            # wait for it. The next read has a new one.
            reader, self._reader = self._reader, None
            reader.close()
            raise

    async def close(self) -> None:
        async with self.lock:
            reader, self._reader = self._reader, None
            if reader is not None:
                await asyncio.to_thread(reader.close)


def spans(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending offsets as (start, end) to read; those close together in one go."""
    found: list[tuple[int, int]] = []
    for offset in offsets:
        if found and offset - found[-1][1] <= _NEAR:
            found[-1] = found[-1][0], offset + 1
        else:
            found.append((offset, offset + 1))
    return found


class RecordCache:
    """Log records lately asked for, within `budget` bytes of their values. Devices that come back
    together have missed the same records, and each record holds messages of many
    conversations."""

    def __init__(self, budget: int = _CACHE_BYTES) -> None:
        self._budget = budget
        self._records: OrderedDict[tuple[int, int], tuple[TakenByConversation, int]] = OrderedDict()
        self._bytes = 0

    def get(self, partition: int, offset: int) -> TakenByConversation | None:
        found = self._records.get((partition, offset))
        if found is None:
            return None
        self._records.move_to_end((partition, offset))
        return found[0]

    def find(self, partition: int, offsets: Iterable[int]) -> dict[int, TakenByConversation]:
        """Those of these records that are here, by offset."""
        return {
            offset: taken
            for offset in offsets
            if (taken := self.get(partition, offset)) is not None
        }

    def forget(self, partition: int) -> None:
        """Drop a partition's records."""
        for place in [place for place in self._records if place[0] == partition]:
            self._bytes -= self._records.pop(place)[1]

    def put(self, partition: int, offset: int, taken: TakenByConversation, size: int) -> None:
        """Remember a record of `size` bytes; the one asked for longest ago makes room."""
        _, replaced = self._records.pop((partition, offset), ({}, 0))
        self._records[partition, offset] = taken, size
        self._bytes += size - replaced
        while self._bytes > self._budget:
            self._bytes -= self._records.popitem(last=False)[1][1]
