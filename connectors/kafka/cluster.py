"""The real Kafka cluster: makes its clients (connectors/kafka/ports.py)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.consumer import PartitionConsumer
from connectors.kafka.fetcher import Fetcher
from connectors.kafka.reader import Reader
from connectors.kafka.record import Record
from connectors.kafka.recovering_producer import RecoveringProducer


class KafkaCluster:
    """`Kafka` at the addresses `servers`, host:port[,…]; `admin` asks for topic ids."""

    def __init__(self, servers: str, admin: TopicsAdmin) -> None:
        self.servers = servers
        self._admin = admin

    def producer(self, conf: Mapping[str, Any]) -> RecoveringProducer:
        return RecoveringProducer(self.servers, conf)

    def reader(self, timeout: float = 30.0, group: str = "") -> Reader:
        return Reader(self.servers, timeout, group or "unused-assign-only")

    def fetcher(self, topic: str, fetch_bytes: int = 1) -> Fetcher:
        return Fetcher(self.servers, topic, fetch_bytes)

    def partition_consumer(
        self,
        topic: str,
        partition: int,
        offset: int,
        on_records: Callable[[Sequence[Record]], None],
        on_lost: Callable[[str], None],
    ) -> PartitionConsumer:
        return PartitionConsumer(self.servers, topic, partition, offset, on_records, on_lost)

    def topic_ids(self) -> Mapping[str, str]:
        return self._admin.ids()
