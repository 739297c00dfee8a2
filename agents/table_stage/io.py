"""The outside world of a folding stage: Kafka, the claims, and the routes."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from agents.claims import claim
from connectors.kafka.ports import KafkaSendError, QueueFull
from connectors.kafka.reader import Reader
from connectors.kafka.recovering_producer import RecoveringProducer
from connectors.redis.client import RedisUnavailable
from connectors.redis.owners import Owners
from connectors.redis.routes import Routes
from schemas.topics import DELIVERIES

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_CLOSE_SECONDS = 2.0
_FIRST_RETRY, _LAST_RETRY = 0.05, 1.0
PRODUCER = {"linger.ms": 0, "batch.size": 1024 * 1024}

Keyed = tuple[int, bytes, bytes | None]
"""(partition, value, key) of a record."""


class TableStageIO:
    """Shared by all partitions of a worker. Use it inside a running loop; close it.

    `topic_ids` asks Kafka for the ids its topics have now, `address` is where gateways reach this
    worker.
    """

    def __init__(
        self,
        kafka: str,
        group: str,
        topic_ids: Callable[[], Mapping[str, str]],
        routes: Routes,
        owners: Owners,
        address: str,
    ) -> None:
        self.owners = owners
        self.address = address
        self.routes = routes
        self.topic_ids = topic_ids
        self._kafka = kafka
        self._group = group
        self._producer = RecoveringProducer(kafka, PRODUCER)

    async def close(self) -> None:
        """Give up what is not acknowledged: its facts are read again."""
        await self._producer.close(_CLOSE_SECONDS)

    def reader(self) -> Reader:
        """A reader of the stage's group, for a thread; close it."""
        return Reader(self._kafka, group=self._group)

    async def claim(self, partition: int) -> None:
        """Say that this worker has the partition; returns when it is said, however long Redis is
        away."""
        await claim(self.owners, partition, self.address)

    async def lookup(
        self, users: Sequence[str], waiting: Callable[[bool], None]
    ) -> Mapping[str, Sequence[tuple[str, int]]]:
        """Routes of users, however long Redis is away; `waiting` is told."""
        delay = _FIRST_RETRY
        while True:
            try:
                routes = await self.routes.lookup(users)
            except RedisUnavailable as error:
                if delay == _FIRST_RETRY:
                    log.warning("devices are told later: %s", error)
                waiting(True)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY)
            else:
                waiting(False)
                return routes

    async def keep(self, topic: str, records: Sequence[Keyed]) -> None:
        """Append records; returns when they are acknowledged, however long that takes."""
        while records:
            results = await asyncio.gather(
                *(self._producer.send_and_wait(topic, *record) for record in records),
                return_exceptions=True,
            )
            failed = [
                record
                for record, result in zip(records, results, strict=True)
                if isinstance(result, Exception)
            ]
            for result in results:
                if isinstance(result, BaseException) and not isinstance(
                    result, KafkaSendError | QueueFull
                ):
                    raise result
            if failed:
                log.warning(
                    "%d of %d records for %s were not taken; sending them again",
                    len(failed),
                    len(records),
                    topic,
                )
                await asyncio.sleep(_RETRY_SECONDS)
            records = failed

    async def deliver(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Send (slot, delivery record); returns when they are acknowledged, however long that
        takes."""
        await self.keep(DELIVERIES, [(slot, value, None) for slot, value in records])

    async def reachable(self, topic: str, partition: int) -> bool:
        """Whether Kafka answers."""
        return await asyncio.to_thread(self._answers, topic, partition)

    def _answers(self, topic: str, partition: int) -> bool:
        reader = Reader(self._kafka, timeout=5.0)
        try:
            reader.watermarks(topic, partition)
        except Exception:
            return False
        finally:
            reader.close()
        return True
