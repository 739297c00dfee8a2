"""Sending to Kafka what must be acknowledged before anything else is done."""

import asyncio
from collections.abc import Mapping, Sequence

from connectors.kafka.ports import KafkaSendError, Producer, QueueFull
from schemas.codec import encode_deliveries
from schemas.events import Delivered
from schemas.topics import DELIVERIES

Keyed = tuple[int, bytes, bytes | None]
"""(partition, value, key) of a record."""


async def send_all(producer: Producer, topic: str, records: Sequence[Keyed]) -> None:
    """Send records; returns when all are acknowledged. Raises KafkaSendError or QueueFull, once
    what could be sent has its report: send all of them again."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed: Exception | None = None
    unreported = 1  # this function itself, until everything is sent

    def report(error: Exception | None, offset: int) -> None:
        nonlocal failed, unreported
        if error is not None:
            failed = KafkaSendError(str(error))
        unreported -= 1
        if not unreported and not done.done():
            done.set_result(None)

    for partition, value, key in records:
        unreported += 1
        try:
            producer.send(topic, partition, value, report, key)
        except QueueFull as error:
            unreported -= 1
            failed = error
            break
    report(None, -1)
    await done
    if failed is not None:
        raise failed


async def deliver(producer: Producer, slots: Mapping[int, Sequence[Delivered]]) -> None:
    """Deliver slot → events to gateways; returns when they are acknowledged. Raises as `send_all`
    does."""
    await send_all(
        producer,
        DELIVERIES,
        [
            (slot, value, None)
            for slot, events in slots.items()
            for value in encode_deliveries(events)
        ],
    )
