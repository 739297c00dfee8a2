"""What a consumer's librdkafka says of itself once a second: whether the brokers answer, and which
partitions it does not get."""

import itertools
import logging
import time
from collections.abc import Callable, Mapping

import msgspec
from confluent_kafka import KafkaError

from connectors.dependency import Dependency

log = logging.getLogger(__name__)

SILENT_SECONDS = 3.0
"""A broker that owes an answer for so long, or that cannot be connected to for so long, is away."""
STUCK_SECONDS = 5.0
"""A partition without a fetch for so long, from brokers that answer, is stuck."""
UNLED_SECONDS = 10.0
"""So is a client that knows a broker and, for so long, no leader of any of its partitions: others
lead within seconds, and it may have missed that. So is one that has forgotten all brokers."""
_UNLED = "no broker leads its partitions"
_FORGOTTEN = "it knows no broker any more"
_BEGIN_ANEW = (_UNLED, _FORGOTTEN)

_UP = ("UP", "UPDATE")
_names = itertools.count()


class Broker(msgspec.Struct):
    """`rxidle` is in microseconds since anything was received, -1 before that. A "logical" `source`
    is no broker: it stands for the one that coordinates a group."""

    name: str
    nodeid: int
    state: str
    source: str = ""
    waitresp_cnt: int = 0
    outbuf_cnt: int = 0
    rxidle: int = -1
    toppars: dict[str, msgspec.Raw] = {}


class Partition(msgspec.Struct):
    """`hi_offset` is negative until a fetch has been answered, `leader` while there is none."""

    partition: int
    leader: int = -1
    fetch_state: str = "none"
    hi_offset: int = -1


class Topic(msgspec.Struct):
    partitions: dict[str, Partition] = {}


class Statistics(msgspec.Struct):
    """Of librdkafka (STATISTICS.md), what is used here."""

    brokers: dict[str, Broker] = {}
    topics: dict[str, Topic] = {}

    def forgotten(self) -> bool:
        """The client knows no broker any more. It comes to that when the only broker, as it wakes
        up, answers that there is none. A producer begins with its first addresses again; a consumer
        asks nobody any more (issue 5301 of librdkafka)."""
        return all(broker.source == "logical" for broker in self.brokers.values())

    def fetched(self) -> list[Partition]:
        """The partitions that the consumer is assigned."""
        return [
            partition
            for topic in self.topics.values()
            for partition in topic.partitions.values()
            if partition.partition >= 0 and partition.fetch_state not in ("none", "stopped")
        ]


_decode = msgspec.json.Decoder(Statistics).decode


class ClientWatch:
    """Watches one consumer, called `name` in the log. `clock` is in seconds.

    `stuck` is called while the client is polled, with the partitions that have had no fetch for
    STUCK_SECONDS although the brokers answer, or UNLED_SECONDS without any leader or broker.
    """

    def __init__(
        self,
        name: str,
        dependency: Dependency,
        stuck: Callable[[list[int]], None] = lambda partitions: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._key = f"{name} {next(_names)}"
        self._dependency = dependency
        self._stuck = stuck
        self._clock = clock
        self._error = ""
        self._away_since: float | None = None
        self._stuck_since: dict[int, float] = {}

    def error(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`."""
        self._error = str(error.str())
        log.debug("%s: %s", self.name, error)

    def statistics(self, text: str) -> None:
        """librdkafka's `stats_cb`. Whatever is in it, polling goes on."""
        try:
            self.look(_decode(text))
        except msgspec.DecodeError as error:
            log.error("%s: statistics that cannot be read: %s", self.name, error)

    def look(self, statistics: Statistics) -> None:
        """Once a second."""
        now = self._clock()
        why = away(statistics)
        if why is None:
            self._away_since = None
            self._dependency.succeeded(self._key)
        else:
            if self._away_since is None:
                self._away_since = now
            if now - self._away_since >= SILENT_SECONDS - 1 or "has not answered" in why:
                self.failed(why)
        self._look_for_stuck(statistics, now, why)

    def failed(self, why: str) -> None:
        """The client cannot reach its brokers."""
        error = f" ({self._error})" if self._error else ""
        self._dependency.failed(f"{self.name}: {why}{error}", self._key)

    def closed(self) -> None:
        """The client is closed."""
        self._dependency.succeeded(self._key)

    def began_anew(self) -> None:
        """Another client has replaced it, and has as long again."""
        self._stuck_since.clear()

    def _look_for_stuck(self, statistics: Statistics, now: float, why: str | None) -> None:
        """`why` its brokers are away, if they are."""
        unled = why in _BEGIN_ANEW
        waiting = {
            partition.partition
            for partition in statistics.fetched()
            if unled
            or (
                partition.leader >= 0
                and (partition.fetch_state != "active" or partition.hi_offset < 0)
            )
        }
        self._stuck_since = {
            partition: self._stuck_since.get(partition, now) if unled or why is None else now
            for partition in waiting
        }
        patience = UNLED_SECONDS if unled else STUCK_SECONDS
        stuck = [p for p, since in self._stuck_since.items() if now - since >= patience]
        if stuck:
            self._stuck(stuck)


def away(statistics: Statistics) -> str | None:
    """Why the brokers that a consumer needs do not answer, or None. A consumer without partitions
    needs none."""
    if not statistics.fetched():
        return None
    if statistics.forgotten():
        return _FORGOTTEN
    brokers: Mapping[str, Broker] = statistics.brokers
    known = [broker for broker in brokers.values() if broker.nodeid >= 0]
    needed = [broker for broker in known if broker.toppars]
    if not needed and any(broker.state in _UP for broker in brokers.values()):
        return _UNLED
    for broker in needed or brokers.values():
        if broker.state not in _UP:
            return f"{broker.name} cannot be connected to"
        if broker.waitresp_cnt and broker.rxidle > SILENT_SECONDS * 1_000_000:
            return f"{broker.name} has not answered for {broker.rxidle / 1_000_000:.0f} s"
    return None
