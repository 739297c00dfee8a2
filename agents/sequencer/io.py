"""The outside world of a sequencer worker's partitions: Kafka's log, deliveries and dead letters,
and the routes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from agents.claims import claim
from agents.rules.fanout import Routes as RoutesFound
from agents.rules.fold import DeadItem
from agents.rules.position import FoundInput
from agents.sequencer.queries import RecordCache, Taking
from agents.sequencer.restore import Restored, restore
from connectors.kafka.ports import KafkaSendError, OffsetGone, QueueFull, ReadTimeout
from connectors.kafka.reader import Reader
from connectors.kafka.record import Record
from connectors.kafka.recovering_producer import RecoveringProducer
from connectors.redis.owners import Owners
from connectors.redis.routes import Routes
from connectors.redis.user_partitions import Begun
from connectors.request_batcher import RequestBatcher
from schemas.codec import encode_event
from schemas.events import SCHEMA_VERSION, DeadLetter
from schemas.topics import DEAD_LETTERS, DELIVERIES, LOG, SUBMITTED
from streams.tables.rocks import RocksBudget

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_CLOSE_SECONDS = 2.0
_END_SECONDS = 2.0
_NEAR = 50
"""Log records between two wanted ones that are read along rather than sought over."""

LOG_PRODUCER = {"linger.ms": 5, "message.timeout.ms": 0, "batch.size": 1024 * 1024}
"""Linger saves requests and costs nobody latency: deliveries do not wait for the log. Endless: a
lost append is a hole (R6)."""
DELIVERY_PRODUCER = {"linger.ms": 0, "message.timeout.ms": 0, "batch.size": 1024 * 1024}


class SequencerIO:
    """Shared by all partitions of a worker. Use it inside a running loop; close it.

    `topic_ids` asks Kafka for the ids its topics have now, `address` is where gateways reach this
    worker.
    """

    def __init__(
        self,
        kafka: str,
        group: str,
        state_dir: Path,
        topic_ids: Callable[[], Mapping[str, str]],
        routes: Routes,
        owners: Owners,
        address: str,
        budget: RocksBudget,
    ) -> None:
        self.kafka = kafka
        self.owners = owners
        self.address = address
        self.group = group
        self.state_dir = state_dir
        self.topic_ids = topic_ids
        self.routes = routes
        self.budget = budget
        self.log_producer = RecoveringProducer(kafka, LOG_PRODUCER)
        self.delivery_producer = RecoveringProducer(kafka, DELIVERY_PRODUCER)
        self._pages = Reader(kafka, timeout=5.0)
        self._paging = asyncio.Lock()
        self._cache = RecordCache()
        self._ends = Reader(kafka, timeout=_END_SECONDS)
        self._looking = asyncio.Lock()
        self._input_end = RequestBatcher(self._input_ends, at_once=1, most=10_000)

    async def close(self) -> None:
        """Wait a little for what is queued, then give it up: the log and R5 know what is owed."""
        await asyncio.gather(
            self.log_producer.close(_CLOSE_SECONDS), self.delivery_producer.close(_CLOSE_SECONDS)
        )
        async with self._paging:
            await asyncio.to_thread(self._pages.close)
        async with self._looking:
            await asyncio.to_thread(self._ends.close)

    async def read_records(self, partition: int, offsets: Sequence[int]) -> list[Taking]:
        """The log's records at these offsets, in order. Raises ReadTimeout, OffsetGone."""
        held = {offset: self._cache.get(partition, offset) for offset in offsets}
        if None in held.values():
            async with self._paging:
                held |= {
                    offset: self._cache.get(partition, offset)
                    for offset, taking in held.items()
                    if taking is None
                }
                missing = [offset for offset, taking in held.items() if taking is None]
                records = await asyncio.to_thread(self._read_records, partition, missing)
                held |= {record.offset: self._cache.put(record) for record in records}
        takings = [taking for taking in held.values() if taking is not None]
        if len(takings) < len(offsets):
            raise OffsetGone(f"log records of partition {partition} have gone while they were read")
        return takings

    def _read_records(self, partition: int, offsets: Sequence[int]) -> list[Record]:
        wanted = set(offsets)
        records: list[Record] = []
        for start, end in spans(offsets):
            records += (
                record
                for record in self._pages.read(LOG, partition, start, end)
                if record.offset in wanted
            )
        return records

    async def input_end(self, partition: int) -> int:
        """The offset after the last record that the input of a partition has now. Raises
        ReadTimeout."""
        return await self._input_end(partition)

    async def _input_ends(self, partitions: Sequence[int]) -> list[int]:
        """Asked for all who wait: they came before it is asked, so it is late enough for each."""
        async with self._looking:
            ends = await asyncio.to_thread(self._read_ends, set(partitions))
        return [ends[partition] for partition in partitions]

    def _read_ends(self, partitions: Iterable[int]) -> dict[int, int]:
        return {
            partition: self._ends.watermarks(SUBMITTED, partition)[1] for partition in partitions
        }

    async def watermarks(self, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """partition → (first offset, offset after the last) of a topic. Raises ReadTimeout."""
        return await asyncio.to_thread(self._watermarks, topic, partitions)

    def _watermarks(self, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        reader = Reader(self.kafka, timeout=5.0)
        try:
            return {partition: reader.watermarks(topic, partition) for partition in partitions}
        finally:
            reader.close()

    async def inputs(self, partitions: Sequence[int]) -> dict[int, FoundInput]:
        """partition → its input as Kafka has it now. Raises ReadTimeout, KafkaUnreachable."""
        found = await self.watermarks(SUBMITTED, partitions)
        topic = (await asyncio.to_thread(self.topic_ids)).get(SUBMITTED)
        if topic is None:
            raise ReadTimeout(f"there is no topic {SUBMITTED} now")
        return {
            partition: FoundInput(topic, start, end, None)
            for partition, (start, end) in found.items()
        }

    def partition(self, number: int) -> "PartitionIO":
        """The same for one partition."""
        return PartitionIO(self, number)


def spans(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending offsets as (start, end) to read; those close together in one go."""
    found: list[tuple[int, int]] = []
    for offset in offsets:
        if found and offset - found[-1][1] <= _NEAR:
            found[-1] = found[-1][0], offset + 1
        else:
            found.append((offset, offset + 1))
    return found


class PartitionIO:
    """LogAccess and DeliveryAccess of one partition."""

    def __init__(self, outside: SequencerIO, number: int) -> None:
        self._outside = outside
        self._number = number

    def append(self, value: bytes, report: Callable[[bool, int], None]) -> None:
        self._outside.log_producer.send(
            LOG, self._number, value, lambda error, offset: report(error is None, offset)
        )

    def deliver(self, slot: int, value: bytes, report: Callable[[bool], None]) -> None:
        self._outside.delivery_producer.send(
            DELIVERIES, slot, value, lambda error, _offset: report(error is None)
        )

    async def claim(self) -> None:
        """Say that this worker has the partition; returns when it is said, however long Redis is
        away."""
        await claim(self._outside.owners, self._number, self._outside.address)

    async def lookup(self, users: Sequence[str], begun: Sequence[str]) -> RoutesFound:
        return await self._outside.routes.lookup(
            users, Begun(self._number, begun) if begun else None
        )

    async def dead_letters(self, items: list[DeadItem]) -> None:
        for item in items:
            value = encode_event(
                DeadLetter(
                    SCHEMA_VERSION,
                    SUBMITTED,
                    self._number,
                    item.offset,
                    item.place,
                    item.code.number,
                    item.value,
                )
            )
            while True:
                try:
                    await self._outside.log_producer.send_and_wait(
                        DEAD_LETTERS, self._number, value
                    )
                    break
                except (KafkaSendError, QueueFull) as error:
                    log.warning(
                        "partition %d: dead letter of offset %d: %s",
                        self._number,
                        item.offset,
                        error,
                    )
                    await asyncio.sleep(_RETRY_SECONDS)

    async def read_to_end(self, start: int) -> list[Record]:
        return [record async for records in self.read_log(start) for record in records]

    async def read_log(self, start: int) -> AsyncIterator[list[Record]]:
        """Records from log offset `start` to the present end. Raises ReadTimeout, OffsetGone."""
        reader = Reader(self._outside.kafka)
        try:
            _, end = await asyncio.to_thread(reader.watermarks, LOG, self._number)
            batches: Iterator[list[Record]] = reader.batches(LOG, self._number, start, end)
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                yield batch
        finally:
            await asyncio.to_thread(reader.close)

    async def read_records(self, offsets: Sequence[int]) -> list[Taking]:
        return await self._outside.read_records(self._number, offsets)

    async def input(self) -> FoundInput:
        """The input as Kafka has it now. Raises ReadTimeout, KafkaUnreachable."""
        return (await self._outside.inputs([self._number]))[self._number]

    async def input_end(self) -> int:
        """The offset after the last record that the input has now. Raises ReadTimeout."""
        return await self._outside.input_end(self._number)

    async def restore(self, stopped: Callable[[], bool]) -> Restored:
        """See agents.sequencer.restore."""
        return await asyncio.to_thread(self._restore, stopped)

    def _restore(self, stopped: Callable[[], bool]) -> Restored:
        outside = self._outside
        reader = Reader(outside.kafka, group=outside.group)
        try:
            folder = outside.state_dir / f"partition-{self._number}"
            return restore(
                self._number, folder, outside.budget, reader, outside.topic_ids(), stopped
            )
        finally:
            reader.close()
