"""Kafka, as the archiver sees it beside the records that Faust brings."""

import asyncio
from collections.abc import Callable, Mapping

from agents.rules.archive import Start, start_at
from connectors.kafka.ports import ReadTimeout
from connectors.kafka.reader import Reader
from schemas.topics import SUBMITTED


class KafkaSource:
    """`topic_id` is that of `topic` at the start; `topic_ids` asks Kafka for the ids its topics
    have now."""

    def __init__(
        self,
        kafka: str,
        group: str,
        topic: str,
        topic_id: str,
        topic_ids: Callable[[], Mapping[str, str]],
    ) -> None:
        self.topic_id = topic_id
        self._topic = topic
        self._kafka = kafka
        self._group = group
        self._topic_ids = topic_ids

    async def start(self, partition: int) -> Start:
        """Where the group goes on in a partition. Raises ReadTimeout."""
        return await asyncio.to_thread(self._start, partition)

    async def numbering(self) -> str:
        """Raises KafkaUnreachable."""
        return (await self.ids())[SUBMITTED]

    async def ids(self) -> Mapping[str, str]:
        """Raises KafkaUnreachable."""
        return await asyncio.to_thread(self._topic_ids)

    async def reachable(self) -> bool:
        """Whether Kafka answers."""
        try:
            await asyncio.to_thread(self._watermarks)
        except ReadTimeout:
            return False
        return True

    def _start(self, partition: int) -> Start:
        reader = Reader(self._kafka, timeout=5.0, group=self._group)
        try:
            return start_at(
                reader.committed(self._topic, partition), *reader.watermarks(self._topic, partition)
            )
        finally:
            reader.close()

    def _watermarks(self) -> None:
        reader = Reader(self._kafka, timeout=5.0)
        try:
            reader.watermarks(self._topic, 0)
        finally:
            reader.close()
