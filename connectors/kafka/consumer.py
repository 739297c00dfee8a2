"""Consumer of one assigned partition, which hands whole fetches to the event loop."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from connectors.dependency import Dependency
from connectors.kafka import client_config
from connectors.kafka.client_watch import ClientWatch
from connectors.kafka.record import Record

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
"""Between a failure of the client and the next client."""
MAX_BATCH = 500
MAX_HANDED = 8
"""Batches that the loop has been handed and has not taken yet. Beyond it the thread waits, and
librdkafka's own queue is the bound."""
MAX_QUEUED_KIB = 4 * 1024
"""Of that queue; one batch is no more than it holds."""


class PartitionConsumer:
    """Reads `topic`/`partition` from `offset` on, in a thread of its own. Each fetch goes to
    `on_records` in the loop, in order.

    `on_lost` is called in the loop, once, with a text, when Kafka has no longer what comes next
    (R14: no silent jump). Any other failure of the client heals: another goes on from the same
    offset.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        partition: int,
        offset: int,
        on_records: Callable[[list[Record]], None],
        on_lost: Callable[[str], None],
        dependency: Dependency | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_records = on_records
        self._on_lost = on_lost
        self._room = threading.Semaphore(MAX_HANDED)
        self._closed = False
        self._renew = False
        self._position = TopicPartition(topic, partition, offset)
        self._watch = ClientWatch(
            f"the consumer of {topic}/{partition}", dependency or Dependency("kafka"), self._stuck
        )
        self._conf = client_config.consumer(
            servers, self._watch, {"queued.max.messages.kbytes": MAX_QUEUED_KIB}
        )
        self._consumer = self._new()
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Stop reading; nothing more is handed over."""
        self._closed = True
        self._room.release()
        await asyncio.to_thread(self._thread.join)

    # In the thread

    def _run(self) -> None:
        while not self._closed:
            try:
                if self._renew:
                    self._begin_anew()
                self._read()
            except Exception:  # without this thread the node would be deaf in silence
                log.exception("%s fails, and begins anew", self._watch.name)
                self._watch.failed("its client failed")
                time.sleep(_AGAIN_SECONDS)
                self._renew = True
        self._consumer.close()
        self._watch.closed()

    def _read(self) -> None:
        first = self._consumer.poll(_POLL_SECONDS)
        if first is None:
            return
        # poll, then whatever is there: consume(n, timeout) would wait the whole timeout for n
        # messages
        messages = [first, *self._consumer.consume(MAX_BATCH - 1, 0)]
        records = [record for message in messages if (record := self._record(message)) is not None]
        if records:
            self._position.offset = records[-1].offset + 1
            self._room.acquire()
            self._in_loop(lambda: self._take(records))

    def _new(self) -> Consumer:
        consumer = Consumer(self._conf)
        consumer.assign([self._position])
        return consumer

    def _begin_anew(self) -> None:
        self._renew = False
        old, self._consumer = self._consumer, self._new()
        old.close()
        self._watch.began_anew()

    def _stuck(self, partitions: list[int]) -> None:
        log.error("%s gets nothing from brokers that answer; it begins anew", self._watch.name)
        self._renew = True

    def _record(self, message: Message) -> Record | None:
        error = message.error()
        if error is None:
            return to_record(message)
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._closed = True
            self._in_loop(lambda: self._on_lost(str(error)))
        else:
            log.debug("%s: %s", self._watch.name, error)
        return None

    def _take(self, records: list[Record]) -> None:
        self._room.release()
        if not self._closed:
            self._on_records(records)

    def _in_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop is closed
            self._closed = True


def to_record(message: Message) -> Record:
    """A confluent message without error as ours."""
    return Record(
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.value() or b"",
    )
