"""Consumer of many partitions of one topic, each from an offset that its user gives; records wait
until the user takes them."""

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.dependency import Dependency
from connectors.kafka import client_config
from connectors.kafka.client_watch import ClientWatch
from connectors.kafka.consumer import to_record
from connectors.kafka.record import Record

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05
"""How late the thread may see a new position while nothing comes."""
_AGAIN_SECONDS = 1.0
"""Between a failure of the client and the next client."""
_MAX_BATCH = 1000
MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Of values that nobody has taken yet. Beyond it the thread waits, and librdkafka's own queue is
the bound."""
MAX_LEFT_BYTES = 1024 * 1024
"""The same of a partition that `take` leaves out. Beyond it the partition is paused, so that the
others go on."""
MAX_QUEUED_KIB = 4 * 1024
"""Of librdkafka's queue; one batch is no more than it holds."""


class _Position(NamedTuple):
    """Read `partition` from `offset` on, or, if that is None, no more. `turn` tells records that
    were read after this from those read before."""

    partition: int
    offset: int | None
    turn: int


class Fetcher:
    """`Fetcher` (connectors/kafka/ports.py) by a thread of its own. Make it inside the loop that
    uses it, and close it. Kafka answers when it has `fetch_bytes`, or after half a second.

    It heals itself. When its client fails, or gets no fetch of a partition from brokers that
    answer, another client goes on from the same offsets.
    """

    def __init__(
        self, servers: str, topic: str, fetch_bytes: int = 1, dependency: Dependency | None = None
    ) -> None:
        self._topic = topic
        name, reports_to = f"the fetcher of {topic}", dependency or Dependency("kafka")
        self._watch = ClientWatch(name, reports_to, self._stuck)
        self._conf = client_config.consumer(
            servers,
            self._watch,
            {
                "auto.offset.reset": "earliest",
                "fetch.min.bytes": fetch_bytes,
                "queued.max.messages.kbytes": MAX_QUEUED_KIB,
                # how soon a topic that was re-created is noticed
                "topic.metadata.refresh.interval.ms": 10_000,
            },
        )
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._turn = 0
        self._turns: dict[int, int] = {}
        """Of each partition that is read, its last position's."""
        self._positions: deque[_Position] = deque()
        """What the thread has not seen yet."""
        self._waiting: dict[int, list[Record]] = {}
        self._left: Collection[int] = ()
        self._handed: Counter[int] = Counter()
        """Bytes of values handed to the loop since the start, by partition; the thread counts."""
        self._come_in: Counter[int] = Counter()
        """What of them the loop has; the loop counts."""
        self._gone: Counter[int] = Counter()
        """What of them has been taken or dropped; the loop counts."""
        self._ends: dict[int, int] = {}
        self._come = asyncio.Event()
        self._room = threading.Event()
        self._read_now: dict[int, _Position] = {}
        """Of each partition that the thread reads, where it goes on; the thread's."""
        self._paused: set[int] = set()
        """Of them, those that are left out and have grown too much; the thread's."""
        self._renew = False
        self._consumer = Consumer(self._conf)
        self._thread = threading.Thread(target=self._run, name="kafka-fetcher", daemon=True)
        self._thread.start()

    def read(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions and no others, each from its offset. Drops records that wait."""
        for partition in self._turns.keys() - offsets.keys():
            self._go(partition, None)
        for partition, offset in offsets.items():
            self.seek(partition, offset)

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition, whether it was read before or not, from `offset` on. Drops its records
        that wait."""
        self._go(partition, offset)

    async def wait(self, seconds: float) -> None:
        """Until something has come since this call, or the time is over."""
        self._come.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._come.wait()

    def has(self, partitions: Collection[int]) -> bool:
        """Whether something of them waits."""
        return any(partition in self._waiting for partition in partitions)

    def take(self, partitions: Collection[int]) -> dict[int, list[Record]]:
        """partition → all that waits of it, in order, of those of `partitions` that have something.
        The others are left out: they hold up nobody."""
        taken = {
            partition: self._waiting.pop(partition)
            for partition in partitions
            if partition in self._waiting
        }
        for partition in taken:
            self._gone[partition] = self._come_in[partition]
        self._left = tuple(self._waiting)
        self._room.set()
        return taken

    def end(self, partition: int) -> int | None:
        """The offset after the last that Kafka had of a partition when it last answered, None if
        not known."""
        return self._ends.get(partition)

    async def close(self) -> None:
        """Stop reading."""
        self._closed = True
        self._room.set()
        await asyncio.to_thread(self._thread.join)

    def _go(self, partition: int, offset: int | None) -> None:
        self._turn += 1
        if offset is None:
            del self._turns[partition]
        else:
            self._turns[partition] = self._turn
        self._waiting.pop(partition, None)
        self._gone[partition] = self._come_in[partition]
        self._positions.append(_Position(partition, offset, self._turn))
        self._room.set()

    def _let_in(
        self,
        turns: Mapping[int, int],
        fetched: Mapping[int, list[Record]],
        sizes: Mapping[int, int],
    ) -> None:
        for partition, records in fetched.items():
            self._come_in[partition] += sizes[partition]
            if self._turns.get(partition) == turns.get(partition, -1):
                self._waiting.setdefault(partition, []).extend(records)
            else:
                self._gone[partition] = self._come_in[partition]
        self._come.set()

    # In the thread

    def _run(self) -> None:
        while not self._closed:
            try:
                self._step()
            except Exception:  # without this thread the worker would stand still in silence
                log.exception("%s fails, and begins anew", self._watch.name)
                self._watch.failed("its client failed")
                time.sleep(_AGAIN_SECONDS)
                self._renew = True
        self._consumer.close()
        self._watch.closed()

    def _step(self) -> None:
        if self._renew:
            self._begin_anew()
        self._take_positions()
        self._pause()
        self._room.clear()
        if self._is_full():
            self._room.wait(_POLL_SECONDS)
            return
        fetched = self._fetch()
        self._look_for_ends(fetched or self._read_now)
        if fetched:
            self._hand_over(fetched)

    def _begin_anew(self) -> None:
        """Another client reads the same partitions, each from where the last one was."""
        self._renew = False
        old, self._consumer = self._consumer, Consumer(self._conf)
        old.close()
        self._watch.began_anew()
        self._paused.clear()
        for position in self._read_now.values():
            self._assign(position)

    def _stuck(self, partitions: Sequence[int]) -> None:
        log.error("%s gets nothing of partitions %s and begins anew", self._watch.name, partitions)
        self._renew = True

    def _take_positions(self) -> None:
        while self._positions:
            position = self._positions.popleft()
            partition = position.partition
            was_read = self._read_now.pop(partition, None) is not None
            if position.offset is not None:
                self._read_now[partition] = position
            self._paused.discard(partition)
            self._ends.pop(partition, None)
            if was_read:
                self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])
            if position.offset is not None:
                self._assign(position)

    def _assign(self, position: _Position) -> None:
        assert position.offset is not None
        self._consumer.incremental_assign(
            [TopicPartition(self._topic, position.partition, position.offset)]
        )

    def _pause(self) -> None:
        """Pause what is left out and has grown too much; go on with what has been taken since."""
        for partition in self._left:
            if partition not in self._paused and self._waiting_bytes(partition) > MAX_LEFT_BYTES:
                self._consumer.pause([TopicPartition(self._topic, partition)])
                self._paused.add(partition)
        for partition in [one for one in self._paused if not self._waiting_bytes(one)]:
            self._consumer.resume([TopicPartition(self._topic, partition)])
            self._paused.discard(partition)

    def _is_full(self) -> bool:
        left = self._left
        return (
            sum(
                self._waiting_bytes(partition)
                for partition in self._handed
                if partition not in left
            )
            > MAX_WAITING_BYTES
        )

    def _waiting_bytes(self, partition: int) -> int:
        return self._handed[partition] - self._gone[partition]

    def _fetch(self) -> dict[int, list[Record]]:
        first = self._consumer.poll(_POLL_SECONDS)
        if first is None:
            return {}
        fetched: dict[int, list[Record]] = {}
        # poll, then whatever is there: consume(n, timeout) would wait the whole timeout for n
        # messages
        for message in (first, *self._consumer.consume(_MAX_BATCH - 1, 0)):
            error = message.error()
            if error is None:
                record = to_record(message)
                fetched.setdefault(record.partition, []).append(record)
            else:
                log.debug("%s: %s", self._watch.name, error)
        for partition, records in fetched.items():
            if (position := self._read_now.get(partition)) is not None:
                self._read_now[partition] = position._replace(offset=records[-1].offset + 1)
        return fetched

    def _look_for_ends(self, partitions: Iterable[int]) -> None:
        """Here, between fetches: asked beside one, librdkafka waits for it, and it for the
        interpreter's lock."""
        for partition in partitions:
            with contextlib.suppress(KafkaException):
                _, end = self._consumer.get_watermark_offsets(
                    TopicPartition(self._topic, partition), cached=True
                )
                if end >= 0:  # else no fetch of this partition has been answered yet
                    self._ends[partition] = end

    def _hand_over(self, fetched: Mapping[int, list[Record]]) -> None:
        turns = {partition: position.turn for partition, position in self._read_now.items()}
        sizes = {
            partition: sum(len(record.value) for record in records)
            for partition, records in fetched.items()
        }
        self._handed.update(sizes)
        try:
            self._loop.call_soon_threadsafe(self._let_in, turns, fetched, sizes)
        except RuntimeError:  # the loop is closed: nobody takes anything any more
            self._closed = True
