"""Consumer of one assigned partition, which hands whole fetches to its user."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, Message, TopicPartition

from connectors.dependency import Dependency
from connectors.kafka.healing_consumer import HealingConsumer
from connectors.kafka.record import Record

log = logging.getLogger(__name__)

_FETCH_WAIT_MS = 2000
"""How long Kafka keeps a request to which it has nothing to answer: below SILENT_SECONDS of
client_watch.py. Its one partition is never sought, so nothing waits for the answer."""


class PartitionConsumer:
    """Reads `topic`/`partition` from `offset` on. Each fetch goes to `on_records` in the loop, in
    order, two in a turn at most.

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
        self._on_records = on_records
        self._on_lost = on_lost
        self._lost = False
        self._position = TopicPartition(topic, partition, offset)
        self._consumer = HealingConsumer(
            servers,
            f"the consumer of {topic}/{partition}",
            {"fetch.wait.max.ms": _FETCH_WAIT_MS},
            lambda: [self._position],
            self._take,
            lambda: not self._lost,
            dependency,
        )

    async def close(self) -> None:
        """Stop reading; nothing more is handed over."""
        await self._consumer.close()

    def _take(self, messages: Sequence[Message]) -> None:
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(to_record(message))
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                self._lost = True
                asyncio.get_running_loop().call_soon(self._on_lost, str(error))
                break
            else:
                log.debug("%s: %s", self._consumer.name, error)
        if records:
            self._position.offset = records[-1].offset + 1
            self._on_records(records)


def to_record(message: Message) -> Record:
    """A confluent message without error as ours."""
    epoch = message.leader_epoch()
    return Record(
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.value() or b"",
        -1 if epoch is None else epoch,
    )
