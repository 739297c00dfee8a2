"""Topics as files: schemas/topics/*.yaml is what they are created from and checked against at
start."""

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


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One topic file. `partitions` names the count it uses: that of conversations or that of
    gateway slots."""

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
    """Every topic of the project by name."""
    folder = files("schemas") / "topics"
    topics = [
        msgspec.convert(yaml.safe_load(file.read_text()), Topic)
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    ]
    return {topic.name: topic for topic in sorted(topics, key=lambda topic: topic.name)}
