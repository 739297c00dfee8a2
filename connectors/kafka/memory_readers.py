"""What reads a Kafka in memory (connectors/kafka/memory.py): readers, fetchers, consumers."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from connectors.kafka.memory_broker import PartitionLog
from connectors.kafka.ports import OffsetGone, Place, ReadTimeout
from connectors.kafka.record import Record

if TYPE_CHECKING:
    from connectors.kafka.memory import MemoryKafka

_MAX_BATCH = 500
MAX_WAITING_BYTES = 4 * 1024 * 1024


class MemoryReader:
    """`Reader`. It reads at once; what would have taken time is told to the broker's `spend`."""

    def __init__(self, kafka: "MemoryKafka", timeout: float, group: str) -> None:
        self._kafka = kafka
        self._timeout = timeout
        self._group = group

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        log = self._log(topic, partition)
        return log.start, log.end

    def all_watermarks(
        self, topic: str, partitions: Collection[int], seconds: float
    ) -> Mapping[int, tuple[int, int]]:
        reader = MemoryReader(self._kafka, seconds, self._group)
        return {partition: reader.watermarks(topic, partition) for partition in partitions}

    def all_starts(self, places: Collection[Place], seconds: float) -> Mapping[Place, int]:
        reader = MemoryReader(self._kafka, seconds, self._group)
        return {place: reader.watermarks(*place)[0] for place in places}

    def all_ends(self, places: Collection[Place], seconds: float) -> Mapping[Place, int]:
        reader = MemoryReader(self._kafka, seconds, self._group)
        return {place: reader.watermarks(*place)[1] for place in places}

    def committed(self, topic: str, partition: int) -> int | None:
        if not self._kafka.reads:
            self._time_out(f"{topic}/{partition}")
        return self._kafka.broker.committed(self._group, topic, partition)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        for batch in self.batches(topic, partition, start, end):
            yield from batch

    def batches(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[list[Record]]:
        while start < end and not stopped():
            log = self._log(topic, partition)
            if not log.start <= start <= log.end:
                raise OffsetGone(f"{topic}/{partition}: offset {start} is out of range")
            batch = log.read(start, end, _MAX_BATCH)
            if not batch:
                self._time_out(f"{topic}/{partition}: nothing at offset {start}")
            start = batch[-1].offset + 1
            yield batch

    def close(self) -> None: ...

    def _log(self, topic: str, partition: int) -> PartitionLog:
        log = self._kafka.broker.log(topic, partition)
        if not self._kafka.reads or not log.leader:
            self._time_out(f"{topic}/{partition}")
        self._kafka.broker.spend(self._kafka.broker.latency())
        return log

    def _time_out(self, what: str) -> None:
        self._kafka.broker.spend(self._timeout)
        raise ReadTimeout(f"{what}: no answer for {self._timeout:.0f} s")


class _Subscription:
    """Reads one partition on, a step of the network after it has grown."""

    def __init__(
        self,
        kafka: "MemoryKafka",
        topic: str,
        partition: int,
        offset: int,
        on_fetch: Callable[[PartitionLog], None],
    ) -> None:
        self.offset = offset
        self._kafka = kafka
        self._place = topic, partition
        self._on_fetch = on_fetch
        self._coming = False
        self._closed = False
        self._log.waiting[self.changed] = None
        kafka.watch(self.changed)
        self.changed()

    @property
    def _log(self) -> PartitionLog:
        return self._kafka.broker.log(*self._place)

    def changed(self) -> None:
        if not self._coming and not self._closed:
            self._coming = True
            self._kafka.later(self._fetch)

    def close(self) -> None:
        self._closed = True
        self._log.waiting.pop(self.changed, None)
        self._kafka.unwatch(self.changed)

    def _fetch(self) -> None:
        self._coming = False
        if not self._closed and self._kafka.reads and self._log.leader:
            self._on_fetch(self._log)


class MemoryFetcher:
    """`Fetcher`."""

    def __init__(self, kafka: "MemoryKafka", topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._subscriptions: dict[int, _Subscription] = {}
        self._waiting: dict[int, list[Record]] = {}
        self._bytes: dict[int, int] = {}
        self._come = asyncio.Event()

    def read(self, offsets: Mapping[int, int]) -> None:
        for partition in [number for number in self._subscriptions if number not in offsets]:
            self._stop(partition)
        for partition, offset in offsets.items():
            self.seek(partition, offset)

    def seek(self, partition: int, offset: int) -> None:
        self._stop(partition)
        self._subscriptions[partition] = _Subscription(
            self._kafka, self._topic, partition, offset, partial(self._fetch, partition)
        )

    async def wait(self, seconds: float) -> None:
        self._come.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._come.wait()

    def has(self, partitions: Collection[int]) -> bool:
        return any(partition in self._waiting for partition in partitions)

    def take(self, partitions: Collection[int]) -> dict[int, list[Record]]:
        taken = {
            partition: self._waiting.pop(partition)
            for partition in partitions
            if partition in self._waiting
        }
        for partition in taken:
            full = self._bytes.pop(partition) > MAX_WAITING_BYTES
            if full or len(taken[partition]) >= _MAX_BATCH:
                self._subscriptions[partition].changed()
        return taken

    async def close(self) -> None:
        for partition in list(self._subscriptions):
            self._stop(partition)

    def _stop(self, partition: int) -> None:
        if partition in self._subscriptions:
            self._subscriptions.pop(partition).close()
        self._waiting.pop(partition, None)
        self._bytes.pop(partition, None)

    def _fetch(self, partition: int, log: PartitionLog) -> None:
        if self._bytes.get(partition, 0) > MAX_WAITING_BYTES:
            return
        subscription = self._subscriptions[partition]
        if not log.start <= subscription.offset <= log.end:
            subscription.offset = log.start
        records = log.read(subscription.offset, log.end, _MAX_BATCH)
        if records:
            subscription.offset = records[-1].offset + 1
            self._waiting.setdefault(partition, []).extend(records)
            self._bytes[partition] = self._bytes.get(partition, 0) + sum(
                len(record.value) for record in records
            )
            self._come.set()
            if subscription.offset < log.end:
                subscription.changed()


class MemoryPartitionConsumer:
    """`PartitionConsumer`."""

    def __init__(
        self,
        kafka: "MemoryKafka",
        topic: str,
        partition: int,
        offset: int,
        on_records: Callable[[list[Record]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._on_records = on_records
        self._on_lost = on_lost
        self._subscription = _Subscription(kafka, topic, partition, offset, self._fetch)

    async def close(self) -> None:
        self._subscription.close()

    def _fetch(self, log: PartitionLog) -> None:
        subscription = self._subscription
        if not log.start <= subscription.offset <= log.end:
            subscription.close()
            self._on_lost(f"offset {subscription.offset} is out of range")
            return
        records = log.read(subscription.offset, log.end, _MAX_BATCH)
        if records:
            subscription.offset = records[-1].offset + 1
            if subscription.offset < log.end:
                subscription.changed()
            self._on_records(records)
