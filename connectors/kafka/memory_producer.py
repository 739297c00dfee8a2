"""The producer of a Kafka in memory (connectors/kafka/memory.py)."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connectors.kafka.ports import KafkaSendError, QueueFull, Report, acknowledged

if TYPE_CHECKING:
    from connectors.kafka.memory import MemoryKafka

_MAX_QUEUED = 100_000
_MAX_QUEUED_KBYTES = 1024 * 1024
_TIMEOUT_MS = 300_000
"""librdkafka's defaults."""


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

    def __init__(self, kafka: "MemoryKafka", conf: Mapping[str, Any]) -> None:
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
        self._unheard: list[tuple[tuple[str, int], list[_Sent], list[int]]] = []
        """Acknowledgements that the network lost, or an old leader; the client asks again."""
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
        return await acknowledged(lambda report: self.send(topic, partition, value, report, key))

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
        for place, batch, offsets in unheard:
            self._acknowledge(place, batch, offsets, self._kafka.broker.log(*place).epoch)
        self._transmit_soon()

    def _transmit_soon(self) -> None:
        if self._queued and not self._transmitting:
            self._transmitting = True
            asyncio.get_running_loop().call_later(
                self._linger, self._transmit, context=self._kafka.context
            )
        if self._sent and self._seconds and not self._expiring:
            self._expiring = True
            asyncio.get_running_loop().call_at(
                next(iter(self._sent)).due, self._expire, context=self._kafka.context
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
                epoch = self._kafka.broker.log(*place).epoch
                self._kafka.on_network(landing, self._land, place, batch, turn, epoch)

    def _land(
        self, place: tuple[str, int], batch: list[_Sent], turn: tuple[int, int], epoch: int
    ) -> None:
        log = self._kafka.broker.log(*place)
        batch = [sent for sent in batch if not sent.lost]
        can = self._kafka.writes and log.writable and log.epoch == epoch
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
        self._kafka.later(self._acknowledge, place, batch, offsets, log.epoch)

    def _back(self, place: tuple[str, int], batch: list[_Sent]) -> None:
        """The leader is another one, or takes nothing, or what was sent before is here again: the
        client keeps them."""
        queued = [*batch, *self._queued.get(place, ())]
        self._queued[place] = deque(sorted(queued, key=lambda sent: sent.number))
        self._rounds[place] = self._rounds.get(place, 0) + 1
        self._kafka.broker.log(*place).waiting[self._changed] = None
        if self._kafka.writes and self._kafka.broker.log(*place).writable:
            self._changed()

    def _acknowledge(
        self, place: tuple[str, int], batch: list[_Sent], offsets: list[int], epoch: int
    ) -> None:
        if not self._kafka.hears:
            self._unheard.append((place, batch, offsets))
            return
        if self._kafka.broker.log(*place).epoch != epoch:
            self._unheard.append((place, batch, offsets))
            self._changed()
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
