"""How a librdkafka client wakes the loop, and what of confluent-kafka that relies on."""

import asyncio
import ctypes
from collections.abc import Callable
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import Consumer, KafkaError, Producer

from connectors.kafka import queue_wakeups
from connectors.kafka.queue_wakeups import READ_VERSIONS, wakeups

_NOWHERE = {"bootstrap.servers": "127.0.0.1:1", "client.id": "ours", "log_level": 0}


def test_the_pinned_confluent_kafka_is_the_one_that_was_read() -> None:
    assert (confluent_kafka.version(), confluent_kafka.libversion()[0]) == READ_VERSIONS
    pins = (Path(__file__).parents[2] / "constraints.txt").read_text().split()
    assert f"confluent-kafka=={READ_VERSIONS[0]}" in pins


@pytest.mark.parametrize("client", [Consumer({**_NOWHERE, "group.id": "g"}), Producer(_NOWHERE)])
def test_the_c_client_is_the_first_member_of_the_python_object(client: Consumer | Producer) -> None:
    library = queue_wakeups._library
    assert library is not None
    library.rd_kafka_name.restype = ctypes.c_char_p
    library.rd_kafka_name.argtypes = [ctypes.c_void_p]
    kind = "consumer" if isinstance(client, Consumer) else "producer"
    assert library.rd_kafka_name(queue_wakeups._handle(client)).startswith(f"ours#{kind}-".encode())


@pytest.mark.parametrize("by", ["descriptor", "timer"])
async def test_a_client_wakes_the_loop_until_its_wakeups_are_closed(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the errors of a broker that is not there; by the descriptor no more often than needed."""
    if by == "timer":
        monkeypatch.setattr(queue_wakeups, "_library", None)
    errors: list[KafkaError] = []
    producer = Producer({**_NOWHERE, "error_cb": errors.append})
    calls = 0

    def poll() -> None:
        nonlocal calls
        calls += 1
        producer.poll(0)

    waking = wakeups(producer, poll)
    await _until(lambda: len(errors) >= 2)
    waking.close()
    waking.close()
    before = calls
    await asyncio.sleep(1.2)
    assert calls == before


async def test_reports_wake_the_loop_at_once() -> None:
    """Without a thread and without a timer: purged records are reported in the next turns."""
    producer = Producer(_NOWHERE)
    reported: list[int] = []
    waking = wakeups(producer, lambda: producer.poll(0))
    await asyncio.sleep(0.05)
    for number in range(3):
        for _ in range(10):
            producer.produce(
                "t", b"v", partition=0, on_delivery=lambda error, message: reported.append(1)
            )
        await asyncio.to_thread(producer.purge)
        await asyncio.sleep(0.05)
        assert len(reported) == 10 * (number + 1)
    waking.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
