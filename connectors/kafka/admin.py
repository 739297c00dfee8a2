"""Topics in Kafka: created from schemas/topics/*.yaml, and checked against them before a process
starts. connectors/kafka/topic_rules.py says what is wrong, and what may be changed."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from connectors.kafka import topic_rules
from connectors.kafka.acls import Acl
from connectors.kafka.address import KafkaAddress
from connectors.kafka.ports import KafkaUnreachable
from connectors.kafka.topic_rules import FoundTopic
from connectors.kafka.wanted_topics import WantedTopics
from schemas.topics import Topic, all_topics

_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "cluster": ResourceType.BROKER,
}
_IDS_SOON_SECONDS, _IDS_SECONDS = 0.5, 3.0
"""Restores wait for topic ids, and so does a partition whose leader has changed. A client that does
not know the controller after a pause of Kafka, or the death of a broker, learns it with the next
question, and not before: so the first one waits for a moment only."""


class TooFewBrokers(KafkaUnreachable):
    """Kafka has not (yet) as many brokers as each record needs."""


class Checked(NamedTuple):
    """Lines: what keeps processes from starting; which topics have too many partitions, which does
    so, too, unless the log says that the number wanted is in use; what is otherwise than the files
    say and stops nobody; and what each topic is like."""

    problems: list[str]
    too_many: list[str]
    notes: list[str]
    topics: list[str]


class TopicsAdmin:
    """Topics as `wanted`, in Kafka at `servers`."""

    def __init__(self, servers: str, wanted: WantedTopics, timeout: float = 15.0) -> None:
        self._address = KafkaAddress.parse(servers)
        self._wanted = wanted
        self._timeout = timeout
        self._admin = self._connect()

    def _connect(self) -> AdminClient:
        return AdminClient(
            {
                **self._address.librdkafka(),
                "socket.connection.setup.timeout.ms": 2000,
                "reconnect.backoff.max.ms": 200,  # somebody waits for each question
                "log_level": 2,  # it would log 20 lines a second of what it raises as well
            }
        )

    def allow(self, users: Mapping[str, Iterable[Acl]]) -> None:
        """Let each user do this, from anywhere. Raises KafkaUnreachable."""
        bindings = [
            AclBinding(
                _RESOURCES[acl.kind],
                acl.name,
                ResourcePatternType.PREFIXED
                if acl.kind == "group"
                else ResourcePatternType.LITERAL,
                f"User:{user}",
                "*",
                AclOperation[acl.operation],
                AclPermissionType.ALLOW,
            )
            for user, theirs in users.items()
            for acl in theirs
        ]
        for future in self._admin.create_acls(bindings).values():
            try:
                future.result(self._timeout)
            except KafkaException as error:
                raise self._unreachable(error) from None

    def expire(self, topic: str, partition: int, before: int) -> None:
        """Delete a partition's records before an offset, as retention does. Raises
        KafkaUnreachable."""
        for deleted in self._admin.delete_records(
            [TopicPartition(topic, partition, before)]
        ).values():
            try:
                deleted.result()
            except KafkaException as error:
                raise KafkaUnreachable(f"Kafka at {self._address.servers}: {error}") from None

    def create(self) -> list[str]:
        """Create what is missing, and set what may be set of what is there. Returns a line for each
        change. Raises TooFewBrokers, KafkaUnreachable."""
        found = self._found()
        missing = [topic for topic in all_topics().values() if topic.name not in found]
        self._create(missing)
        changes = {
            topic.name: topic_rules.changes(topic, self._wanted, found[topic.name])
            for topic in all_topics().values()
            if topic.name in found
        }
        self._change({name: change for name, change in changes.items() if change})
        return [
            *(f"created {topic.name}" for topic in missing),
            *(
                f"{name}: {setting} is {value} now"
                for name, change in changes.items()
                for setting, value in change.items()
            ),
        ]

    def _create(self, missing: list[Topic]) -> None:
        wanted = [
            NewTopic(
                topic.name,
                self._wanted.count(topic),
                self._wanted.copies(topic).replicas,
                config=self._wanted.settings(topic),
            )
            for topic in missing
        ]
        if not wanted:
            return
        for future in self._admin.create_topics(wanted, operation_timeout=self._timeout).values():
            try:
                future.result()
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError.INVALID_REPLICATION_FACTOR:
                    # or a broker that listens has not joined its cluster yet
                    raise TooFewBrokers(
                        f"Kafka at {self._address.servers} has too few brokers:"
                        f" {error.args[0].str()} MESSENGER_REPLICATION says how many each record"
                        " needs (docs/OPERATIONS.md)"
                    ) from None
                if code != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else was faster
                    raise KafkaUnreachable(f"Kafka at {self._address.servers}: {error}") from None

    def _change(self, changes: Mapping[str, Mapping[str, str]]) -> None:
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                name,
                incremental_configs=[
                    ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
                    for setting, value in change.items()
                ],
            )
            for name, change in changes.items()
        ]
        if not resources:
            return
        for future in self._admin.incremental_alter_configs(resources).values():
            try:
                future.result()
            except KafkaException as error:
                raise KafkaUnreachable(f"Kafka at {self._address.servers}: {error}") from None

    def check(self) -> Checked:
        """Raises KafkaUnreachable."""
        found = self._found()
        checked = Checked([], [], [], [])
        for topic in all_topics().values():
            one = found.get(topic.name)
            checked.problems.extend(topic_rules.problems(topic, self._wanted, one))
            if one is not None:
                checked.notes.extend(topic_rules.notes(topic, self._wanted, one))
                if more := topic_rules.too_many(topic, self._wanted, one):
                    checked.too_many.append(more)
                checked.topics.append(topic_rules.describe(topic, one))
        return checked

    def ids(self) -> dict[str, str]:
        """Kafka's topic id of every topic of ours that exists, with one request. Raises
        KafkaUnreachable."""
        with contextlib.suppress(KafkaUnreachable):
            return self._ids(_IDS_SOON_SECONDS)
        return self._ids(_IDS_SECONDS)

    def _ids(self, seconds: float) -> dict[str, str]:
        found = {}
        names = TopicCollection(list(all_topics()))
        client = self._admin  # kept: one that another thread has replaced would never answer
        asked = client.describe_topics(names, request_timeout=seconds)
        for name, future in asked.items():
            try:
                found[name] = str(future.result().topic_id)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._unreachable(error) from None
        return found

    def under_replicated(self) -> list[str]:
        """The partitions of our topics that lack an in-sync replica, as TOPIC/NUMBER. Raises
        KafkaUnreachable."""
        try:
            metadata = self._admin.list_topics(timeout=self._timeout)
        except KafkaException as error:
            raise self._unreachable(error) from None
        return [
            f"{name}/{number}"
            for name in all_topics()
            if name in metadata.topics
            for number, one in metadata.topics[name].partitions.items()
            if len(one.isrs) < len(one.replicas)
        ]

    def _unreachable(self, error: KafkaException) -> KafkaUnreachable:
        self._admin = self._connect()  # this client may have forgotten the only broker
        return KafkaUnreachable(f"Kafka at {self._address.servers}: {error}")

    def _replicas(self) -> dict[str, dict[int, int]]:
        """topic → partition → how many replicas, of all that exist. Raises KafkaUnreachable."""
        try:
            metadata = self._admin.list_topics(timeout=self._timeout)
        except KafkaException as error:
            raise self._unreachable(error) from None
        return {
            name: {number: len(one.replicas) for number, one in topic.partitions.items()}
            for name, topic in metadata.topics.items()
        }

    def _found(self) -> dict[str, FoundTopic]:
        """Our topics as Kafka has them, by name. Raises KafkaUnreachable."""
        replicas = self._replicas()
        names = [name for name in all_topics() if replicas.get(name)]
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        asked = self._admin.describe_configs(resources, request_timeout=self._timeout)
        found = {}
        for resource, future in asked.items():
            try:
                settings = {name: entry.value for name, entry in future.result().items()}
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue  # another broker has told of it, and the one that is asked now not yet
                raise KafkaUnreachable(f"Kafka at {self._address.servers}: {error}") from None
            found[resource.name] = FoundTopic(replicas[resource.name], settings)
        return found
