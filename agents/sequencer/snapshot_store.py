"""The snapshots of one partition in Kafka, as their writer sees them."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol, TypeVar

from agents.rules.position import FoundLog
from agents.rules.snapshots import Deletable, FoundChunks, FoundSnapshot
from agents.sequencer.snapshot_reading import Place, find_chunks, find_snapshots
from connectors.kafka.ports import Kafka, KafkaSendError, KafkaUnreachable, Producer
from schemas.codec import encode_event
from schemas.events import SnapshotRecord
from schemas.topics import CHUNKS, LOG, SNAPSHOTS

T = TypeVar("T")

_READ_SECONDS = 5.0
_SEND_SECONDS = 60.0
"""A snapshot that waits longer for Kafka is given up, because it holds files of RocksDB."""


class Threads(Protocol):
    async def in_thread(self, work: Callable[[], T]) -> T:
        """What `work`, which blocks, returns."""


class SnapshotStore(Protocol):
    """What is begun and not added is nobody's snapshot. All raise trouble outside."""

    async def find(self) -> tuple[list[FoundSnapshot], FoundChunks]:
        """The usable snapshots, newest first, and the chunks that Kafka has."""

    async def add_chunk(self, value: bytes) -> int:
        """Returns its offset, once Kafka has acknowledged it."""

    async def add(self, record: SnapshotRecord) -> int:
        """From now on the snapshot counts. Returns the offset of its record, once Kafka has
        acknowledged it."""

    async def delete(self, before: Deletable) -> None:
        """Delete what nobody needs."""


class KafkaSnapshots:
    """`SnapshotStore` of one partition."""

    def __init__(self, kafka: Kafka, producer: Producer, place: Place, threads: Threads) -> None:
        self._kafka = kafka
        self._producer = producer
        self._place = place
        self._partition = place.partition
        self._threads = threads

    async def find(self) -> tuple[list[FoundSnapshot], FoundChunks]:
        return await self._threads.in_thread(self._find)

    async def add_chunk(self, value: bytes) -> int:
        return await self._send(CHUNKS, value)

    async def add(self, record: SnapshotRecord) -> int:
        return await self._send(SNAPSHOTS, encode_event(record))

    async def delete(self, before: Deletable) -> None:
        def delete() -> None:
            self._kafka.delete_before(SNAPSHOTS, self._partition, before.records)
            self._kafka.delete_before(CHUNKS, self._partition, before.chunks)

        await self._threads.in_thread(delete)

    def _find(self) -> tuple[list[FoundSnapshot], FoundChunks]:
        topic_ids = self._kafka.topic_ids()
        if LOG not in topic_ids or CHUNKS not in topic_ids:
            raise KafkaUnreachable(f"there is no topic {LOG} or {CHUNKS} now")
        with contextlib.closing(self._kafka.reader(_READ_SECONDS)) as reader:
            chunks = find_chunks(reader, self._partition, topic_ids[CHUNKS])
            start, end = reader.watermarks(LOG, self._partition)
            found = FoundLog(topic_ids[LOG], start, end, None)
            return find_snapshots(reader, self._place, found, chunks)[0], chunks

    async def _send(self, topic: str, value: bytes) -> int:
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                return await self._producer.send_and_wait(topic, self._partition, value)
        except TimeoutError:
            raise KafkaSendError(
                f"{topic}/{self._partition} has acknowledged nothing for {_SEND_SECONDS:.0f} s"
            ) from None
