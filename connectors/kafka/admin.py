"""Topics in Kafka: created from schemas/topics/*.yaml, and checked against them before a process
starts. connectors/kafka/topic_rules.py says what is wrong, and what may be changed."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
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

T = TypeVar("T")

_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "cluster": ResourceType.BROKER,
}
_IDS_SOON_SECONDS, _IDS_SECONDS = 0.5, 3.0
"""Restores wait for topic ids, and so does a partition whose leader has changed. A client that does
not know the controller after a pause of Kafka, or the death of a broker, learns it with the next
question, and not before: so the first one waits for a moment only."""
_LATE_SECONDS = 1.0
"""librdkafka ends each request at the request's own limit. If it does not, the question ends so
long after that limit: who asks may hold the only thread of others."""


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


def answer(future: Future[T], seconds: float) -> T:
    """What Kafka says to a request with a limit of so many seconds. Raises KafkaException."""
    try:
        return future.result(seconds + _LATE_SECONDS)
    except TimeoutError:
        error = KafkaError(KafkaError._TIMED_OUT, "Kafka's client has given no answer")
        raise KafkaException(error) from None


class TopicsAdmin:
    """Topics as `wanted`, in Kafka at `servers`, which has `timeout` seconds for each answer.
    Several threads may ask.

    Each question keeps the client that it asks until it has all answers: another thread may replace
    the client, and librdkafka answers nothing more of one that nobody keeps.
    """

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
        client = self._admin
        asked = client.create_acls(bindings, request_timeout=self._timeout)
        for future in asked.values():
            try:
                answer(future, self._timeout)
            except KafkaException as error:
                raise self._unreachable(error) from None

    def expire(self, topic: str, partition: int, before: int) -> None:
        """Delete a partition's records before an offset, as retention does. Raises
        KafkaUnreachable."""
        client = self._admin
        asked = client.delete_records(
            [TopicPartition(topic, partition, before)], request_timeout=self._timeout
        )
        for future in asked.values():
            try:
                answer(future, self._timeout)
            except KafkaException as error:
                raise self._unreachable(error) from None

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
        client, seconds = self._admin, 2 * self._timeout  # it may look for the controller first
        asked = client.create_topics(
            wanted, operation_timeout=self._timeout, request_timeout=seconds
        )
        for future in asked.values():
            try:
                answer(future, seconds)
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
                    raise self._unreachable(error) from None

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
        client = self._admin
        asked = client.incremental_alter_configs(resources, request_timeout=self._timeout)
        for future in asked.values():
            try:
                answer(future, self._timeout)
            except KafkaException as error:
                raise self._unreachable(error) from None

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
        client = self._admin
        try:
            return _ids(client, _IDS_SOON_SECONDS)
        except KafkaException:
            client = self._replace(client)
        try:
            return _ids(client, _IDS_SECONDS)
        except KafkaException as error:  # the next question replaces this client, if it must
            raise self._unreachable(error) from None

    def under_replicated(self) -> list[str]:
        """The partitions of our topics that lack an in-sync replica, as TOPIC/NUMBER. Raises
        KafkaUnreachable."""
        metadata = self._metadata()
        return [
            f"{name}/{number}"
            for name in all_topics()
            if name in metadata.topics
            for number, one in metadata.topics[name].partitions.items()
            if len(one.isrs) < len(one.replicas)
        ]

    def _unreachable(self, error: KafkaException) -> KafkaUnreachable:
        return KafkaUnreachable(f"Kafka at {self._address.servers}: {error}")

    def _replace(self, failed: AdminClient) -> AdminClient:
        """The client instead of one that got no answer, and may have forgotten the only broker."""
        if self._admin is failed:
            self._admin = self._connect()
        return self._admin

    def _metadata(self) -> ClusterMetadata:
        """Raises KafkaUnreachable."""
        client = self._admin
        try:
            return client.list_topics(timeout=self._timeout)
        except KafkaException as error:
            self._replace(client)
            raise self._unreachable(error) from None

    def _replicas(self) -> dict[str, dict[int, int]]:
        """topic → partition → how many replicas, of all that exist. Raises KafkaUnreachable."""
        return {
            name: {number: len(one.replicas) for number, one in topic.partitions.items()}
            for name, topic in self._metadata().topics.items()
        }

    def _found(self) -> dict[str, FoundTopic]:
        """Our topics as Kafka has them, by name. Raises KafkaUnreachable."""
        replicas = self._replicas()
        names = [name for name in all_topics() if replicas.get(name)]
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        client = self._admin
        asked = client.describe_configs(resources, request_timeout=self._timeout)
        found = {}
        for resource, future in asked.items():
            try:
                entries = answer(future, self._timeout)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue  # another broker has told of it, and the one that is asked now not yet
                raise self._unreachable(error) from None
            settings = {name: entry.value for name, entry in entries.items()}
            found[resource.name] = FoundTopic(replicas[resource.name], settings)
        return found


def _ids(client: AdminClient, seconds: float) -> dict[str, str]:
    """Raises KafkaException."""
    found = {}
    names = TopicCollection(list(all_topics()))
    for name, future in client.describe_topics(names, request_timeout=seconds).items():
        try:
            found[name] = str(answer(future, seconds).topic_id)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    return found
