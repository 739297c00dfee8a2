"""The outside world of the cursors' partitions: Kafka's receipts, cursors and deliveries, and the routes."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agents.rules.cursors import Cursor, CursorId
from connectors.kafka.producer import KafkaSendError, QueueFull
from connectors.kafka.reader import Reader
from connectors.kafka.renewed import RenewedProducer
from connectors.redis.client import RedisUnavailable
from connectors.redis.owners import Owners
from connectors.redis.routes import Routes
from schemas.codec import decode_cursor, encode_event
from schemas.events import SCHEMA_VERSION, CursorRecord
from schemas.topics import CURSORS, DELIVERIES, RECEIPTS
from streams.cursor_table import CursorTable, Header
from streams.state import RocksBudget

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_CLOSE_SECONDS = 2.0
PRODUCER = {"linger.ms": 0, "batch.size": 1024 * 1024}


class Outside:
    """Shared by all partitions of a worker. Use it inside a running loop; close it.

    `topic_ids` asks Kafka for the ids its topics have now, `address` is where gateways reach this worker.
    """

    def __init__(
        self,
        kafka: str,
        group: str,
        state_dir: Path,
        topic_ids: Callable[[], Mapping[str, str]],
        routes: Routes,
        owners: Owners,
        address: str,
        budget: RocksBudget,
    ) -> None:
        self.owners = owners
        self.address = address
        self.routes = routes
        self._kafka = kafka
        self._group = group
        self._state_dir = state_dir
        self._topic_ids = topic_ids
        self._budget = budget
        self._producer = RenewedProducer(kafka, PRODUCER)

    async def close(self) -> None:
        """Give up what is not acknowledged: its receipts are read again."""
        await self._producer.close(_CLOSE_SECONDS)

    async def restore(self, partition: int) -> tuple[CursorTable, int]:
        """The cursors of a partition as Kafka has them, and the offset in its receipts to go on from. Raises ReadTimeout,
        KafkaUnreachable, Undecodable, NewerVersion."""
        return await asyncio.to_thread(self._restore, partition)

    def _restore(self, partition: int) -> tuple[CursorTable, int]:
        topic = self._topic_ids()[CURSORS]
        folder = self._state_dir / f"cursors-{partition}"
        table = CursorTable(folder, self._budget)
        reader = Reader(self._kafka, group=self._group)
        try:
            if table.header is not None and table.header.topic != topic:
                table.close()
                CursorTable.destroy(folder)
                table = CursorTable(folder, self._budget)
            start, end = reader.watermarks(CURSORS, partition)
            first = max(start, table.header.offset if table.header else 0)
            for batch in reader.batches(CURSORS, partition, first, end):
                changed: dict[CursorId, Cursor] = {}
                for record in batch:
                    cursor = decode_cursor(record.value)
                    changed[cursor.conversation, cursor.user, cursor.device] = Cursor(cursor.seq, cursor.time)
                table.write(changed, Header(topic, batch[-1].offset + 1))
            table.write({}, Header(topic, end))
            begin, _ = reader.watermarks(RECEIPTS, partition)
            return table, max(begin, reader.committed(RECEIPTS, partition) or 0)
        except BaseException:
            table.close()
            raise
        finally:
            reader.close()

    async def claim(self, partition: int) -> None:
        """Say that this worker has the partition; returns when it is said, however long Redis is away."""
        while True:
            try:
                await self.owners.take(partition, self.address)
                return
            except RedisUnavailable as error:
                log.info("partition %d is not claimed yet: %s", partition, error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def keep(self, partition: int, changed: Mapping[CursorId, Cursor]) -> None:
        """Append cursors to their topic; returns when they are acknowledged, however long that takes."""
        records = [
            ("\0".join(cursor).encode(), encode_event(CursorRecord(SCHEMA_VERSION, *cursor, *value)))
            for cursor, value in changed.items()
        ]
        await self._until_acknowledged(CURSORS, [(partition, value, key) for key, value in records])

    async def deliver(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Send (slot, delivery record); returns when they are acknowledged, however long that takes."""
        await self._until_acknowledged(DELIVERIES, [(slot, value, None) for slot, value in records])

    async def _until_acknowledged(self, topic: str, records: Sequence[tuple[int, bytes, bytes | None]]) -> None:
        while records:
            results = await asyncio.gather(
                *(self._producer.producer.send_and_wait(topic, *record) for record in records), return_exceptions=True
            )
            failed = [record for record, result in zip(records, results, strict=True) if isinstance(result, Exception)]
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, KafkaSendError | QueueFull):
                    raise result
            if failed:
                log.warning("%d of %d records for %s were not taken; sending them again", len(failed), len(records), topic)
                await asyncio.sleep(_RETRY_SECONDS)
            records = failed

    async def reachable(self, partition: int) -> bool:
        """Whether Kafka answers."""
        return await asyncio.to_thread(self._answers, partition)

    def _answers(self, partition: int) -> bool:
        reader = Reader(self._kafka, timeout=5.0)
        try:
            reader.watermarks(RECEIPTS, partition)
        except Exception:
            return False
        finally:
            reader.close()
        return True
