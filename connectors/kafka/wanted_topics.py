"""Which topics a process demands of Kafka, by its settings: how many partitions, how many copies of
each record, and whether the disk has a record before it is acknowledged."""

from typing import Annotated, Literal, NamedTuple, Protocol

from msgspec import Meta

from connectors.environment import SettingsError
from schemas.topics import Topic

Replication = Annotated[int, Meta(ge=1, le=9)]
Flush = Literal["always", "later"]


class TopicSettings(Protocol):
    """The settings that every process has which creates topics or checks them."""

    @property
    def partitions(self) -> int:
        """MESSENGER_PARTITIONS."""

    @property
    def slots(self) -> int:
        """MESSENGER_SLOTS."""

    @property
    def replication(self) -> int | None:
        """MESSENGER_REPLICATION. None: what the topic files say, or 1 in local mode."""

    @property
    def flush(self) -> Flush:
        """MESSENGER_FLUSH."""

    @property
    def local(self) -> bool:
        """MESSENGER_LOCAL."""


class Copies(NamedTuple):
    """Brokers that keep each record, and how many of them must have it before it is
    acknowledged."""

    replicas: int
    insync: int


class WantedTopics(NamedTuple):
    """`partitions` and `slots` are the counts for conversation topics and for `deliveries`.
    `replication` None: as many replicas as each topic file says. `flush`: a broker acknowledges a
    record after it is on its disk."""

    partitions: int
    slots: int
    replication: int | None = None
    flush: bool = False

    def count(self, topic: Topic) -> int:
        """How many partitions a topic has."""
        return self.slots if topic.partitions == "slots" else self.partitions

    def copies(self, topic: Topic) -> Copies:
        replicas = self.replication or topic.replication
        return Copies(replicas, min(topic.min_insync_replicas, replicas))

    def settings(self, topic: Topic) -> dict[str, str]:
        """Kafka's topic settings."""
        flushed = {"flush.messages": "1"} if self.flush and topic.flushed else {}
        return {
            **topic.settings(),
            "min.insync.replicas": str(self.copies(topic).insync),
            "unclean.leader.election.enable": "false",
            **flushed,
        }


def wanted_topics(settings: TopicSettings) -> WantedTopics:
    """Raises SettingsError if the settings ask for one copy, and nothing says that this is
    meant."""
    flush, replication = settings.flush == "always", settings.replication
    if replication is None and settings.local:
        replication = 1
    if replication == 1 and not settings.local and not flush:
        raise SettingsError(
            "MESSENGER_REPLICATION: 1 keeps each record on one broker only; set it to 3, or"
            " MESSENGER_FLUSH=always if there is one broker and its disk is enough, or"
            " MESSENGER_LOCAL=1 to try things out"
        )
    return WantedTopics(settings.partitions, settings.slots, replication, flush)


def one_copy(wanted: WantedTopics) -> str | None:
    """What a process says loudly when it starts on one copy of each record."""
    if wanted.replication != 1:
        return None
    loses = "its disk" if wanted.flush else "its disk, or its power,"
    return (
        f"ONE COPY: Kafka keeps each record on one broker only (MESSENGER_REPLICATION=1). If that"
        f" broker loses {loses} acknowledged messages are lost. Three brokers, and"
        " MESSENGER_REPLICATION=3, keep them"
    )
