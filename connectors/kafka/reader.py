"""Reading a partition by offset: recovery, re-delivery, the judge. Blocking; run it in a thread."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from connectors.kafka import client_config
from connectors.kafka.consumer import to_record
from connectors.kafka.ports import OffsetGone, Place, ReadTimeout
from connectors.kafka.record import Record

_BATCH = 500
MAX_QUEUED_KIB = 8 * 1024
"""What waits in librdkafka. A batch is no more than that and a fetch, whatever size records have:
chunks of snapshots have 256 KiB, and several partitions are restored at once."""
_ANSWER_SECONDS = client_config.ANSWER_MS / 1000
"""A question that waits longer waits for a broker that is gone. The next client asks another."""


class Reader:
    """Reads ranges of partitions, and what `group` has committed. One thread at a time; close
    it."""

    def __init__(
        self, servers: str, timeout: float = 30.0, group: str = client_config.NO_GROUP
    ) -> None:
        self._timeout = timeout
        self._ask_timeout = min(timeout, _ANSWER_SECONDS)
        self._consumer = Consumer(
            client_config.consumer(
                servers,
                None,
                # the next read of another partition waits for the last fetch
                {
                    "group.id": group,
                    "fetch.wait.max.ms": 10,
                    "queued.max.messages.kbytes": MAX_QUEUED_KIB,
                },
            )
        )

    def close(self) -> None:
        """Returns at once. librdkafka's close may wait for minutes for a broker that has died, and
        whoever closes has other questions to ask, or holds a partition."""
        threading.Thread(target=self._consumer.close, name="closes a reader", daemon=True).start()

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        """(first offset, offset after the last) of a partition. Raises ReadTimeout."""
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=self._ask_timeout
            )
        except KafkaException as error:
            raise ReadTimeout(f"{topic}/{partition}: {error}") from None
        return low, high

    def all_watermarks(
        self, topic: str, partitions: Collection[int], seconds: float
    ) -> Mapping[int, tuple[int, int]]:
        """partition → the same, with two requests for all. Raises ReadTimeout if one of them does
        not answer within `seconds`."""
        places = [(topic, partition) for partition in partitions]
        starts = self.all_starts(places, seconds / 2)
        ends = self.all_ends(places, seconds / 2)
        return {place[1]: (starts[place], ends[place]) for place in places}

    def all_starts(self, places: Collection[Place], seconds: float) -> Mapping[Place, int]:
        """place → the first offset, with one request a broker. Raises ReadTimeout if one is not
        answered within `seconds`."""
        return self._offsets(places, OFFSET_BEGINNING, seconds)

    def all_ends(self, places: Collection[Place], seconds: float) -> Mapping[Place, int]:
        """place → the offset after the last, likewise."""
        return self._offsets(places, OFFSET_END, seconds)

    def _offsets(self, places: Collection[Place], at: int, seconds: float) -> dict[Place, int]:
        """By Kafka's request for the offset at a time, in which -2 and -1 stand for the first
        offset and the one after the last: librdkafka passes them on."""
        asked = [TopicPartition(topic, partition, at) for topic, partition in places]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=seconds)
        except KafkaException as error:
            raise ReadTimeout(f"{asked[0].topic} and others: {error}") from None
        for one in found:
            if one.error is not None or one.offset < 0:
                raise ReadTimeout(f"{one.topic}/{one.partition}: {one.error}")
        return {(one.topic, one.partition): one.offset for one in found}

    def committed(self, topic: str, partition: int) -> int | None:
        """The offset the group has committed, None if it has none. Raises ReadTimeout."""
        try:
            found = self._consumer.committed(
                [TopicPartition(topic, partition)], timeout=self._ask_timeout
            )[0]
        except KafkaException as error:
            raise ReadTimeout(f"{topic}/{partition}: {error}") from None
        return found.offset if found.offset is not None and found.offset >= 0 else None

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Records start..end-1 in order. Raises OffsetGone if `start` does not exist, ReadTimeout
        if nothing comes."""
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
        """The same by fetches; ends early, with nothing more, once `stopped()`."""
        if start >= end:
            return
        self._consumer.assign([TopicPartition(topic, partition, start)])
        last_progress = time.monotonic()
        while start < end and not stopped():
            first = self._consumer.poll(0.2)
            messages = [] if first is None else [first, *self._consumer.consume(_BATCH, 0)]
            batch = []
            for message in messages:
                error = message.error()
                if error is None:
                    if start <= (message.offset() or 0) < end:
                        batch.append(to_record(message))
                elif error.code() in (
                    KafkaError._AUTO_OFFSET_RESET,
                    KafkaError.OFFSET_OUT_OF_RANGE,
                ):
                    raise OffsetGone(f"{topic}/{partition}: offset {start}: {error}")
            if batch:
                start = batch[-1].offset + 1
                last_progress = time.monotonic()
                yield batch
                last_progress = time.monotonic()
            elif time.monotonic() - last_progress > self._timeout:
                raise ReadTimeout(
                    f"{topic}/{partition}: nothing at offset {start} for {self._timeout:.0f} s"
                )
        self._consumer.unassign()
