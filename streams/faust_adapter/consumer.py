"""Faust made to read in batches: all records fetched for a partition become one event, and the
stage keeps the positions.

A Faust event costs 0.13-0.7 ms whatever it carries, so one event per message would cap a core near
1,500 messages/s. Everything here that touches what is private in Faust 0.15.3 is covered by
tests/unit/test_faust_private.py; the version is pinned.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import faust
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

from connectors.kafka.record import Record
from streams.intake import PAUSE_SECONDS, POLL_SECONDS, Intake, coalesce
from streams.stage import Stage

SCHEME = "messenger-stages"


class Event:
    """Consecutive records of one partition, posing as one aiokafka record at the offset of the
    last."""

    __slots__ = ("offset", "partition", "serialized_value_size", "timestamp", "topic", "value")
    timestamp_type = 1
    headers = ()
    key = None
    checksum = None
    serialized_key_size = 0

    def __init__(self, topic: str, records: Sequence[Record]) -> None:
        last = records[-1]
        self.topic = topic
        self.partition = last.partition
        self.offset = last.offset
        self.timestamp = last.timestamp
        self.value = records
        self.serialized_value_size = sum(len(record.value) for record in records)


class EventScheduler(DefaultSchedulingStrategy):
    """Faust's `ConsumerScheduler` setting: one event for what was fetched of a partition,
    round-robin over partitions."""

    def iterate(self, records: Mapping[TP, list[Record]]) -> Iterator[tuple[TP, Any]]:
        return super().iterate(
            {
                tp: [Event(tp.topic, some) for some in coalesce(fetched)]
                for tp, fetched in records.items()
            }
        )


class PassSchema(faust.Schema):
    """Hands the list of fetched records to the agent undecoded."""

    def loads_key(self, app: Any, message: Any, **options: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **options: Any) -> Any:
        return message.value


def note_heartbeats(coordinator: Any, app: Any) -> None:
    """Write down in `app.confirmed_at` when each heartbeat was sent that the group has
    acknowledged."""
    if "_do_heartbeat" in vars(coordinator):
        return
    beat = coordinator._do_heartbeat

    async def noted() -> bool:
        sent = time.monotonic()
        acknowledged = bool(await beat())
        if acknowledged:
            app.confirmed_at = sent
        return acknowledged

    coordinator._do_heartbeat = noted


class _Listener(driver.ConsumerRebalanceListener):
    """Keeps aiokafka from fetching: the records come from elsewhere. Notes its heartbeats."""

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        consumer = self._thread._ensure_consumer()
        consumer.pause(*assigned)
        note_heartbeats(consumer._coordinator, self._thread.app)
        await super().on_partitions_assigned(assigned)


class StageConsumer(driver.Consumer):
    """Faust's consumer with positions, commits and pauses taken from the app's stage, and records
    from its intake.

    aiokafka keeps the group: membership, rebalances, commits. Its way of a record, through a thread
    with a loop of its own, took 0.75 ms longer at light load.
    """

    RebalanceListener = _Listener
    _intake: Intake | None = None

    @property
    def _stage(self) -> Stage[Any]:
        stage: Stage[Any] = self.app.stage
        return stage

    def _ours(self, tp: TP) -> bool:
        return tp.topic == self._stage.spec.topic

    async def on_start(self) -> None:
        self._intake = self.app.make_intake()
        await super().on_start()

    async def on_stop(self) -> None:
        if self._intake is not None:
            await self._intake.close()
        await super().on_stop()

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        active = {tp.partition: tp for tp in active_partitions or () if self._ours(tp)}
        if self._intake is None or not active:
            await self.sleep(PAUSE_SECONDS)
            return {}
        records = await self._intake.next(active, min(timeout, POLL_SECONDS))
        return {active[partition]: some for partition, some in records.items()}

    async def _wait_next_records(self, timeout: float) -> Any:
        if self.flow_active and not self._get_active_partitions():
            # Faust's own pause here is a whole second, after every rebalance
            await self.sleep(PAUSE_SECONDS)
            return {}, self._get_active_partitions()
        return await super()._wait_next_records(timeout)

    async def perform_seek(self) -> None:
        """Go to the positions of the stage."""
        if self._intake is not None:
            self._intake.assign({tp.partition for tp in self.assignment() if self._ours(tp)})
            self._read_offset.clear()  # or Faust would leave out what it has seen before

    async def seek_stage(self, partition: int) -> None:
        """Read a partition from the stage's position on."""
        if self._intake is not None and self._intake.seek(partition):
            self._read_offset.pop(TP(self._stage.spec.topic, partition), None)

    def renew(self) -> None:
        """Read by a new client, from the stage's positions on."""
        if self._intake is not None:
            self._intake.renew()
            self._read_offset.clear()

    def highwater(self, tp: TP) -> int:
        """The offset after the last of a partition, by the last look; else -1."""
        owned = self._stage.partitions.get(tp.partition) if self._ours(tp) else None
        return owned.seen.end if owned is not None and owned.seen is not None else -1

    def ack(self, message: Any) -> bool:
        # an event is done when the stage has it; what is committed is `committable`
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        pass  # only Faust's own commit offsets need gaps

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self.assignment() if self._ours(tp))

    def _new_offset(self, tp: TP) -> int | None:
        return self._stage.committable(tp.partition)

    def _should_commit(self, tp: TP, offset: int) -> bool:
        # a lower one, too: the topic was created anew, and is read from its start
        return bool(offset != self._committed_offset[tp])

    def verify_event_path(self, now: float, tp: TP) -> None:
        pass  # streams/watchdog.py knows the reasons for standing still; Faust's own check does not


class StageTransport(driver.Transport):
    Consumer = StageConsumer


TRANSPORTS.aliases[SCHEME] = "streams.faust_adapter.consumer:StageTransport"
