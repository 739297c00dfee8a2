"""Consumer of many partitions of one topic, each from an offset that its user gives; records wait
until the user takes them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from confluent_kafka import Consumer, Message, TopicPartition

from connectors.dependency import Dependency
from connectors.kafka.consumer import to_record
from connectors.kafka.healing_consumer import HealingConsumer
from connectors.kafka.ports import AT_ONCE, Fetch
from connectors.kafka.record import Record

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Of values that nobody has taken yet. Beyond it nothing is polled, and librdkafka's own queue is
the bound."""
MAX_LEFT_BYTES = 1024 * 1024
"""The same of a partition that `take` leaves out. Beyond it the partition is paused, so that the
others go on."""


_UNDER_WAY_SECONDS = 0.05
"""A request that Kafka keeps is of the partitions that were read when it was sent, and librdkafka
sends no other one meanwhile. If nothing comes for so long after a partition was begun, a new client
reads on."""


class Fetcher:
    """`Fetcher` (connectors/kafka/ports.py). Make it inside the loop that uses it, and close it.
    It heals itself."""

    def __init__(
        self,
        servers: str,
        topic: str,
        fetch: Fetch = AT_ONCE,
        dependency: Dependency | None = None,
    ) -> None:
        self._topic = topic
        self._offsets: dict[int, int] = {}
        """Of each partition that is read, the offset that comes next."""
        self._waiting: dict[int, list[Record]] = {}
        self._bytes: Counter[int] = Counter()
        """Of the values that wait, by partition."""
        self._left: Collection[int] = ()
        """What the last `take` left out."""
        self._paused: set[int] = set()
        self._reads = False
        """The client has been told of something to read."""
        self._under_way: asyncio.TimerHandle | None = None
        """Set while a request may be under way that does not name all that is read."""
        self._come = asyncio.Event()
        self._consumer = HealingConsumer(
            servers,
            f"the fetcher of {topic}",
            {
                "auto.offset.reset": "earliest",
                "fetch.min.bytes": fetch.bytes,
                "fetch.wait.max.ms": int(fetch.wait_seconds * 1000),
                # how soon a topic that was re-created is noticed
                "topic.metadata.refresh.interval.ms": 10_000,
            },
            self._all_positions,
            self._let_in,
            self._has_room,
            dependency,
        )

    def read(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions and no others, each from its offset. Drops records that
        wait, unless they begin there: then nothing is fetched again after a rebalance."""
        moved = {p: offset for p, offset in offsets.items() if self._begins_at(p) != offset}
        stopped = self._offsets.keys() - offsets.keys()
        again = self._offsets.keys() & moved.keys()
        for partition in stopped:
            del self._offsets[partition]
        self._offsets.update(moved)
        self._move(stopped | again, moved)

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition, whether it was read before or not, from `offset` on. Drops its records
        that wait."""
        again = self._offsets.keys() & {partition}
        self._offsets[partition] = offset
        self._move(again, [partition])

    async def wait(self, seconds: float) -> None:
        """Until something has come since this call, or the time is over."""
        self._come.clear()
        over = asyncio.get_running_loop().call_later(seconds, self._come.set)
        try:
            await self._come.wait()
        finally:
            over.cancel()

    def has(self, partitions: Collection[int]) -> bool:
        """Whether something of them waits."""
        return any(partition in self._waiting for partition in partitions)

    def take(self, partitions: Collection[int]) -> dict[int, list[Record]]:
        """partition → all that waits of it, in order, of those of `partitions` that have something.
        The others are left out: they hold up nobody."""
        had_room = self._has_room()
        taken = {
            partition: self._waiting.pop(partition)
            for partition in partitions
            if partition in self._waiting
        }
        for partition in taken:
            del self._bytes[partition]
        self._left = tuple(self._waiting)
        self._pause()
        if not had_room:
            self._consumer.go_on()
        return taken

    async def close(self) -> None:
        """Stop reading."""
        self._answered()
        await self._consumer.close()

    def _begins_at(self, partition: int) -> int | None:
        """The offset of what is taken next of a partition, None if it is not read."""
        waiting = self._waiting.get(partition)
        return waiting[0].offset if waiting else self._offsets.get(partition)

    def _move(self, stopped: Collection[int], begun: Iterable[int]) -> None:
        """Leave the positions of `stopped`, and take those of `begun`, with the client."""
        had_room = self._has_room()
        paused = self._paused & set(stopped)
        self._paused -= paused
        for partition in stopped:
            self._waiting.pop(partition, None)
            del self._bytes[partition]

        def change(consumer: Consumer) -> None:
            if stopped:
                self._pause_at(consumer, (), paused)  # or it would stay paused in its next life
                consumer.incremental_unassign([TopicPartition(self._topic, p) for p in stopped])
            if begun:
                consumer.incremental_assign(self._positions(begun))

        self._consumer.change(change)
        if begun and self._reads:
            self._asked_late()
        self._reads = bool(self._offsets)
        if not had_room:
            self._consumer.go_on()

    def _asked_late(self) -> None:
        """Something is to be read that a request under way may not name."""
        self._answered()
        self._under_way = asyncio.get_running_loop().call_later(
            _UNDER_WAY_SECONDS, self._consumer.begin_anew
        )

    def _answered(self) -> None:
        """Nothing is under way that could keep back what is read."""
        if self._under_way is not None:
            self._under_way.cancel()
            self._under_way = None

    def _all_positions(self) -> list[TopicPartition]:
        self._paused.clear()  # a new client has paused nothing
        return self._positions(self._offsets)

    def _positions(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, p, self._offsets[p]) for p in partitions]

    def _let_in(self, messages: Sequence[Message]) -> None:
        self._answered()
        fetched: dict[int, list[Record]] = {}
        for message in messages:
            if (error := message.error()) is None:
                record = to_record(message)
                fetched.setdefault(record.partition, []).append(record)
            else:
                log.debug("%s: %s", self._consumer.name, error)
        for partition in fetched.keys() & self._offsets.keys():
            records = fetched[partition]
            self._offsets[partition] = records[-1].offset + 1
            self._waiting.setdefault(partition, []).extend(records)
            self._bytes[partition] += sum(len(record.value) for record in records)
        self._pause()
        self._come.set()

    def _pause(self) -> None:
        """Pause what is left out and has grown too much; go on with what has been taken since."""
        grown = {p for p in self._left if self._bytes[p] > MAX_LEFT_BYTES} - self._paused
        taken = {p for p in self._paused if p not in self._waiting}
        if grown or taken:
            self._paused = self._paused - taken | grown
            self._consumer.change(lambda consumer: self._pause_at(consumer, grown, taken))
            if taken:
                self._asked_late()

    def _pause_at(self, consumer: Consumer, grown: Iterable[int], taken: Iterable[int]) -> None:
        consumer.pause([TopicPartition(self._topic, partition) for partition in grown])
        consumer.resume([TopicPartition(self._topic, partition) for partition in taken])

    def _has_room(self) -> bool:
        left = self._left
        return sum(size for p, size in self._bytes.items() if p not in left) <= MAX_WAITING_BYTES
