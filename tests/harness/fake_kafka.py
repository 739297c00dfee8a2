"""Topics in memory for a partition of a folding stage, whose acknowledgements and reads can be held
back."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from connectors.kafka.record import Record
from schemas.codec import decode_deliveries
from schemas.events import Delivered


class FakeKafka:
    """`Outside` of a folding stage, and its reader, of one partition."""

    def __init__(self, *topics: str) -> None:
        self.topics: dict[str, list[Record]] = {topic: [] for topic in topics}
        self.committed_offset: int | None = None
        self.told: list[Delivered] = []
        self.delivers = asyncio.Event()
        """Deliveries are acknowledged."""
        self.delivers.set()
        self.keeps = asyncio.Event()
        """Records are acknowledged."""
        self.keeps.set()
        self.reads = threading.Event()
        """Reading goes on."""
        self.reads.set()

    # Outside

    def topic_ids(self) -> Mapping[str, str]:
        return dict.fromkeys(self.topics, "id")

    def reader(self) -> "FakeKafka":
        return self

    async def claim(self, partition: int) -> None: ...

    async def lookup(
        self, users: Sequence[str], waiting: Callable[[bool], None]
    ) -> Mapping[str, Sequence[tuple[str, int]]]:
        return {user: [("phone", 1)] for user in users}

    async def keep(self, topic: str, records: Sequence[tuple[int, bytes, bytes | None]]) -> None:
        await self.keeps.wait()
        for _, value, _ in records:
            self.append(topic, value)

    async def deliver(self, records: Sequence[tuple[int, bytes]]) -> None:
        await self.delivers.wait()
        for _, value in records:
            self.told += decode_deliveries(value).events

    # Reader

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        return 0, len(self.topics[topic])

    def committed(self, topic: str, partition: int) -> int | None:
        return self.committed_offset

    def batches(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[list[Record]]:
        while not self.reads.wait(0.01):
            if stopped():
                return
        for record in self.topics[topic][start:end]:
            yield [record]

    def close(self) -> None: ...

    # The test

    def append(self, topic: str, value: bytes) -> None:
        records = self.topics[topic]
        records.append(Record(0, len(records), 1000 + len(records), value))
