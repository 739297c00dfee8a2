"""When records are taken: at once at light load, together on a busy worker."""

import asyncio
from collections.abc import Sequence

from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from streams.intake import GATHER_SECONDS, Intake
from tests.harness.virtual import virtual_time

_APART = GATHER_SECONDS / 4


class Positions:
    """Of a stage that reads everything from the start."""

    def paused(self, partition: int) -> bool:
        return False

    def next_offset(self, partition: int) -> int:
        return 0

    def committable(self, partition: int) -> None:
        return None


async def taken(partitions: int, departures: int, every: float) -> Sequence[tuple[int, float]]:
    """A gateway sends a record to each partition `every` so many seconds, and they come one after
    the other. (Records, seconds since the first of them came) of each take."""
    broker = MemoryBroker({"t": partitions})
    intake = Intake(lambda: MemoryKafka(broker).fetcher("t"), Positions())
    intake.assign(range(partitions))
    loop = asyncio.get_running_loop()
    came: list[float] = []
    takes: list[tuple[int, float]] = []

    async def read() -> None:
        while True:
            records = await intake.next(range(partitions), 1.0)
            count = sum(map(len, records.values()))
            takes.append((count, loop.time() - came[0]))
            del came[:count]

    reading = asyncio.create_task(read())
    for _ in range(departures):
        for partition in range(partitions):
            came.append(loop.time())
            broker.append("t", partition, b"")
            await asyncio.sleep(_APART)
        await asyncio.sleep(every - _APART * partitions)
    reading.cancel()
    await intake.close()
    return takes


@virtual_time
async def test_at_light_load_nothing_waits() -> None:
    takes = await taken(3, 20, every=0.05)
    assert takes == [(1, 0.0)] * 60


@virtual_time
async def test_below_what_a_busy_gateway_sends_nothing_waits() -> None:
    takes = await taken(3, 100, every=3 / 300)
    assert takes == [(1, 0.0)] * 300


@virtual_time
async def test_on_a_busy_worker_records_that_left_together_are_taken_together() -> None:
    takes = await taken(3, 100, every=0.003)
    busy = takes[-50:]
    assert {count for count, _ in busy} == {3}
    assert all(0 < waited < GATHER_SECONDS * 1.01 for _, waited in busy)


@virtual_time
async def test_one_partition_has_nothing_to_wait_for() -> None:
    takes = await taken(1, 200, every=0.003)
    assert takes == [(1, 0.0)] * 200
