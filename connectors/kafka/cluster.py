"""The real Kafka cluster: makes its clients (connectors/kafka/ports.py)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connectors.dependency import Dependency
from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.client_config import NO_GROUP
from connectors.kafka.consumer import PartitionConsumer
from connectors.kafka.fetcher import Fetcher
from connectors.kafka.ports import AT_ONCE, Fetch
from connectors.kafka.reader import Reader
from connectors.kafka.record import Record
from connectors.kafka.recovering_producer import RecoveringProducer


class KafkaCluster:
    """`Kafka` at the addresses `servers`, host:port[,…]; `admin` asks for topic ids, and deletes
    records. All clients report to `dependency`."""

    def __init__(
        self, servers: str, admin: TopicsAdmin, dependency: Dependency | None = None
    ) -> None:
        self.servers = servers
        self._admin = admin
        self._dependency = dependency or Dependency("kafka")

    def producer(self, conf: Mapping[str, Any]) -> RecoveringProducer:
        return RecoveringProducer(self.servers, conf, self._dependency)

    def reader(self, timeout: float = 30.0, group: str = "") -> Reader:
        return Reader(self.servers, timeout, group or NO_GROUP)

    def fetcher(self, topic: str, fetch: Fetch = AT_ONCE) -> Fetcher:
        return Fetcher(self.servers, topic, fetch, self._dependency)

    def partition_consumer(
        self,
        topic: str,
        partition: int,
        offset: int,
        on_records: Callable[[Sequence[Record]], None],
        on_lost: Callable[[str], None],
    ) -> PartitionConsumer:
        return PartitionConsumer(
            self.servers, topic, partition, offset, on_records, on_lost, self._dependency
        )

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        self._admin.expire(topic, partition, offset)

    def topic_ids(self) -> Mapping[str, str]:
        return self._admin.ids()
