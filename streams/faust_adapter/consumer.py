"""Faust made to read in batches: all records fetched for a partition become one event, and the
stage keeps the positions.

A Faust event costs 0.13-0.7 ms whatever it carries, so one event per message would cap a core near
1,500 messages/s. Everything here that touches what is private in Faust 0.15.3 is covered by
tests/unit/test_faust_private.py; the version is pinned.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import faust
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

from connectors.kafka.fetcher import Fetcher
from connectors.kafka.record import Record
from streams.earlier_positions import PartitionPositions

SCHEME = "messenger-kafka"
MAX_RECORDS = 1000
MAX_BYTES = 512 * 1024
"""Bounds of one event. A log record is at most half as large again as the input it covers, so it
stays below 1 MiB."""

_POLL_SECONDS = 0.1
_PAUSE_SECONDS = 0.02
_MANY, _COLLECT_SECONDS = 8, 0.002
"""After a fetch of many records the next one is waited for a moment: under load fewer, larger
events cost half and come no later; at light load nothing waits."""


class Fetched:
    """Consecutive records of one partition, posing as one aiokafka record at the offset of the
    last."""

    __slots__ = ("offset", "partition", "serialized_value_size", "timestamp", "topic", "value")
    timestamp_type = 1
    headers = ()
    key = None
    checksum = None
    serialized_key_size = 0

    def __init__(self, topic: str, records: list[Record], size: int) -> None:
        last = records[-1]
        self.topic = topic
        self.partition = last.partition
        self.offset = last.offset
        self.timestamp = last.timestamp
        self.value = records
        self.serialized_value_size = size


def coalesce(topic: str, records: list[Record]) -> Iterator[Fetched]:
    """Cut fetched records into events of at most MAX_RECORDS and MAX_BYTES; one record alone may be
    larger."""
    start = size = 0
    for index, record in enumerate(records):
        if index > start and (index - start == MAX_RECORDS or size + len(record.value) > MAX_BYTES):
            yield Fetched(topic, records[start:index], size)
            start, size = index, 0
        size += len(record.value)
    if records:
        yield Fetched(topic, records[start:], size)


class BatchScheduler(DefaultSchedulingStrategy):
    """Faust's `ConsumerScheduler` setting: one event for what was fetched of a partition,
    round-robin over partitions."""

    def iterate(self, records: Mapping[TP, list[Record]]) -> Iterator[tuple[TP, Any]]:
        return super().iterate(
            {tp: list(coalesce(tp.topic, fetched)) for tp, fetched in records.items()}
        )


class PassSchema(faust.Schema):
    """Hands the list of fetched records to the agent undecoded."""

    def loads_key(self, app: Any, message: Any, **options: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **options: Any) -> Any:
        return message.value


class _Listener(driver.ConsumerRebalanceListener):
    """Keeps aiokafka from fetching: the records come from elsewhere."""

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        self._thread._ensure_consumer().pause(*assigned)
        await super().on_partitions_assigned(assigned)


class BatchConsumer(driver.Consumer):
    """Faust's consumer with positions, commits and pauses taken from the app's `intake`, and
    records from librdkafka.

    aiokafka keeps the group: membership, rebalances, commits. Its way of a record, through a thread
    with a loop of its own, took 0.75 ms longer at light load.
    """

    RebalanceListener = _Listener
    _fetched_many = False
    _fetcher: Fetcher | None = None

    @property
    def _intake(self) -> PartitionPositions:
        return self.app.intake

    def _ours(self, tp: TP) -> bool:
        return tp.topic == self.app.intake_topic

    async def on_start(self) -> None:
        self._fetcher = Fetcher(self.app.kafka, self.app.intake_topic, self.app.fetch_bytes)
        await super().on_start()

    async def on_stop(self) -> None:
        if self._fetcher is not None:
            await self._fetcher.close()
        await super().on_stop()

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        fetcher = self._fetcher
        if fetcher is None or not (reading := self._reading(active_partitions)):
            await self.sleep(_PAUSE_SECONDS)
            return {}
        if self._fetched_many:
            await asyncio.sleep(_COLLECT_SECONDS)
        if not fetcher.has(reading):
            await fetcher.wait(min(timeout, _POLL_SECONDS))
        # Faust undoes a pause at every rebalance and buffer change, so what is held is left out
        # here, at the last moment.
        reading = self._reading(active_partitions)
        records = {
            reading[partition]: fetched for partition, fetched in fetcher.take(reading).items()
        }
        self._fetched_many = sum(map(len, records.values())) >= _MANY
        return records

    def _reading(self, active_partitions: set[TP] | None) -> dict[int, TP]:
        held = self._intake.held
        return {
            tp.partition: tp
            for tp in active_partitions or ()
            if self._ours(tp) and not held(tp.partition)
        }

    async def _wait_next_records(self, timeout: float) -> Any:
        if self.flow_active and not self._get_active_partitions():
            await self.sleep(
                _PAUSE_SECONDS
            )  # Faust's own pause here is a whole second, after every rebalance
            return {}, self._get_active_partitions()
        return await super()._wait_next_records(timeout)

    async def perform_seek(self) -> None:
        """Go to the positions of the stage; what it does not know yet is not read, and sought when
        it does (R3)."""
        if self._fetcher is None:
            return
        offsets = {
            tp.partition: offset
            for tp in self.assignment()
            if self._ours(tp) and (offset := self._intake.next_offset(tp.partition)) is not None
        }
        self._fetcher.read(offsets)
        self._read_offset.clear()  # or Faust would leave out what it has seen before

    async def go_on(self, partition: int) -> None:
        """Read a partition from the stage's position on: it has restored its state, or a gap was
        seen."""
        tp = TP(self.app.intake_topic, partition)
        offset = self._intake.next_offset(partition)
        if self._fetcher is not None and offset is not None and tp in self.assignment():
            self._fetcher.seek(partition, offset)
            self._read_offset.pop(tp, None)

    def highwater(self, tp: TP) -> int:
        """The offset after the last of a partition of the intake, as far as known; else -1."""
        end = (
            self._fetcher.end(tp.partition)
            if self._fetcher is not None and self._ours(tp)
            else None
        )
        return -1 if end is None else end

    def ack(self, message: Any) -> bool:
        message.acked = (
            True  # an event is done when the stage has it; what is committed is `committable`
        )
        self._unacked_messages.discard(message)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        pass  # only Faust's own commit offsets need gaps

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self.assignment() if self._ours(tp))

    def _new_offset(self, tp: TP) -> int | None:
        return self._intake.committable(tp.partition)

    def verify_event_path(self, now: float, tp: TP) -> None:
        pass  # streams/watchdog.py knows the reasons for standing still; Faust's own check does not


class BatchTransport(driver.Transport):
    Consumer = BatchConsumer


TRANSPORTS.aliases[SCHEME] = "streams.faust_adapter.consumer:BatchTransport"
