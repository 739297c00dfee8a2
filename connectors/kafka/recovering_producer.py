"""A producer that is replaced when it becomes unusable."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from connectors.kafka.producer import KafkaProducer, Report

log = logging.getLogger(__name__)


class RecoveringProducer:
    """Sends by one KafkaProducer at a time. After a fatal error the old one is purged (its reports
    come as errors) and a new one takes its place. Use it inside a running loop; close it.
    """

    def __init__(self, servers: str, conf: Mapping[str, Any]) -> None:
        self._servers = servers
        self._conf = conf
        self._closing: set[asyncio.Task[None]] = set()
        self.producer = self._new()

    def send(self, topic: str, partition: int, value: bytes, on_report: Report) -> None:
        """Queue one record. Raises QueueFull."""
        self.producer.send(topic, partition, value, on_report)

    async def close(self, flush_seconds: float) -> None:
        """Wait up to `flush_seconds` for what is queued, then purge the rest."""
        await asyncio.gather(self.producer.close(flush_seconds), *self._closing)

    def _new(self) -> KafkaProducer:
        return KafkaProducer(self._servers, self._conf, self._renew)

    def _renew(self, reason: str) -> None:
        log.error("producer is replaced: %s", reason)
        old, self.producer = self.producer, self._new()
        task = asyncio.create_task(old.close(0))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
