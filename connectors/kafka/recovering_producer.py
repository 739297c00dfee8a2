"""A producer that survives fatal errors of its client."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from connectors.dependency import Dependency
from connectors.kafka.ports import Report
from connectors.kafka.producer import KafkaProducer

log = logging.getLogger(__name__)


class RecoveringProducer:
    """`Producer` (connectors/kafka/ports.py). It sends by one client at a time.

    After a fatal error the old client is purged, so that its reports come as errors, and a new one
    takes its place. Use it inside a running loop; close it.
    """

    def __init__(
        self, servers: str, conf: Mapping[str, Any], dependency: Dependency | None = None
    ) -> None:
        self._servers = servers
        self._conf = conf
        self._dependency = dependency or Dependency("kafka")
        self._closing: set[asyncio.Task[None]] = set()
        self._producer = self._new()

    def send(
        self,
        topic: str,
        partition: int,
        value: bytes,
        on_report: Report | None = None,
        key: bytes | None = None,
    ) -> None:
        self._producer.send(topic, partition, value, on_report, key)

    async def send_and_wait(
        self, topic: str, partition: int, value: bytes, key: bytes | None = None
    ) -> int:
        return await self._producer.send_and_wait(topic, partition, value, key)

    def __len__(self) -> int:
        return len(self._producer)

    async def close(self, flush_seconds: float) -> None:
        await asyncio.gather(self._producer.close(flush_seconds), *self._closing)

    def _new(self) -> KafkaProducer:
        return KafkaProducer(self._servers, self._conf, self._renew, self._dependency)

    def _renew(self, reason: str) -> None:
        log.error("the Kafka producer is replaced after a fatal error: %s", reason)
        old, self._producer = self._producer, self._new()
        task = asyncio.create_task(old.close(0))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
