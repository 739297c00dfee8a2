"""Faust made to read in batches: all records fetched for a partition become one event, and the stage keeps the positions.

A Faust event costs 0.13-0.7 ms whatever it carries, so one event per message would cap a core near 1,500 messages/s.
Everything here that touches what is private in Faust 0.15.3 is covered by tests/unit/test_faust_private.py; the version is
pinned.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import faust
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

from streams.intake import Intake

SCHEME = "messenger-kafka"
MAX_RECORDS = 1000
MAX_BYTES = 512 * 1024
"""Bounds of one event. A log record is at most half as large again as the input it covers, so it stays below 1 MiB."""

_POLL_SECONDS = 0.1
_PAUSE_SECONDS = 0.02
_MANY, _COLLECT_SECONDS = 8, 0.002
"""After a fetch of many records the next one is waited for a moment: under load fewer, larger events cost half and come no
later; at light load nothing waits."""


class Fetched:
    """Consecutive records of one partition, posing as one aiokafka record at the offset of the last."""

    __slots__ = ("offset", "partition", "serialized_value_size", "timestamp", "timestamp_type", "topic", "value")
    headers = ()
    key = None
    checksum = None
    serialized_key_size = 0

    def __init__(self, records: list[Any]) -> None:
        last = records[-1]
        self.topic = last.topic
        self.partition = last.partition
        self.offset = last.offset
        self.timestamp = last.timestamp
        self.timestamp_type = last.timestamp_type
        self.value = records
        self.serialized_value_size = sum(record.serialized_value_size for record in records)


def coalesce(records: list[Any]) -> Iterator[Fetched]:
    """Cut fetched records into events of at most MAX_RECORDS and MAX_BYTES; one record alone may be larger."""
    start = size = 0
    for index, record in enumerate(records):
        if index > start and (index - start == MAX_RECORDS or size + record.serialized_value_size > MAX_BYTES):
            yield Fetched(records[start:index])
            start, size = index, 0
        size += record.serialized_value_size
    if records:
        yield Fetched(records[start:])


class BatchScheduler(DefaultSchedulingStrategy):
    """Faust's `ConsumerScheduler` setting: one event for what was fetched of a partition, round-robin over partitions."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        return super().iterate({tp: list(coalesce(fetched)) for tp, fetched in records.items()})


class PassSchema(faust.Schema):
    """Hands the list of fetched records to the agent undecoded."""

    def loads_key(self, app: Any, message: Any, **options: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **options: Any) -> Any:
        return message.value


class BatchConsumer(driver.Consumer):
    """Faust's consumer with positions, commits and pauses taken from the app's `intake`."""

    @property
    def _intake(self) -> Intake:
        return self.app.intake

    def _ours(self, tp: TP) -> bool:
        return tp.topic == self.app.intake_topic

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        # Faust undoes a pause at every rebalance and buffer change, so what is held is left out here, at the last moment.
        held = self._intake.held
        reading = {tp for tp in active_partitions or () if not (self._ours(tp) and held(tp.partition))}
        if not reading:
            await self.sleep(_PAUSE_SECONDS)
            return {}
        if self._fetched_many:
            await asyncio.sleep(_COLLECT_SECONDS)
        records = await super()._getmany(reading, min(timeout, _POLL_SECONDS))
        self._fetched_many = sum(map(len, records.values())) >= _MANY
        return records

    _fetched_many = False

    async def _wait_next_records(self, timeout: float) -> Any:
        if self.flow_active and not self._get_active_partitions():
            await self.sleep(_PAUSE_SECONDS)  # Faust's own pause here is a whole second, after every rebalance
            return {}, self._get_active_partitions()
        return await super()._wait_next_records(timeout)

    async def perform_seek(self) -> None:
        """Go to the positions of the stage; what it does not know yet is held, and sought when it does (R3)."""
        offsets = {
            tp: offset
            for tp in self.assignment()
            if self._ours(tp) and (offset := self._intake.next_offset(tp.partition)) is not None
        }
        if offsets:
            await self.seek_wait(offsets)

    async def go_on(self, partition: int) -> None:
        """Read a partition from the stage's position on: it has restored its state, or a gap was seen."""
        tp = TP(self.app.intake_topic, partition)
        offset = self._intake.next_offset(partition)
        if offset is not None and tp in self.assignment():
            await self.seek_wait({tp: offset})

    def ack(self, message: Any) -> bool:
        message.acked = True  # an event is done when the stage has it; what is committed is `committable`
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


TRANSPORTS.aliases[SCHEME] = "streams.batching:BatchTransport"
