"""What each role may do in Kafka, by the writers and readers that schemas/topics names."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from schemas.topics import LOG, all_topics

STAGES = (
    *("sequencer", "cursors", "presence", "memberships", "people"),
    *("archiver", "notifier", "webhook"),
)
"""Roles that keep a group, which begins with the stage's name."""
ROLES = (*STAGES, "gateway", "audit", "ops")
_TRIMS = {"sequencer": ("snapshots", "snapshots.chunks")}
"""Topics of which a role deletes old records."""


class Acl(NamedTuple):
    """One operation of Kafka's on a topic, or on the groups whose names begin so."""

    kind: Literal["topic", "group", "cluster"]
    name: str
    operation: str


def acls(roles: Iterable[str]) -> list[Acl]:
    """What a process that plays these roles needs. Every process looks at all topics when it
    starts, and reads from the log for how many partitions it was made."""
    roles = set(roles)
    needed = {Acl("topic", LOG, "READ")}
    for topic in all_topics().values():
        needed |= {Acl("topic", topic.name, word) for word in ("DESCRIBE", "DESCRIBE_CONFIGS")}
        if roles & set(topic.readers):
            needed.add(Acl("topic", topic.name, "READ"))
        if roles & set(topic.writers):
            needed.add(Acl("topic", topic.name, "WRITE"))
    for role in roles:
        needed |= {Acl("topic", name, "DELETE") for name in _TRIMS.get(role, ())}
        needed |= {Acl("group", role, "READ")} if role in STAGES else set()
    if not any(acl.operation == "WRITE" for acl in needed):
        # a producer without a topic of its own must be allowed to be one: each worker makes one
        needed.add(Acl("cluster", "kafka-cluster", "IDEMPOTENT_WRITE"))
    return sorted(needed)
