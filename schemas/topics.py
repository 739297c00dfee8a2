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
MEMBERSHIPS = "memberships"


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One topic file. `partitions` names the setting that gives the partition count:
    MESSENGER_PARTITIONS for "conversations", MESSENGER_SLOTS for "slots"."""

    name: str
    about: str
    key: str
    value: str
    version: int
    lowest_version: int
    packed: str
    partitions: Literal["conversations", "slots"]
    retention_ms: int
    config: dict[str, str]
    writers: list[str]
    readers: list[str]

    def settings(self) -> dict[str, str]:
        """Kafka's topic settings, retention included."""
        return {**self.config, "retention.ms": str(self.retention_ms)}


@cache
def all_topics() -> dict[str, Topic]:
    """Every topic by name."""
    folder = files("schemas") / "topics"
    topics = [
        msgspec.convert(yaml.safe_load(file.read_text()), Topic)
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    ]
    return {topic.name: topic for topic in sorted(topics, key=lambda topic: topic.name)}
