"""Sending to Kafka what must be acknowledged before anything else is done."""

import asyncio
from collections.abc import Mapping, Sequence

from connectors.kafka.ports import Producer
from schemas.codec import encode_deliveries
from schemas.events import Delivered
from schemas.topics import DELIVERIES

Keyed = tuple[int, bytes, bytes | None]
"""(partition, value, key) of a record."""


async def send_all(producer: Producer, topic: str, records: Sequence[Keyed]) -> None:
    """Send records; returns when all are acknowledged. Raises KafkaSendError or QueueFull, once
    what could be sent has its report: send all of them again."""
    results = await asyncio.gather(
        *(producer.send_and_wait(topic, *record) for record in records), return_exceptions=True
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result


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
