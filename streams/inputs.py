"""The inputs of a worker's stages as Kafka has them now. This code asks Kafka itself, because what
a consumer remembers of the end of a partition may be as wrong as the consumer."""

import asyncio
import contextlib
import itertools
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from connectors.kafka.ports import Kafka, OffsetGone, Place, Reader, ReadTimeout
from connectors.kafka.record import Record
from connectors.request_batcher import RequestBatcher

T = TypeVar("T")

_TIMEOUT_SECONDS = 1.5
_TOGETHER_SECONDS = 1.0
"""For the answer about all partitions together."""
_IDS_SECONDS = 2.0
_STARTS_SECONDS = 10.0
"""A look at many topics may say first offsets that are so old. A reader that has fallen behind them
sees a gap."""
_MAX_FAILURES = 2
"""Partitions that do not answer, one after the other, before the look is given up: each costs a
timeout."""


class InputSeen(NamedTuple):
    """Kafka's id of the topic, the first offset that a partition has, and the one after its
    last."""

    topic: str
    start: int
    end: int


class Start(NamedTuple):
    """Read the topic from `offset` on. `lost`: how many records have expired before they were
    read."""

    offset: int
    lost: int


def start_at(committed: int | None, start: int, end: int) -> Start:
    """Where a reader goes on, given the group's offset and what Kafka has. A topic that is shorter
    than that is another one, or has lost its tail: all of it is read again."""
    if committed is None or committed > end:
        return Start(start, 0)
    return Start(max(committed, start), max(0, start - committed))


def offset_since(reader: Reader, place: Place, ends: tuple[int, int], time: int) -> int:
    """Of the offsets from the first to before the last of `ends`, the first whose record is of
    `time` (ms) or later; the last if none is. It reads some twenty records of a long partition.
    Each offset must have a record: Kafka must not compact the topic, and no transaction may write
    to it. With a hole it would end with ReadTimeout. Raises ReadTimeout, OffsetGone."""
    offsets = range(*ends)

    def time_of(offset: int) -> int:
        (record,) = reader.read(*place, offset, offset + 1)
        return record.timestamp

    return ends[0] + bisect_left(offsets, time, key=time_of)


class Inputs:
    """Asks with one client and in one thread of its own, one question at a time. Close it."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._reader: Reader | None = None
        self._thread = ThreadPoolExecutor(1, "inputs")
        self._rounds = itertools.count()
        self._ids: Mapping[str, str] = {}
        self._ids_asked = float("-inf")
        self._starts: Mapping[Place, int] = {}
        self._starts_asked = float("-inf")
        self._end = RequestBatcher(self._ends, at_once=1, most=10_000)

    async def look(
        self, topic: str, partitions: Collection[int], fresh: bool = True
    ) -> Mapping[int, InputSeen]:
        """partition → its input, of those whose leader answers. Raises ReadTimeout if none does,
        KafkaUnreachable. Unless `fresh`, the topic's id may be that of two seconds ago."""
        if fresh:
            self._ids_asked = float("-inf")
        self._forget_old()
        return await self._ask(lambda: self._look(topic, sorted(partitions)))

    async def look_at_all(self, places: Collection[Place]) -> Mapping[Place, InputSeen]:
        """place → its input, with one request for all ends. First offsets may be those of ten
        seconds ago, topic ids of two. Raises ReadTimeout if one place does not answer,
        KafkaUnreachable."""
        self._forget_old()
        return await self._ask(lambda: self._look_at_all(sorted(places))) if places else {}

    async def ends(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """The same without the topic's id: partition → the offset after its last record."""
        return await self._ask(lambda: self._all_ends(topic, sorted(partitions)))

    async def end(self, topic: str, partition: int) -> int:
        """The offset after the last record now. Questions that wait are asked together. Raises
        ReadTimeout."""
        return await self._end((topic, partition))

    async def record(self, topic: str, partition: int, offset: int) -> Record:
        """The record at an offset. Raises ReadTimeout, OffsetGone."""
        return await self._ask(lambda: self._record(topic, partition, offset))

    async def topic_ids(self) -> Mapping[str, str]:
        """topic → Kafka's id of it. Raises KafkaUnreachable."""
        return await self._ask(self._kafka.topic_ids)

    async def close(self) -> None:
        await self._end.close()
        if self._reader is not None:
            await self._ask(self._reader.close)
        self._thread.shutdown(wait=False)

    async def _ask(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _ends(self, asked: Sequence[tuple[str, int]]) -> list[int]:
        wanted: dict[str, set[int]] = {}
        for topic, partition in asked:
            wanted.setdefault(topic, set()).add(partition)
        ends = {topic: await self.ends(topic, numbers) for topic, numbers in wanted.items()}
        try:
            return [ends[topic][partition] for topic, partition in asked]
        except KeyError as error:
            raise ReadTimeout(f"partition {error} has no leader") from None

    def _forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._ids_asked > _IDS_SECONDS:
            self._ids, self._ids_asked = {}, now
        if now - self._starts_asked > _STARTS_SECONDS:
            self._starts, self._starts_asked = {}, now

    # In the thread

    def _look(self, topic: str, partitions: Sequence[int]) -> Mapping[int, InputSeen]:
        found = self._watermarks(topic, partitions)
        topic_id = self._id(topic)
        return {number: InputSeen(topic_id, *seen) for number, seen in found.items()}

    def _look_at_all(self, places: Sequence[Place]) -> Mapping[Place, InputSeen]:
        client = self._client()
        if not self._starts.keys() >= {*places}:
            self._starts = client.all_starts(places, _TOGETHER_SECONDS / 2)
        ends = client.all_ends(places, _TOGETHER_SECONDS / 2)
        starts = self._starts
        return {
            place: InputSeen(self._id(place[0]), starts[place], ends[place]) for place in places
        }

    def _id(self, topic: str) -> str:
        ids = self._ids or self._kafka.topic_ids()
        self._ids = ids
        if topic not in ids:
            raise ReadTimeout(f"there is no topic {topic} now")
        return ids[topic]

    def _all_ends(self, topic: str, partitions: Sequence[int]) -> Mapping[int, int]:
        places = [(topic, partition) for partition in partitions]
        with contextlib.suppress(ReadTimeout):
            ends = self._client().all_ends(places, _TOGETHER_SECONDS)
            return {partition: end for (_, partition), end in ends.items()}
        return {number: end for number, (_, end) in self._one_by_one(topic, partitions).items()}

    def _watermarks(self, topic: str, partitions: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        with contextlib.suppress(ReadTimeout):
            return self._client().all_watermarks(topic, partitions, _TOGETHER_SECONDS)
        return self._one_by_one(topic, partitions)

    def _record(self, topic: str, partition: int, offset: int) -> Record:
        try:
            (record,) = self._client().read(topic, partition, offset, offset + 1)
        except (ReadTimeout, OffsetGone):
            self._forget_reader()  # it would go on fetching
            raise
        return record

    def _client(self) -> Reader:
        if self._reader is None:
            self._reader = self._kafka.reader(_TIMEOUT_SECONDS)
        return self._reader

    def _one_by_one(self, topic: str, partitions: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        """One has no leader, perhaps."""
        reader = self._client()
        found: dict[int, tuple[int, int]] = {}
        failures = 0
        turn = next(self._rounds) % max(1, len(partitions))  # begin with another one each time
        for partition in (*partitions[turn:], *partitions[:turn]):
            try:
                found[partition] = reader.watermarks(topic, partition)
            except ReadTimeout:
                failures += 1
                if failures >= min(_MAX_FAILURES, len(partitions)):
                    self._forget_reader()
                    raise
        return found

    def _forget_reader(self) -> None:
        """The next look is by a new client. A broker that is the only one, and was paused, names no
        broker when it wakes up; librdkafka then forgets it, and may not look for it again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
