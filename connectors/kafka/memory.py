"""The clients of a Kafka in memory, as one process has them (connectors/kafka/ports.py).

What a process does happens in its context; what is on the network goes its way without it. So a
process that stands still appends late what it had not sent, and what it had sent lands meanwhile.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from connectors.kafka.memory_broker import MemoryBroker, PartitionLog
from connectors.kafka.ports import (
    KafkaSendError,
    KafkaUnreachable,
    OffsetGone,
    QueueFull,
    ReadTimeout,
    Report,
)
from connectors.kafka.record import Record

_MAX_BATCH = 500
_MAX_QUEUED = 100_000
_MAX_QUEUED_KBYTES = 1024 * 1024
_TIMEOUT_MS = 300_000
"""librdkafka's defaults."""
MAX_WAITING_BYTES = 4 * 1024 * 1024


class MemoryKafka:
    """`Kafka` of one process. Make it in that process' context. `connected` and `hears` are the two
    directions of its network: what it sends arrives, and what it is sent.

    `full` makes every `send` raise QueueFull.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.full = False
        self._connected = True
        self._hears = True
        self._context = copy_context()
        self._network = Context()
        self._producers: list[MemoryProducer] = []
        self._changed: dict[Callable[[], None], None] = {}
        broker.clients[self._poke] = None

    @property
    def reads(self) -> bool:
        """Whether questions are answered now."""
        return self.broker.up and self._connected and self._hears

    @property
    def writes(self) -> bool:
        """Whether what is sent arrives now."""
        return self.broker.up and self._connected

    @property
    def hears(self) -> bool:
        """Whether acknowledgements arrive now."""
        return self.broker.up and self._hears

    def cut(self, sends: bool = False, hears: bool = False) -> None:
        """The network to the broker fails, in one direction or in both."""
        self._connected, self._hears = sends, hears

    def mend(self) -> None:
        self._connected = self._hears = True
        self._poke()

    def break_producers(self, chance: random.Random) -> None:
        """A fatal error of the client: all that is not acknowledged is reported as failed, and the
        first of it may still land, later."""
        for producer in self._producers:
            producer.break_(chance)

    def forget(self) -> None:
        """The process is gone."""
        self.broker.clients.pop(self._poke, None)
        self._changed.clear()

    def _poke(self) -> None:
        for changed in list(self._changed):
            changed()

    def later(self, function: Callable[..., object], *args: Any) -> None:
        """After a step of the network, in the process."""
        asyncio.get_running_loop().call_later(
            self.broker.latency(), function, *args, context=self._context
        )

    def in_process(self, function: Callable[..., object], *args: Any) -> None:
        """Now, in the process."""
        self._context.copy().run(function, *args)

    def on_network(self, when: float, function: Callable[..., object], *args: Any) -> None:
        """At a time, whatever the process does."""
        asyncio.get_running_loop().call_at(when, function, *args, context=self._network)

    def watch(self, changed: Callable[[], None]) -> None:
        self._changed[changed] = None

    def unwatch(self, changed: Callable[[], None]) -> None:
        self._changed.pop(changed, None)

    # Kafka

    def producer(self, conf: Mapping[str, Any]) -> "MemoryProducer":
        producer = MemoryProducer(self, conf)
        self._producers.append(producer)
        return producer

    def reader(self, timeout: float = 30.0, group: str = "") -> "MemoryReader":
        return MemoryReader(self, timeout, group)

    def fetcher(self, topic: str, fetch_bytes: int = 1) -> "MemoryFetcher":
        return MemoryFetcher(self, topic)

    def partition_consumer(
        self,
        topic: str,
        partition: int,
        offset: int,
        on_records: Callable[[list[Record]], None],
        on_lost: Callable[[str], None],
    ) -> "MemoryPartitionConsumer":
        return MemoryPartitionConsumer(self, topic, partition, offset, on_records, on_lost)

    def topic_ids(self) -> Mapping[str, str]:
        if not self.reads:
            self.broker.spend(15.0)
            raise KafkaUnreachable("Kafka in memory does not answer")
        return self.broker.topic_ids()


class _Sent:
    """A record on its way. `done` once it is reported; one that is `lost` does not land."""

    __slots__ = ("done", "due", "key", "lost", "number", "on_report", "value")

    def __init__(
        self, number: int, value: bytes, key: bytes | None, on_report: Report | None, due: float
    ) -> None:
        self.number = number
        self.value = value
        self.key = key
        self.on_report = on_report
        self.due = due
        self.done = False
        self.lost = False


class MemoryProducer:
    """`Producer`. Of `conf` it knows linger.ms, message.timeout.ms, delivery.report.only.error and
    the bounds of the queue."""

    def __init__(self, kafka: MemoryKafka, conf: Mapping[str, Any]) -> None:
        self._kafka = kafka
        self._linger = conf.get("linger.ms", 0) / 1000
        self._seconds = conf.get("message.timeout.ms", _TIMEOUT_MS) / 1000
        self._errors_only = bool(conf.get("delivery.report.only.error"))
        self._most = conf.get("queue.buffering.max.messages", _MAX_QUEUED)
        self._most_bytes = conf.get("queue.buffering.max.kbytes", _MAX_QUEUED_KBYTES) * 1024
        self._queued: dict[tuple[str, int], deque[_Sent]] = {}
        self._landing: dict[tuple[str, int], float] = {}
        """Of each partition, when the last that was sent lands."""
        self._sent: dict[_Sent, tuple[str, int]] = {}
        """All that is not reported, in order."""
        self._numbers = 0
        self._rounds: dict[tuple[str, int], int] = {}
        """How often records of a partition came back; what was sent before goes after them."""
        self._clients = 0
        """How many clients there were before, that failed."""
        self._unheard: list[tuple[list[_Sent], list[int]]] = []
        """Acknowledgements that the network lost; the client asks again."""
        self._bytes = 0
        self._transmitting = False
        self._expiring = False
        self._idle: asyncio.Event | None = None
        kafka.watch(self._changed)

    def __len__(self) -> int:
        return len(self._sent)

    def send(
        self,
        topic: str,
        partition: int,
        value: bytes,
        on_report: Report | None = None,
        key: bytes | None = None,
    ) -> None:
        if (
            self._kafka.full
            or len(self._sent) >= self._most
            or (self._bytes + len(value) > self._most_bytes and self._sent)
        ):
            raise QueueFull
        now = asyncio.get_running_loop().time()
        due = now + self._seconds if self._seconds else float("inf")
        self._numbers += 1
        sent = _Sent(self._numbers, value, key, on_report, due)
        self._sent[sent] = topic, partition
        self._bytes += len(value)
        if self._kafka.broker.record_watch is not None:
            self._kafka.broker.record_watch.sent(topic, partition, value)
        self._queued.setdefault((topic, partition), deque()).append(sent)
        self._transmit_soon()

    async def send_and_wait(
        self, topic: str, partition: int, value: bytes, key: bytes | None = None
    ) -> int:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def report(error: Exception | None, offset: int) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(offset)
            else:
                done.set_exception(KafkaSendError(str(error)))

        self.send(topic, partition, value, report, key)
        return await done

    async def close(self, flush_seconds: float) -> None:
        if flush_seconds and self._sent:
            self._idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(flush_seconds):
                    await self._idle.wait()
        self._queued.clear()
        for sent in list(self._sent):
            self._report(sent, KafkaSendError("the producer is closed"), -1)
        self._kafka.unwatch(self._changed)

    def break_(self, chance: random.Random) -> None:
        """See MemoryKafka.break_producers."""
        self._clients += 1
        self._queued.clear()
        self._landing.clear()
        self._unheard.clear()
        ends: dict[tuple[str, int], bool] = {}
        failed = list(self._sent)
        for sent in failed:
            place = self._sent[sent]
            sent.lost = ends[place] = ends.get(place, False) or chance.random() < 0.4
        self._kafka.later(self._fail, failed)

    def _fail(self, failed: list[_Sent]) -> None:
        for sent in failed:
            self._report(sent, KafkaSendError("a fatal error of the client"), -1)

    def _changed(self) -> None:
        self._kafka.later(self._resume)

    def _resume(self) -> None:
        unheard, self._unheard = self._unheard, []
        for batch, offsets in unheard:
            self._acknowledge(batch, offsets)
        self._transmit_soon()

    def _transmit_soon(self) -> None:
        if self._queued and not self._transmitting:
            self._transmitting = True
            asyncio.get_running_loop().call_later(
                self._linger, self._transmit, context=self._kafka._context
            )
        if self._sent and self._seconds and not self._expiring:
            self._expiring = True
            asyncio.get_running_loop().call_at(
                next(iter(self._sent)).due, self._expire, context=self._kafka._context
            )

    def _transmit(self) -> None:
        """Put what is queued on the network."""
        self._transmitting = False
        if not self._kafka.writes:
            return
        now = asyncio.get_running_loop().time()
        for place in list(self._queued):
            batch = [sent for sent in self._queued.pop(place) if not sent.done]
            landing = max(self._landing.get(place, 0.0), now + self._kafka.broker.latency())
            self._landing[place] = landing
            if batch:
                turn = self._clients, self._rounds.get(place, 0)
                self._kafka.on_network(landing, self._land, place, batch, turn)

    def _land(self, place: tuple[str, int], batch: list[_Sent], turn: tuple[int, int]) -> None:
        log = self._kafka.broker.log(*place)
        batch = [sent for sent in batch if not sent.lost]
        can = self._kafka.writes and log.leader
        if turn[0] == self._clients:
            if not can or turn[1] != self._rounds.get(place, 0):
                self._back(place, batch)
                return
            log.waiting.pop(self._changed, None)
        elif not can:
            return
        now = self._kafka.broker.now()
        offsets = [log.append(now, sent.value, sent.key) for sent in batch]
        watch = self._kafka.broker.record_watch
        if watch is not None:
            for sent, offset in zip(batch, offsets, strict=True):
                self._kafka.in_process(watch.landed, *place, offset, sent.value)
        log.poke()
        self._kafka.later(self._acknowledge, batch, offsets)

    def _back(self, place: tuple[str, int], batch: list[_Sent]) -> None:
        """There is no leader now, or what was sent before is here again: the client keeps them."""
        queued = [*batch, *self._queued.get(place, ())]
        self._queued[place] = deque(sorted(queued, key=lambda sent: sent.number))
        self._rounds[place] = self._rounds.get(place, 0) + 1
        self._kafka.broker.log(*place).waiting[self._changed] = None
        if self._kafka.writes and self._kafka.broker.log(*place).leader:
            self._changed()

    def _acknowledge(self, batch: list[_Sent], offsets: list[int]) -> None:
        if not self._kafka.hears:
            self._unheard.append((batch, offsets))
            return
        for sent, offset in zip(batch, offsets, strict=True):
            self._report(sent, None, offset)

    def _expire(self) -> None:
        self._expiring = False
        now = asyncio.get_running_loop().time()
        for sent in [sent for sent in self._sent if sent.due <= now]:
            self._report(sent, KafkaSendError("Kafka did not acknowledge it in time"), -1)
        self._transmit_soon()

    def _report(self, sent: _Sent, error: Exception | None, offset: int) -> None:
        if sent.done:
            return
        sent.done = True
        del self._sent[sent]
        self._bytes -= len(sent.value)
        if sent.on_report is not None and (error is not None or not self._errors_only):
            sent.on_report(error, offset)
        if not self._sent and self._idle is not None:
            self._idle.set()


class MemoryReader:
    """`Reader`. It reads at once; what would have taken time is told to the broker's `spend`."""

    def __init__(self, kafka: MemoryKafka, timeout: float, group: str) -> None:
        self._kafka = kafka
        self._timeout = timeout
        self._group = group

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        log = self._log(topic, partition)
        return log.start, log.end

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
        kafka: MemoryKafka,
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

    def end(self) -> int | None:
        """The end of the log, if it can be asked for."""
        log = self._log
        return log.end if self._kafka.reads and log.leader else None

    def _fetch(self) -> None:
        self._coming = False
        if not self._closed and self._kafka.reads and self._log.leader:
            self._on_fetch(self._log)


class MemoryFetcher:
    """`Fetcher`."""

    def __init__(self, kafka: MemoryKafka, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._subscriptions: dict[int, _Subscription] = {}
        self._waiting: dict[int, list[Record]] = {}
        self._bytes: dict[int, int] = {}
        self._ends: dict[int, int] = {}
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

    def end(self, partition: int) -> int | None:
        subscription = self._subscriptions.get(partition)
        if partition in self._ends and subscription is not None:
            self._ends[partition] = subscription.end() or self._ends[partition]
        return self._ends.get(partition)

    async def close(self) -> None:
        for partition in list(self._subscriptions):
            self._stop(partition)

    def _stop(self, partition: int) -> None:
        if partition in self._subscriptions:
            self._subscriptions.pop(partition).close()
        self._waiting.pop(partition, None)
        self._bytes.pop(partition, None)
        self._ends.pop(partition, None)

    def _fetch(self, partition: int, log: PartitionLog) -> None:
        self._ends[partition] = log.end
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
        kafka: MemoryKafka,
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
