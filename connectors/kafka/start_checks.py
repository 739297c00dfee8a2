"""What every process looks at in Kafka before it starts."""

import contextlib
import time
from collections.abc import Callable, Sequence

from connectors.kafka.admin import Checked, TopicsAdmin
from connectors.kafka.numbering import LogDiffers, require_partitions
from connectors.kafka.ports import KafkaUnreachable
from connectors.kafka.reader import Reader
from connectors.kafka.wanted_topics import WantedTopics, one_copy

_SECONDS = 3.0
"""For a partition of the log."""
_SETTLE_SECONDS = 10.0
_AGAIN_SECONDS = 0.05
_SAID = 3
"""Problems that one line names."""


class TopicsWrong(Exception):
    """The topics in Kafka are not as they must be; the text says in one line what differs."""


def check_topics(servers: str, wanted: WantedTopics, timeout: float = 15.0) -> Checked:
    """What is wrong with the topics, and with the number of partitions that the log was made for.
    Raises KafkaUnreachable."""
    checked = TopicsAdmin(servers, wanted, timeout).check()
    if checked.problems:
        return checked
    with contextlib.closing(Reader(servers, _SECONDS)) as reader:
        try:
            certain = ask_until(
                lambda: require_partitions(reader, wanted.partitions), _SETTLE_SECONDS
            )
        except LogDiffers as error:
            return checked._replace(problems=[str(error)])
    if certain:
        return checked._replace(notes=[*checked.notes, *map(_harmless, checked.too_many)])
    return checked._replace(problems=checked.too_many)


def ask_until(ask: Callable[[], bool], seconds: float) -> bool:
    """Its answer. While nobody answers, ask again for so many seconds: a partition that was created
    a moment ago, or whose broker has just come back, has no leader yet, and says so at once. Raises
    KafkaUnreachable."""
    until = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except KafkaUnreachable:
            if time.monotonic() >= until:
                raise
        time.sleep(_AGAIN_SECONDS)


def require_topics(servers: str, wanted: WantedTopics, wait: float = 0.0) -> Sequence[str]:
    """What to say loudly once the process runs: that there is one copy of each record, and what is
    otherwise than the files say and stops nobody. Raises TopicsWrong if anything does,
    KafkaUnreachable. Up to `wait` seconds it waits until neither is so: who starts together with
    Kafka is early."""
    checked = _patiently(servers, wanted, time.monotonic() + wait)
    if checked.problems:
        said = "; ".join(checked.problems[:_SAID])
        more = len(checked.problems) - _SAID
        raise TopicsWrong(
            f"the topics are not as they must be: {said}"
            + (f"; and {more} more, which `messenger topics check` lists" if more > 0 else "")
        )
    loud = one_copy(wanted)
    return [*([loud] if loud else ()), *checked.notes]


def _patiently(servers: str, wanted: WantedTopics, until: float) -> Checked:
    while True:
        try:
            checked = check_topics(servers, wanted)
            if not checked.problems or time.monotonic() >= until:
                return checked
        except KafkaUnreachable:
            if time.monotonic() >= until:
                raise
        time.sleep(_AGAIN_SECONDS)


def _harmless(too_many: str) -> str:
    said, _, _ = too_many.partition(";")
    return f"{said}; nobody uses the others"
