"""Topics in Kafka: created from schemas/topics/*.yaml, and checked against them before a process
starts."""

from collections.abc import Mapping

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from connectors.kafka.ports import KafkaUnreachable
from schemas.topics import Topic, all_topics

_IDS_SECONDS = 3.0
"""Restores wait for topic ids. A client that does not know the controller after a pause of Kafka
learns it with the next question, and not before."""


class TopicsWrong(Exception):
    """The topics in Kafka are not those of schemas/topics; the text lists what differs."""


class TopicsAdmin:
    """`partitions` and `slots` are the counts for conversation topics and for `deliveries`."""

    def __init__(self, servers: str, partitions: int, slots: int, timeout: float = 15.0) -> None:
        self._servers = servers
        self._counts: Mapping[str, int] = {"conversations": partitions, "slots": slots}
        self._timeout = timeout
        self._admin = self._connect()

    def _connect(self) -> AdminClient:
        return AdminClient(
            {
                "bootstrap.servers": self._servers,
                "socket.connection.setup.timeout.ms": 2000,
                "log_level": 2,  # it would log 20 lines a second of what it raises as well
            }
        )

    def expire(self, topic: str, partition: int, before: int) -> None:
        """Delete a partition's records before an offset, as retention does. Raises
        KafkaUnreachable."""
        for deleted in self._admin.delete_records(
            [TopicPartition(topic, partition, before)]
        ).values():
            try:
                deleted.result()
            except KafkaException as error:
                raise KafkaUnreachable(f"Kafka at {self._servers}: {error}") from None

    def create(self, replication: int) -> list[str]:
        """Create what is missing and return its names. Raises KafkaUnreachable."""
        existing = self._existing()
        missing = [topic for topic in all_topics().values() if topic.name not in existing]
        wanted = [
            NewTopic(
                topic.name, self._counts[topic.partitions], replication, config=topic.settings()
            )
            for topic in missing
        ]
        if wanted:
            for future in self._admin.create_topics(
                wanted, operation_timeout=self._timeout
            ).values():
                try:
                    future.result()
                except KafkaException as error:
                    if "TOPIC_ALREADY_EXISTS" not in str(error):  # somebody else was faster
                        # a broker that listens may not have joined its cluster yet, and has no
                        # replica to offer
                        raise KafkaUnreachable(f"Kafka at {self._servers}: {error}") from None
        return [topic.name for topic in missing]

    def check(self) -> list[str]:
        """What is wrong, one line each; empty when every topic is as its file says. Raises
        KafkaUnreachable."""
        try:
            return self._problems()
        except KafkaException as error:
            raise KafkaUnreachable(f"Kafka at {self._servers}: {error}") from None

    def require(self) -> None:
        """Raises TopicsWrong unless every topic is as its file says, KafkaUnreachable."""
        problems = self.check()
        if problems:
            raise TopicsWrong("\n".join(problems))

    def _problems(self) -> list[str]:
        existing = self._existing()
        problems = []
        present = []
        for topic in all_topics().values():
            count = existing.get(topic.name)
            wanted = self._counts[topic.partitions]
            if count is None:
                problems.append(f"{topic.name}: missing; `messenger topics create` makes it")
            else:
                present.append(topic)
                if count != wanted:
                    problems.append(
                        f"{topic.name}: {count} partitions, not {wanted}; the number can never be "
                        "changed"
                    )
        return problems + self._wrong_settings(present)

    def ids(self) -> dict[str, str]:
        """Kafka's topic id of every topic of ours that exists. Raises KafkaUnreachable."""
        existing = self._existing(_IDS_SECONDS)
        names = [name for name in all_topics() if name in existing]
        futures = self._admin.describe_topics(TopicCollection(names), request_timeout=_IDS_SECONDS)
        try:
            return {name: str(future.result().topic_id) for name, future in futures.items()}
        except KafkaException as error:
            raise KafkaUnreachable(f"Kafka at {self._servers}: {error}") from None

    def _existing(self, timeout: float | None = None) -> dict[str, int]:
        try:
            metadata = self._admin.list_topics(timeout=timeout or self._timeout)
        except KafkaException as error:
            self._admin = self._connect()  # this client may have forgotten the only broker
            raise KafkaUnreachable(f"Kafka at {self._servers}: {error}") from None
        return {name: len(topic.partitions) for name, topic in metadata.topics.items()}

    def _wrong_settings(self, topics: list[Topic]) -> list[str]:
        if not topics:
            return []
        resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
        found = {
            resource.name: {name: entry.value for name, entry in future.result().items()}
            for resource, future in self._admin.describe_configs(
                resources, request_timeout=self._timeout
            ).items()
        }
        return [
            f"{topic.name}: {name} is {found[topic.name].get(name)}, not {wanted}"
            for topic in topics
            for name, wanted in topic.settings().items()
            if found[topic.name].get(name) != wanted
        ]
