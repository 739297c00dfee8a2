"""The workers' consumer: positions, what is left out, bounds."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection

import pytest

from connectors.kafka import queue_wakeups
from connectors.kafka.fetcher import MAX_LEFT_BYTES, MAX_WAITING_BYTES, Fetcher
from connectors.kafka.healing_consumer import MAX_QUEUED_KIB
from connectors.kafka.ports import Fetch
from connectors.kafka.record import Record
from schemas.topics import DELIVERIES
from tests.harness import kafka
from tests.harness.stack import Stack

pytestmark = pytest.mark.real
_ONE, _OTHER = 5, 6
"""Slots that no node has."""
_SIZE = 10_000


@pytest.fixture(params=["descriptor", "timer"])
async def fetcher(
    stack: Stack, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Fetcher]:
    """Woken in either way."""
    if request.param == "timer":
        monkeypatch.setattr(queue_wakeups, "_library", None)
    running = Fetcher(stack.kafka, DELIVERIES)
    yield running
    await running.close()
    for partition in (_ONE, _OTHER):  # they are no frames: the judge would say so
        await asyncio.to_thread(kafka.expire, stack, DELIVERIES, partition)


async def written(stack: Stack, partition: int, count: int, size: int = _SIZE) -> range:
    """The offsets of `count` new records."""
    values = [bytes(size)] * count
    await asyncio.to_thread(kafka.produce_many, stack, DELIVERIES, partition, values)
    end = kafka.watermarks(stack, DELIVERIES, partition)[1]
    return range(end - count, end)


async def taken(fetcher: Fetcher, partition: int, count: int) -> list[int]:
    """The offsets of the next records of a partition, `count` at least; others are left out."""
    records: list[Record] = []
    async with asyncio.timeout(60):
        while len(records) < count:
            await fetcher.wait(0.1)
            records += fetcher.take([partition]).get(partition, [])
    return [record.offset for record in records]


async def taken_in(fetcher: Fetcher, seconds: float) -> list[int]:
    """The offsets of what comes of `_ONE` meanwhile."""
    await asyncio.sleep(seconds)
    return [record.offset for record in fetcher.take([_ONE]).get(_ONE, [])]


async def grown(fetcher: Fetcher, partitions: Collection[int]) -> None:
    """Wait until something waits, and no more comes."""
    async with asyncio.timeout(60):
        while not fetcher.has(partitions):
            await fetcher.wait(0.1)
    await asyncio.sleep(0.5)


async def came_so_far(fetcher: Fetcher, offsets: range, bound: int) -> None:
    """Of _ONE so much waits that it passes the bound by what one fetch brings; the rest comes after
    it."""
    first = fetcher.take([_ONE])[_ONE]
    waited = sum(len(record.value) for record in first)
    assert bound < waited <= bound + 2 * MAX_QUEUED_KIB * 1024, f"{waited >> 10} KiB"
    rest = await taken(fetcher, _ONE, len(offsets) - len(first))
    assert [record.offset for record in first] + rest == list(offsets)


async def test_each_partition_is_read_from_its_position_on(stack: Stack, fetcher: Fetcher) -> None:
    one, other = await written(stack, _ONE, 50), await written(stack, _OTHER, 50)
    fetcher.read({_ONE: one[10], _OTHER: other[20]})
    assert await taken(fetcher, _ONE, 40) == list(one[10:])
    assert await taken(fetcher, _OTHER, 30) == list(other[20:])
    more = await written(stack, _ONE, 1)
    assert await taken(fetcher, _ONE, 1) == list(more)


async def test_what_is_begun_does_not_wait_for_what_kafka_has_been_asked(stack: Stack) -> None:
    """Kafka keeps a request for minutes if nothing comes, and it names what was read before. A
    partition is begun, is sought, or is taken after it was held."""
    one, other = await written(stack, _ONE, 2000), await written(stack, _OTHER, 30)
    fetcher = Fetcher(stack.kafka, DELIVERIES, Fetch(1, 50.0))
    fetcher.read({_ONE: one.stop})
    await asyncio.sleep(0.5)  # it has asked
    fetcher.seek(_OTHER, other[10])
    assert await taken(fetcher, _OTHER, 20) == list(other[10:])
    await asyncio.sleep(0.2)
    fetcher.seek(_OTHER, other[20])
    assert await taken(fetcher, _OTHER, 10) == list(other[20:])
    fetcher.seek(_ONE, one[0])
    async with asyncio.timeout(60):
        while not fetcher._paused:
            await fetcher.wait(0.1)
            fetcher.take([_OTHER])
    await asyncio.sleep(0.5)
    assert await taken(fetcher, _ONE, 2000) == list(one)
    await fetcher.close()
    for partition in (_ONE, _OTHER):
        await asyncio.to_thread(kafka.expire, stack, DELIVERIES, partition)


async def test_after_a_new_position_nothing_comes_that_was_read_before_it(
    stack: Stack, fetcher: Fetcher
) -> None:
    """Back and forth, while what was read waits, or is on its way."""
    offsets = await written(stack, _ONE, 200)
    for pause in (0, 0, 0.001, 0.01, 0.1, 0.3):
        for start in (offsets[0], offsets[150], offsets[20]):
            fetcher.seek(_ONE, start)
            await asyncio.sleep(pause)
        assert await taken(fetcher, _ONE, 180) == list(offsets[20:])


async def test_what_is_no_longer_read_is_gone(stack: Stack, fetcher: Fetcher) -> None:
    one, other = await written(stack, _ONE, 20), await written(stack, _OTHER, 20)
    fetcher.read({_ONE: one[0], _OTHER: other[0]})
    await grown(fetcher, [_ONE, _OTHER])
    fetcher.read({_OTHER: other[5]})
    assert await taken(fetcher, _OTHER, 15) == list(other[5:])
    await written(stack, _ONE, 1)
    await asyncio.sleep(0.3)
    assert not fetcher.has([_ONE])


async def test_a_partition_that_is_left_out_is_held_at_its_bound_and_holds_up_nobody(
    stack: Stack, fetcher: Fetcher
) -> None:
    left, other = await written(stack, _ONE, 2000), await written(stack, _OTHER, 2000)
    fetcher.read({_ONE: left[0], _OTHER: other[0]})
    assert await taken(fetcher, _OTHER, 2000) == list(other)
    await grown(fetcher, [_ONE])
    await came_so_far(fetcher, left, MAX_LEFT_BYTES)


async def test_a_partition_that_was_held_goes_on_without_new_input(
    stack: Stack, fetcher: Fetcher
) -> None:
    """It was left out until it was paused. Then it is taken, or sought, or no longer read, while
    nothing is written."""
    left = await written(stack, _ONE, 2000)

    async def hold() -> None:
        fetcher.read({_ONE: left[0]})
        fetcher.take([_OTHER])
        while not fetcher._paused:
            await fetcher.wait(0.1)
            fetcher.take([_OTHER])

    async with asyncio.timeout(60):
        await hold()
    assert await taken(fetcher, _ONE, 2000) == list(left), "taken"
    async with asyncio.timeout(60):
        await hold()
    fetcher.seek(_ONE, left[10])
    assert await taken(fetcher, _ONE, 1990) == list(left[10:]), "sought"
    async with asyncio.timeout(60):
        await hold()
    fetcher.read({})
    assert await taken_in(fetcher, 0.5) == [], "no longer read"
    fetcher.read({_ONE: left[1990]})
    assert await taken(fetcher, _ONE, 10) == list(left[1990:]), "read again"


async def test_seeks_and_revokes_in_a_burst_lose_and_repeat_nothing(
    stack: Stack, fetcher: Fetcher
) -> None:
    """As a rebalance does, while records come all the time and the loop has room or has none."""
    before = kafka.watermarks(stack, DELIVERIES, _ONE)[1]
    writing = asyncio.create_task(written(stack, _ONE, 6000))
    offset, came = before, []
    fetcher.read({_ONE: offset})
    for turn in range(60):
        await asyncio.sleep(0.02)
        if turn % 4 == 0:
            fetcher.read({_OTHER: 0})
        if turn % 4 == 1:
            fetcher.read({_ONE: offset, _OTHER: 0})
        if turn % 4 == 2:
            fetcher.seek(_ONE, offset)
        for record in fetcher.take([_ONE] if turn % 3 else []).get(_ONE, []):
            came.append(record.offset)
            offset = record.offset + 1
    offsets = await writing
    fetcher.read({_ONE: offset})
    came += await taken(fetcher, _ONE, len(offsets) - len(came))
    assert came == list(offsets)


async def test_what_nobody_takes_waits_in_kafka(stack: Stack, fetcher: Fetcher) -> None:
    """A loop that is held up, and one that takes nothing, are handed so much and no more."""
    offsets = await written(stack, _ONE, 3000)
    fetcher.read({_ONE: offsets[0]})
    await grown(fetcher, [_ONE])
    time.sleep(0.5)  # noqa: ASYNC251  (the loop is held up)
    await asyncio.sleep(0)
    await came_so_far(fetcher, offsets, MAX_WAITING_BYTES)


async def test_an_offset_that_kafka_has_no_more_is_as_good_as_the_first(
    stack: Stack, fetcher: Fetcher
) -> None:
    gone = await written(stack, _ONE, 10)
    await asyncio.to_thread(kafka.expire, stack, DELIVERIES, _ONE)
    left = await written(stack, _ONE, 10)
    fetcher.read({_ONE: gone[0]})
    assert await taken(fetcher, _ONE, 10) == list(left)
