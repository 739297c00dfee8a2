"""Sends records to Kafka that it must acknowledge before the caller does anything else."""

import asyncio
from collections.abc import Sequence

from connectors.kafka.ports import KafkaSendError, Producer, QueueFull

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
