"""Consumer of one assigned partition, handing whole fetches to the event loop."""

import asyncio
import logging
import threading
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from connectors.kafka.record import Record

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
MAX_BATCH = 500
MAX_HANDED = 8
"""Batches handed to the loop and not yet taken; then the thread waits, and librdkafka's own queue
is the bound."""
MAX_QUEUED_KIB = 4 * 1024
"""Of that queue; a batch is no more than it holds."""


class PartitionConsumer:
    """Reads `topic`/`partition` from `offset` on; each fetch goes to `on_records` in the loop, in
    order.

    `on_lost` is called in the loop, once, with a text if the position no longer exists in Kafka
    (R14: no silent jump).
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        partition: int,
        offset: int,
        on_records: Callable[[list[Record]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_records = on_records
        self._on_lost = on_lost
        self._room = threading.Semaphore(MAX_HANDED)
        self._closed = False
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "unused-assign-only",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.min.bytes": 1,
                "fetch.wait.max.ms": 500,
                "queued.max.messages.kbytes": MAX_QUEUED_KIB,
                "fetch.queue.backoff.ms": 1,
                "fetch.error.backoff.ms": 20,
                "socket.nagle.disable": True,
                "logger": logging.getLogger("rdkafka"),
                "error_cb": lambda error: log.debug("kafka consumer: %s", error),
            }
        )
        self._consumer.assign([TopicPartition(topic, partition, offset)])
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Stop reading; nothing more is handed over."""
        self._closed = True
        self._room.release()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._closed:
            first = self._consumer.poll(_POLL_SECONDS)
            if first is None:
                continue
            # poll, then whatever is there: consume(n, timeout) would wait the whole timeout for n
            # messages
            messages = [first, *self._consumer.consume(MAX_BATCH - 1, 0)]
            records = [
                record for message in messages if (record := self._record(message)) is not None
            ]
            if records:
                self._room.acquire()
                self._in_loop(lambda records=records: self._take(records))  # type: ignore[misc]
        self._consumer.close()

    def _record(self, message: Message) -> Record | None:
        error = message.error()
        if error is None:
            return to_record(message)
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._closed = True
            self._in_loop(lambda: self._on_lost(str(error)))
        else:
            log.debug("kafka consumer: %s", error)
        return None

    def _take(self, records: list[Record]) -> None:
        self._room.release()
        if not self._closed:
            self._on_records(records)

    def _in_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            self._closed = True


def to_record(message: Message) -> Record:
    """A confluent message without error as ours."""
    return Record(
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.value() or b"",
    )
