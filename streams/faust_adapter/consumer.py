"""Faust made to read in batches: all records that were fetched become one event, and the stage
keeps the positions.

A Faust event costs 0.13-0.7 ms whatever it carries, so one event per message would cap a core near
1,500 messages/s. Everything here that touches what is private in Faust 0.15.3 is covered by
tests/unit/test_faust_private.py; the version is pinned.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import faust
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from connectors.kafka.record import Record
from streams.intake import (
    MAX_BYTES,
    MAX_RECORDS,
    PAUSE_SECONDS,
    POLL_SECONDS,
    Intake,
    coalesce,
)
from streams.stage import Stage

SCHEME = "messenger-stages"
ANSWER_SECONDS = 1.0
"""How long the group's coordinator may owe an answer to a heartbeat."""
_FETCHER_SECONDS = 60.0
"""How often aiokafka's fetcher looks whether it may fetch, which it never may."""


class Event:
    """Consecutive records of each of some partitions, posing as one aiokafka record: the last one
    of the first partition."""

    __slots__ = ("offset", "partition", "timestamp", "topic", "value")
    timestamp_type = 1
    headers = ()
    key = None
    checksum = None
    serialized_key_size = 0
    serialized_value_size = 0

    def __init__(self, topic: str, parts: Sequence[Sequence[Record]]) -> None:
        last = parts[0][-1]
        self.topic = topic
        self.partition = last.partition
        self.offset = last.offset
        self.timestamp = last.timestamp
        self.value = parts


def in_turns(topic: str, records: Mapping[int, Sequence[Record]]) -> Iterator[Event]:
    """What was fetched as events within the bounds of streams/intake.py, the partitions in
    turns."""
    parts: list[Sequence[Record]] = []
    full = 0.0
    for turn in itertools.zip_longest(*(coalesce(found) for found in records.values())):
        for part in turn:
            if part is None:
                continue
            size = max(len(part) / MAX_RECORDS, sum(len(r.value) for r in part) / MAX_BYTES)
            if parts and full + size > 1:
                yield Event(topic, parts)
                parts, full = [], 0.0
            parts.append(part)
            full += size
    if parts:
        yield Event(topic, parts)


class StageStream(faust.Stream):
    """Faust's stream without what a stage has no use for: acknowledgements of single events,
    processors, joins, a turn of the loop before each event."""

    async def events(self) -> AsyncGenerator[Any, None]:
        """The events of this agent's queue, but for those of an earlier generation of the group:
        they are read again."""
        self._finalized = True
        started = await self.maybe_start()
        app, queue = self.app, self.channel.queue
        try:
            while not self.should_stop:
                try:
                    event = await queue.get()
                except StopAsyncIteration:  # so Faust tells an agent to stop
                    return
                message = event.message
                generation = app.consumer_generation_id
                if app.flow_control.is_active() and message.generation_id == generation:
                    app.monitor.count(message.tp)
                    yield event
        finally:
            self._channel_stop_iteration(self.channel)
            if started:
                await self.stop()
                self.service_reset()


def note_heartbeats(coordinator: Any, app: Any) -> None:
    """Write down in `app.confirmed_at` when each heartbeat was sent that the group has
    acknowledged. A coordinator that owes an answer for ANSWER_SECONDS is looked for anew: aiokafka
    would wait for its request timeout, which must be longer than a rebalance."""
    if "_do_heartbeat" in vars(coordinator):
        return
    beat = coordinator._do_heartbeat

    async def noted() -> bool:
        sent = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                acknowledged = bool(await beat())
        except TimeoutError:
            coordinator.coordinator_dead()
            return False
        if acknowledged:
            app.confirmed_at = sent
        return acknowledged

    coordinator._do_heartbeat = noted


def leave_when_stopped(coordinator: Any) -> None:
    """A process that stops gives its partitions away at once. aiokafka would let a member with a
    name of its own keep them for a session: it may come back."""
    if "_maybe_leave_group" in vars(coordinator):
        return
    leave = coordinator._maybe_leave_group

    async def leave_by_id() -> None:
        name, coordinator._group_instance_id = coordinator._group_instance_id, None
        try:
            await leave()
        finally:
            coordinator._group_instance_id = name

    coordinator._maybe_leave_group = leave_by_id


def ask_another(client: Any) -> None:
    """Make aiokafka's client look for a coordinator by other brokers while one stands still. It
    asks any broker, each time."""
    if "coordinator_lookup" in vars(client):
        return
    lookup = client.coordinator_lookup

    async def looked_up(*arguments: Any) -> Any:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await lookup(*arguments)

    client.coordinator_lookup = looked_up


class _Listener(driver.ConsumerRebalanceListener):
    """Keeps aiokafka from fetching: the records come from elsewhere. Notes its heartbeats, and
    sees to it that it leaves its group."""

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        consumer = self._thread._ensure_consumer()
        consumer.pause(*assigned)
        consumer._fetcher._fetcher_timeout = _FETCHER_SECONDS
        note_heartbeats(consumer._coordinator, self._thread.app)
        leave_when_stopped(consumer._coordinator)
        ask_another(consumer._client)
        await super().on_partitions_assigned(assigned)


class _Thread(driver.AIOKafkaConsumerThread):
    async def _keepalive2(self) -> None:
        """Faust looks each second whether this very look has come a second ago."""


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

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def on_start(self) -> None:
        self._intake = self.app.make_intake()
        await super().on_start()

    async def on_stop(self) -> None:
        if self._intake is not None:
            await self._intake.close()
        await super().on_stop()

    async def _drain_messages(self, fetcher: Any) -> None:
        """Bring records to the agent, until Faust's `fetcher` service stops. Faust's own way makes
        six tasks for each event, and wakes ten times a second when nothing comes."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                active = {tp.partition for tp in self._get_active_partitions() if self._ours(tp)}
                if self._intake is None or not self.flow_active or not active:
                    await asyncio.sleep(PAUSE_SECONDS)
                else:
                    await self._bring(await self._intake.next(active, POLL_SECONDS))
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _bring(self, records: Mapping[int, Sequence[Record]]) -> None:
        generation = self.app.consumer_generation_id
        for event in in_turns(self._stage.spec.topic, records):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                # a rebalance has begun while records, or the agent, were waited for
                await self.perform_seek()
                return
            await self._give(self._to_message(TP(event.topic, event.partition), event))

    async def _give(self, message: Any) -> None:
        """Put what was fetched into the queue of the stage's agent, and wait while that is full, or
        Faust's flow has stopped. Faust's conductor does no more for a topic with one agent, but
        for the buffer of a producer that nobody uses."""
        for topic in list(self.app.topics):  # one, or none while the agent begins anew
            await topic.queue.put(faust.Event(self.app, None, message.value, None, message))

    async def perform_seek(self) -> None:
        """Go to the positions of the stage."""
        if self._intake is not None:
            self._intake.assign({tp.partition for tp in self.assignment() if self._ours(tp)})

    async def seek_stage(self, partition: int) -> None:
        """Read a partition from the stage's position on."""
        if self._intake is not None:
            self._intake.seek(partition)

    def renew(self) -> None:
        """Read by a new client, from the stage's positions on."""
        if self._intake is not None:
            self._intake.renew()

    def highwater(self, tp: TP) -> int:
        """The offset after the last of a partition, by the last look; else -1."""
        owned = self._stage.partitions.get(tp.partition) if self._ours(tp) else None
        return owned.seen.end if owned is not None and owned.seen is not None else -1

    def ack(self, message: Any) -> bool:
        # an event is done when the stage has it; what is committed is `committable`
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self.assignment() if self._ours(tp))

    def _new_offset(self, tp: TP) -> int | None:
        return self._stage.committable(tp.partition)

    def _should_commit(self, tp: TP, offset: int) -> bool:
        # a lower one, too: the topic was created anew, and is read from its start
        return bool(offset != self._committed_offset[tp])

    @Service.task
    async def _commit_handler(self) -> None:
        """Commit what has changed. Faust goes through all that a commit needs, changed or not."""
        while not self.should_stop:
            await self._stage.until_next(self.commit_interval)
            if self._filter_committable_offsets(self._filter_tps_with_pending_acks()):
                await self.commit()

    @Service.task
    async def _commit_livelock_detector(self) -> None:
        """streams/watchdog.py knows the reasons for standing still; Faust does not."""


class StageTransport(driver.Transport):
    Consumer = StageConsumer


TRANSPORTS.aliases[SCHEME] = "streams.faust_adapter.consumer:StageTransport"
