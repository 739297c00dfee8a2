"""Log records by number: what one client of Kafka, or one partition, cannot read costs the others
little."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from agents.sequencer.log_pages import LogPages
from connectors.kafka.ports import ReadTimeout
from connectors.kafka.record import Record
from schemas.codec import encode_event
from schemas.events import LogRecord, Taken
from tests.harness.virtual import run

LOG_RECORD = encode_event(
    LogRecord(
        *(1, 1, 0, 0, 1, 0, 0, 0),
        [Taken(0, 1, "alice:bob", "alice", "phone", b"o" * 16, 1, b"k" * 16, 1, 0, "hi")],
    )
)


class Kafka:
    """Makes readers that ask `fails` (with the reader's number and the partition) before each
    read."""

    def __init__(self, fails: Callable[[int, int], bool]) -> None:
        self.fails = fails
        self.made = 0
        self.open = 0

    def reader(self, timeout: float = 30.0, group: str = "") -> "Reader":
        self.made += 1
        self.open += 1
        return Reader(self, self.made)


class Reader:
    def __init__(self, kafka: Kafka, number: int) -> None:
        self._kafka = kafka
        self._number = number

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        if self._kafka.fails(self._number, partition):
            raise ReadTimeout("nothing comes")
        for offset in range(start, end):
            yield Record(partition, offset, 0, LOG_RECORD)

    def close(self) -> None:
        self._kafka.open -= 1


def test_a_client_that_has_stopped_fetching_is_replaced() -> None:
    """Fault 23."""

    async def scenario() -> None:
        kafka = Kafka(lambda number, partition: number == 1)
        pages = LogPages(cast(Any, kafka))
        with pytest.raises(ReadTimeout):
            await pages.read(0, [3])
        assert [list(taken) for taken in await pages.read(0, [3, 4])] == [["alice:bob"]] * 2
        assert await pages.read(1, [3])
        await pages.close()
        assert kafka.open == 0

    run(scenario())


def test_a_partition_that_does_not_answer_keeps_the_others_waiting_once() -> None:
    """Fault 14."""

    async def scenario() -> None:
        kafka = Kafka(lambda number, partition: partition == 0)
        pages = LogPages(cast(Any, kafka))
        for _ in range(3):
            with pytest.raises(ReadTimeout):
                await pages.read(0, [3])
        asking = [asyncio.create_task(pages.read(0, [3])) for _ in range(5)]
        assert await pages.read(1, [3])
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(one, ReadTimeout) for one in found)
        await pages.close()

    run(scenario())
