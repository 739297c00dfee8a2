"""The gateway's consumer at its bound."""

import asyncio
import time

import pytest

from connectors.kafka.consumer import MAX_BATCH, MAX_HANDED, MAX_QUEUED_KIB, PartitionConsumer
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


async def test_deliveries_that_the_node_does_not_take_wait_in_kafka(stack: Stack) -> None:
    """A loop that is held up again and again is handed few fetches meanwhile, of few bytes; all
    come, once, in order."""
    small, large = 2 * MAX_HANDED * MAX_BATCH, 100
    values = [delivery(1)] * small + [delivery(MAX_DELIVERY_BYTES - 1000)] * large
    await asyncio.to_thread(kafka.produce_many, stack, DELIVERIES, _FREE_SLOT, values)
    loop = asyncio.get_running_loop()
    offsets: list[int] = []
    turns: list[list[list[Record]]] = []
    """What had been handed over and not taken, each time."""
    held_up = False

    def take(records: list[Record]) -> None:
        nonlocal held_up
        offsets.extend(record.offset for record in records)
        if held_up:
            turns[-1].append(records)
        else:
            held_up = True
            turns.append([])
            time.sleep(0.2)
            loop.call_soon(go_on)

    def go_on() -> None:
        nonlocal held_up
        held_up = False

    consumer = PartitionConsumer(stack.kafka, DELIVERIES, _FREE_SLOT, 0, take, pytest.fail)
    async with asyncio.timeout(60):
        while len(offsets) < len(values):
            await asyncio.sleep(0.01)
    await consumer.close()
    await asyncio.to_thread(
        kafka.expire, stack, DELIVERIES, _FREE_SLOT
    )  # they are no frames: the judge would say so
    assert offsets == list(range(len(values)))
    assert max(map(len, turns)) == MAX_HANDED
    most = max(sum(len(record.value) for records in turn for record in records) for turn in turns)
    # librdkafka looks at its queue before it fetches, and a fetch brings a record at least
    assert most <= MAX_HANDED * (MAX_QUEUED_KIB * 1024 + 2 * MAX_DELIVERY_BYTES), (
        f"{most >> 20} MiB"
    )
