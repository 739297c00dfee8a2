"""Whether a topic in Kafka is as its file and the settings want it: pure decisions.

Two versions of the code run side by side while one replaces the other, and their files may differ.
So a process demands only what it cannot do without, and most of that by "at least": whatever the
newer version wants more of is right for the older one, too. Other differences are reported, and
stop nobody. Nothing here ever asks for less than a topic has.
"""

from collections.abc import Mapping
from typing import NamedTuple

from connectors.kafka.wanted_topics import WantedTopics
from schemas.topics import Topic

_SAME = ("cleanup.policy", "message.timestamp.type", "unclean.leader.election.enable")
"""Demanded as they are: with another value records vanish, or have no broker time."""
_AT_LEAST = ("min.insync.replicas", "max.message.bytes")
"""Demanded: fewer copies, or records that are refused."""
_AT_MOST = ("flush.messages",)
"""Demanded: a record waits for the disk behind no more than these."""
_REPORTED_AT_LEAST = ("retention.ms",)


class FoundTopic(NamedTuple):
    """A topic as Kafka has it: partition → how many replicas, and the settings in force."""

    replicas: Mapping[int, int]
    settings: Mapping[str, str]


def problems(topic: Topic, wanted: WantedTopics, found: FoundTopic | None) -> list[str]:
    """What keeps a process from starting, one line each."""
    if found is None:
        return [f"{topic.name}: missing; `messenger topics create` makes it"]
    lines = []
    if len(found.replicas) < wanted.count(topic):
        lines.append(_count(topic, wanted, found))
    replicas = wanted.copies(topic).replicas
    few = [number for number, copies in sorted(found.replicas.items()) if copies < replicas]
    if few:
        fewest = min(found.replicas.values())
        lines.append(
            f"{topic.name}: {_partitions(few)} {fewest} of {replicas} replicas; reassign them to"
            " more brokers (docs/OPERATIONS.md)"
        )
    for name, value in _demanded(topic, wanted).items():
        has = found.settings.get(name, "")
        if not _fits(name, has, value):
            lines.append(
                f"{topic.name}: {name} is {has or 'not known'}, not {value}; `messenger topics"
                " create` sets it"
            )
    return lines


def too_many(topic: Topic, wanted: WantedTopics, found: FoundTopic) -> str | None:
    """That a topic has more partitions than wanted, if it has. They do no harm once it is certain
    that `wanted` is the number that is in use: nobody writes to the others."""
    if len(found.replicas) <= wanted.count(topic):
        return None
    return _count(topic, wanted, found)


def notes(topic: Topic, wanted: WantedTopics, found: FoundTopic) -> list[str]:
    """What is otherwise than the file says, and stops nobody."""
    demanded = _demanded(topic, wanted)
    return [
        f"{topic.name}: {name} is {found.settings.get(name)}, and its file says {value}"
        for name, value in wanted.settings(topic).items()
        if found.settings.get(name) != value
        and (name not in demanded or _fits(name, found.settings.get(name, ""), value))
    ]


def changes(topic: Topic, wanted: WantedTopics, found: FoundTopic) -> dict[str, str]:
    """The settings that `messenger topics create` sets on a topic that is there: never to less, and
    never to more copies than each partition has, since with more Kafka may take nothing."""
    copies = min(found.replicas.values(), default=0)
    return {
        name: value
        for name, value in wanted.settings(topic).items()
        if name in (*_SAME, *_AT_LEAST, *_AT_MOST, *_REPORTED_AT_LEAST)
        and not _fits(name, found.settings.get(name, ""), value)
        and not (name == "min.insync.replicas" and int(value) > copies)
    }


def describe(topic: Topic, found: FoundTopic) -> str:
    """What "acknowledged" means for a topic, in one line."""
    fewest, most = min(found.replicas.values()), max(found.replicas.values())
    replicas = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    flush = "always" if found.settings.get("flush.messages") == "1" else "later"
    return (
        f"{topic.name}: {len(found.replicas)} partitions, replicas {replicas},"
        f" min.insync.replicas {found.settings.get('min.insync.replicas')}, flush {flush}"
    )


def _count(topic: Topic, wanted: WantedTopics, found: FoundTopic) -> str:
    setting = "MESSENGER_SLOTS" if topic.partitions == "slots" else "MESSENGER_PARTITIONS"
    return (
        f"{topic.name}: {len(found.replicas)} partitions, not {wanted.count(topic)}; the number can"
        f" never be changed: set {setting} to what the topics were created with"
    )


def _demanded(topic: Topic, wanted: WantedTopics) -> dict[str, str]:
    return {
        name: value
        for name, value in wanted.settings(topic).items()
        if name in (*_SAME, *_AT_LEAST, *_AT_MOST)
    }


def _fits(name: str, has: str, value: str) -> bool:
    if name in _SAME or not has:
        return has == value
    if name in _AT_MOST:
        return int(has) <= int(value)
    return _amount(has) >= _amount(value)


def _amount(value: str) -> float:
    """-1 is for ever."""
    number = int(value)
    return float("inf") if number < 0 else number


def _partitions(numbers: list[int]) -> str:
    some = ", ".join(map(str, numbers[:5])) + (" …" if len(numbers) > 5 else "")
    return f"partition {some} has" if len(numbers) == 1 else f"partitions {some} have"
