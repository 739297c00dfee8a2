"""The topics, one file each in schemas/topics. `messenger topics create` creates them from these
files, and every process compares Kafka with them when it starts."""

from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
import yaml

SUBMITTED = "messages.submitted"
LOG = "messages"
DELIVERIES = "deliveries"
DEAD_LETTERS = "dead-letters"
RECEIPTS = "receipts.submitted"
CURSORS = "cursors"
PRESENCE_SUBMITTED = "presence.submitted"
PRESENCE = "presence"
PEOPLE_SUBMITTED = "people.submitted"
PEOPLE = "people"
MEMBERSHIPS = "memberships"
NOTIFICATIONS = "notifications"
REVOCATIONS = "revocations"
SNAPSHOTS = "snapshots"
CHUNKS = "snapshots.chunks"


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One topic file. `partitions` names the setting that gives the partition count:
    MESSENGER_PARTITIONS for "conversations", MESSENGER_SLOTS for "slots". So many brokers keep each
    record (`replication`), and so many of them have it before it is acknowledged
    (`min_insync_replicas`). `flushed`: with MESSENGER_FLUSH=always it is on their disks by then;
    so it is with every topic whose records nobody says again."""

    name: str
    about: str
    key: str
    value: str
    version: int
    lowest_version: int
    packed: str
    partitions: Literal["conversations", "slots"]
    replication: int
    min_insync_replicas: int
    flushed: bool
    retention_ms: int
    config: dict[str, str]
    writers: list[str]
    readers: list[str]

    def settings(self) -> dict[str, str]:
        """Kafka's topic settings that do not depend on the cluster, retention included."""
        return {**self.config, "retention.ms": str(self.retention_ms)}


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C takes 5 ms at each start of a process, the other 40."""


@cache
def all_topics() -> dict[str, Topic]:
    """Every topic by name."""
    folder = files("schemas") / "topics"
    topics = [
        msgspec.convert(yaml.load(file.read_text(), _Loader), Topic)
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    ]
    return {topic.name: topic for topic in sorted(topics, key=lambda topic: topic.name)}
