"""Idempotent producer that the event loop polls for its reports, once a burst."""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.dependency import Dependency
from connectors.kafka import client_config
from connectors.kafka.ports import KafkaSendError, QueueFull, Report, acknowledged
from connectors.kafka.queue_wakeups import wakeups

log = logging.getLogger(__name__)

_PURGE_SECONDS = 1.0
"""The longest that reports of purged records are waited for."""
_AWAY = (
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
)
_LOOK_SECONDS = 0.5
"""How often a client that reports only failures is looked at after one."""
_numbers = itertools.count()


class KafkaProducer:
    """Sends to explicit partitions, acks=all, in order per partition.

    `conf` adds librdkafka settings. `on_fatal` is called in the loop once, with a text, if the
    idempotent producer has become unusable: make a new one. Create and use it inside a running
    loop.
    """

    def __init__(
        self,
        servers: str,
        conf: Mapping[str, Any],
        on_fatal: Callable[[str], None],
        dependency: Dependency | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_fatal = on_fatal
        self._reports: deque[tuple[Report, KafkaError | None, int]] = deque()
        self._polled = asyncio.Event()
        self._fatal = False
        self._dependency = dependency or Dependency("kafka")
        self._name = f"producer {next(_numbers)}"
        self._errors_only = bool(conf.get("delivery.report.only.error"))
        self._sent = self._failed = 0
        """Records: queued, and reported as failed."""
        self._looking: asyncio.Handle | None = None
        self._producer = Producer(
            {
                **client_config.producer(servers, self._on_error),
                "linger.ms": 0,
                "sticky.partitioning.linger.ms": 0,
                "message.max.bytes": 8 * 1024 * 1024,
                # a topic's max.message.bytes bounds the batch, not the record
                "batch.size": 256 * 1024,
                **conf,
            }
        )
        self._wakeups = wakeups(self._producer, self._poll)

    def send(
        self,
        topic: str,
        partition: int,
        value: bytes,
        on_report: Report | None = None,
        key: bytes | None = None,
    ) -> None:
        """Queue one record. Raises QueueFull, also when the client has become unusable: `on_fatal`
        has been called by then. A record that librdkafka refuses for another reason is reported as
        failed."""
        try:
            if on_report is None and not self._errors_only:
                self._producer.produce(topic, value, key, partition)
            else:
                self._producer.produce(
                    topic,
                    value,
                    key,
                    partition,
                    on_delivery=lambda error, m: self._reported(on_report, error, m),
                )
            self._sent += 1
        except BufferError:
            raise QueueFull from None
        except KafkaException as error:
            self._refused(error.args[0], on_report)

    async def send_and_wait(
        self, topic: str, partition: int, value: bytes, key: bytes | None = None
    ) -> int:
        """Send one record and return its offset once it is acknowledged. Raises KafkaSendError,
        QueueFull."""
        return await acknowledged(lambda report: self.send(topic, partition, value, report, key))

    def __len__(self) -> int:
        """Records not yet acknowledged."""
        return len(self._producer)

    async def close(self, flush_seconds: float) -> None:
        """Wait up to `flush_seconds` for what is queued, then purge the rest (its reports come as
        errors)."""
        await self._all_reported(flush_seconds)
        await asyncio.to_thread(self._producer.purge)
        await self._all_reported(_PURGE_SECONDS)
        self._wakeups.close()
        if self._looking is not None:
            self._looking.cancel()
        self._dependency.succeeded(self._name)

    async def _all_reported(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self._producer):
                    self._polled.clear()
                    await self._polled.wait()

    def _refused(self, error: KafkaError, on_report: Report | None) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._fail(str(error))
            raise QueueFull from None
        log.error("a record is refused: %s", error)
        if on_report is not None:
            self._loop.call_soon(on_report, KafkaSendError(str(error)), -1)

    def _poll(self) -> None:
        try:
            self._producer.poll(0)
        finally:  # what a callback raises keeps back no report
            self._hand_over()
            self._polled.set()

    def _reported(
        self, on_report: Report | None, error: KafkaError | None, message: Message
    ) -> None:
        if error is None:
            self._dependency.succeeded(self._name)
        else:
            self._failed += 1
            if error.code() in _AWAY:
                self._dependency.failed(f"a record could not be sent: {error.str()}", self._name)
                if self._errors_only and self._looking is None:
                    # not here: the client still counts this record among those that wait
                    self._looking = self._loop.call_soon(self._begin_to_look)
        offset = message.offset()
        if on_report is not None:
            self._reports.append((on_report, error, -1 if error or offset is None else offset))

    def _acknowledged(self) -> int:
        """How many records are, of a client that reports all its failures."""
        return self._sent - self._failed - len(self._producer)

    def _begin_to_look(self) -> None:
        self._look_later(self._acknowledged())

    def _look_later(self, before: int) -> None:
        self._looking = self._loop.call_later(_LOOK_SECONDS, self._look, before)

    def _look(self, before: int) -> None:
        """A client that reports only failures does not say that records get through again."""
        self._looking = None
        if self._acknowledged() > before:
            self._dependency.succeeded(self._name)
        else:
            self._look_later(before)

    def _hand_over(self) -> None:
        reports = self._reports
        try:
            while reports:
                on_report, error, offset = reports.popleft()
                on_report(error, offset)
        finally:  # one that raises keeps back nobody else's
            if reports:
                self._loop.call_soon(self._hand_over)

    def _on_error(self, error: KafkaError) -> None:
        client_config.log_error(error)
        if error.fatal():
            self._loop.call_soon(self._fail, str(error))

    def _fail(self, reason: str) -> None:
        if not self._fatal:
            self._fatal = True
            self._on_fatal(reason)
