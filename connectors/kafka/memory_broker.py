"""A Kafka broker in memory: logs, committed offsets, and what can happen to them.

It knows nothing of processes: the clients (connectors/kafka/memory.py) are how a process sees it.
"""

import random
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from connectors.kafka.record import Record

_FIRST_LATENCY, _LAST_LATENCY = 0.0003, 0.003
_SLOW, _SLOW_SECONDS = 0.01, 0.3


class _Entry(NamedTuple):
    key: bytes | None
    record: Record


class PartitionLog:
    """One partition: offsets `start`..`end`-1, of which compaction leaves some out."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.start = 0
        self.end = 0
        self.cuts = 0
        """How often it has lost its tail."""
        self.epoch = 0
        """Of its leader. A new leader loses records and answers that were on their way."""
        self.leader = True
        """Whether a broker leads it now; without one it is neither read nor written."""
        self.enough = True
        """Whether enough brokers have it; without them it is read and not written."""
        self.waiting: dict[Callable[[], None], None] = {}
        """Called when it has grown, was changed, or may be read or written again; ordered."""
        self._entries: list[_Entry] = []

    @property
    def writable(self) -> bool:
        """Whether records are taken now."""
        return self.leader and self.enough

    def append(self, timestamp: int, value: bytes, key: bytes | None) -> int:
        """Returns the new record's offset."""
        offset = self.end
        self._entries.append(_Entry(key, Record(self.number, offset, timestamp, value, self.epoch)))
        self.end += 1
        return offset

    def read(self, start: int, end: int, most: int = 1_000_000) -> list[Record]:
        """At most `most` records of start..end-1, in order."""
        entries = self._entries
        first = bisect_left(entries, start, key=lambda entry: entry.record.offset)
        found = entries[first : first + most]
        return [entry.record for entry in found if entry.record.offset < end]

    def replace(self, record: Record) -> None:
        """The record at this offset is another one now, as after damage to a disk."""
        place = bisect_left(self._entries, record.offset, key=lambda entry: entry.record.offset)
        self._entries[place] = self._entries[place]._replace(record=record)

    def expire(self, before: int) -> None:
        self.start = min(max(self.start, before), self.end)
        self._entries = [entry for entry in self._entries if entry.record.offset >= self.start]

    def cut(self, records: int) -> None:
        """A leader comes that lacks the last records; it gives their offsets again."""
        self.cuts += 1
        self.epoch += 1
        self.end = max(self.start, self.end - records)
        self._entries = [entry for entry in self._entries if entry.record.offset < self.end]

    def compact(self) -> None:
        """Of each key the last record stays, unless it is a tombstone; the very last one stays."""
        last = {entry.key: entry.record.offset for entry in self._entries}
        self._entries = [
            entry
            for entry in self._entries
            if entry.key is None
            or entry.record.offset == self.end - 1
            or (last[entry.key] == entry.record.offset and entry.record.value)
        ]

    def poke(self) -> None:
        for changed in list(self.waiting):
            changed()


def wall_clock() -> int:
    """ms since 1970."""
    return time.time_ns() // 1_000_000


class BrokerWatch(Protocol):
    """Sees every record of every producer, in the producer's process."""

    def sent(self, topic: str, partition: int, value: bytes) -> None:
        """A process has given the record to its producer."""

    def landed(self, topic: str, partition: int, offset: int, value: bytes) -> None:
        """The record is in the log."""


class MemoryBroker:
    """`topics` is name → number of partitions; `now` is the broker's clock in ms. Without `chance`
    nothing takes time; with it every step takes its own, seldom a third of a second.

    `spend` is told how many seconds blocking work would have taken.
    """

    def __init__(
        self,
        topics: Mapping[str, int],
        now: Callable[[], int] = wall_clock,
        chance: random.Random | None = None,
        spend: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.up = True
        """Whether it answers at all."""
        self.now = now
        self.spend = spend
        self.record_watch: BrokerWatch | None = None
        self.clients: dict[Callable[[], None], None] = {}
        """Called when it answers again; ordered."""
        self._counts = dict(topics)
        self._chance = chance
        self._created = 0
        self._ids: dict[str, str] = {}
        self._logs: dict[tuple[str, int], PartitionLog] = {}
        self._committed: dict[str, dict[tuple[str, int], int]] = {}
        for topic in topics:
            self._create(topic)

    def _create(self, topic: str) -> None:
        self._created += 1
        self._ids[topic] = f"{topic} {self._created}"
        for number in range(self._counts[topic]):
            known = self._logs.get((topic, number))
            log = self._logs[topic, number] = PartitionLog(number)
            if known is not None:
                log.waiting = known.waiting

    def latency(self) -> float:
        """How long the next step takes, in seconds."""
        chance = self._chance
        if chance is None:
            return 0.0
        if chance.random() < _SLOW:
            return chance.uniform(0.0, _SLOW_SECONDS)
        return chance.uniform(_FIRST_LATENCY, _LAST_LATENCY)

    def log(self, topic: str, partition: int) -> PartitionLog:
        return self._logs[topic, partition]

    def places(self) -> list[tuple[str, int]]:
        """Every partition of every topic."""
        return list(self._logs)

    def topic_ids(self) -> dict[str, str]:
        return dict(self._ids)

    def append(self, topic: str, partition: int, value: bytes, key: bytes | None = None) -> int:
        """Append a record at once; returns its offset."""
        log = self._logs[topic, partition]
        offset = log.append(self.now(), value, key)
        log.poke()
        return offset

    def read_all(self, topic: str, partition: int) -> list[Record]:
        log = self._logs[topic, partition]
        return log.read(log.start, log.end)

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        return self._committed.get(group, {}).get((topic, partition))

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        self._committed.setdefault(group, {})[topic, partition] = offset

    # What can happen

    def stop(self) -> None:
        """Nobody gets an answer, as while its process is paused or dead."""
        self.up = False

    def go_on(self) -> None:
        self.up = True
        for log in self._logs.values():
            log.epoch += 1
        for changed in list(self.clients):
            changed()

    def lose_leader(self, topic: str, partition: int) -> None:
        self._logs[topic, partition].leader = False

    def find_leader(self, topic: str, partition: int) -> None:
        log = self._logs[topic, partition]
        log.leader = True
        log.epoch += 1
        log.poke()

    def change_leader(self, topic: str, partition: int) -> None:
        """Another broker leads it now."""
        log = self._logs[topic, partition]
        log.epoch += 1
        log.poke()

    def lose_replicas(self, topic: str, partition: int) -> None:
        """Too few brokers have it: what is sent is refused, and sent again."""
        self._logs[topic, partition].enough = False

    def find_replicas(self, topic: str, partition: int) -> None:
        log = self._logs[topic, partition]
        log.enough = True
        log.poke()

    def expire(self, topic: str, partition: int, before: int) -> None:
        """The records before an offset expire."""
        self._logs[topic, partition].expire(before)

    def cut_tail(self, topic: str, partition: int, records: int) -> None:
        """The last records are lost, as when a disk lost them: a leader comes without them."""
        log = self._logs[topic, partition]
        log.cut(records)
        log.poke()

    def compact(self, topic: str) -> None:
        for number in range(self._counts[topic]):
            self._logs[topic, number].compact()

    def recreate(self, topic: str) -> None:
        """Delete a topic, with the groups' offsets in it, and create it again, empty."""
        for committed in self._committed.values():
            for place in [place for place in committed if place[0] == topic]:
                del committed[place]
        self._create(topic)
        for number in range(self._counts[topic]):
            self._logs[topic, number].poke()

    def forget_group(self, group: str) -> None:
        """The group's committed offsets are gone."""
        self._committed.pop(group, None)
