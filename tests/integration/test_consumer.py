"""The gateway's consumer and the reader at their bounds."""

import asyncio
import time
from collections import Counter

import pytest

from connectors.kafka import queue_wakeups, reader
from connectors.kafka.consumer import PartitionConsumer
from connectors.kafka.healing_consumer import MAX_BATCH, MAX_QUEUED_KIB
from connectors.kafka.record import Record
from schemas.codec import MAX_DELIVERY_BYTES, encode_event
from schemas.events import SCHEMA_VERSION, AnswerDelivered, DeliveryRecord
from schemas.topics import DELIVERIES
from tests.harness import kafka
from tests.harness.stack import Stack

pytestmark = pytest.mark.real
_FREE_SLOT = 7
"""Held by no node."""


def delivery(size: int) -> bytes:
    """A record to a device that is not there."""
    return encode_event(
        DeliveryRecord(SCHEMA_VERSION, [AnswerDelivered("nobody", "one", bytes(size))])
    )


@pytest.mark.parametrize("by", ["descriptor", "timer"])
async def test_deliveries_that_the_node_does_not_take_wait_in_kafka(
    stack: Stack, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that is held up again and again is handed two fetches a turn, of few bytes; all
    come, once, in order."""
    if by == "timer":
        monkeypatch.setattr(queue_wakeups, "_library", None)
    small, large = 16 * MAX_BATCH, 100
    values = [delivery(1)] * small + [delivery(MAX_DELIVERY_BYTES - 1000)] * large
    await asyncio.to_thread(kafka.produce_many, stack, DELIVERIES, _FREE_SLOT, values)
    first = kafka.watermarks(stack, DELIVERIES, _FREE_SLOT)[0]
    loop = asyncio.get_running_loop()
    offsets: list[int] = []
    fetches: list[list[Record]] = []
    turn, turns = 0, []

    def next_turn() -> None:
        nonlocal turn
        turn += 1

    def take(records: list[Record]) -> None:
        offsets.extend(record.offset for record in records)
        fetches.append(records)
        turns.append(turn)
        time.sleep(0.02)
        loop.call_soon(next_turn)

    consumer = PartitionConsumer(stack.kafka, DELIVERIES, _FREE_SLOT, first, take, pytest.fail)
    async with asyncio.timeout(60):
        while len(offsets) < len(values):
            await asyncio.sleep(0.01)
    await consumer.close()
    await asyncio.to_thread(
        kafka.expire, stack, DELIVERIES, _FREE_SLOT
    )  # they are no frames: the judge would say so
    assert offsets == list(range(first, first + len(values)))
    assert max(Counter(turns).values()) <= 2, "one by what wakes it, one since it goes on"
    assert max(map(len, fetches)) == MAX_BATCH
    most = max(sum(len(record.value) for record in records) for records in fetches)
    # librdkafka looks at its queue before it fetches, and a fetch brings a record at least
    assert most <= MAX_QUEUED_KIB * 1024 + 2 * MAX_DELIVERY_BYTES, f"{most >> 20} MiB"


def test_a_reader_that_is_slower_than_kafka_has_little_in_memory(stack: Stack) -> None:
    values = [delivery(MAX_DELIVERY_BYTES // 4)] * 100
    kafka.produce_many(stack, DELIVERIES, _FREE_SLOT, values)
    end = kafka.watermarks(stack, DELIVERIES, _FREE_SLOT)[1]
    one = reader.Reader(stack.kafka)
    sizes = []
    for batch in one.batches(DELIVERIES, _FREE_SLOT, end - len(values), end):
        sizes.append(sum(len(record.value) for record in batch))
        time.sleep(0.3)
    one.close()
    kafka.expire(stack, DELIVERIES, _FREE_SLOT)
    assert sum(sizes) == sum(map(len, values))
    assert max(sizes) <= (reader.MAX_QUEUED_KIB + 2 * 1024) * 1024, f"{max(sizes) >> 20} MiB"
