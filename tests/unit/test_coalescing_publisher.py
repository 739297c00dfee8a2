"""Small facts on their way to Kafka: merged, bounded, and said again."""

import asyncio
from collections.abc import Callable

import pytest

from connectors.kafka.ports import QueueFull
from gateway.coalescing_publisher import CoalescingPublisher
from gateway.receipts import Receipts
from schemas.codec import decode_receipts
from schemas.events import Receipt
from schemas.ids import partition_of
from tests.harness.fake_gateway import eventually


class SlowKafka:
    """Takes records, or not; reports when it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.reports: list[Callable[[object, int], None]] = []
        self.full = False

    def __len__(self) -> int:
        return 0

    def send(
        self, topic: str, partition: int, value: bytes, report: Callable[[object, int], None]
    ) -> None:
        if self.full:
            raise QueueFull
        self.sent.append((partition, value))
        self.reports.append(report)


def receipts_in(kafka: SlowKafka) -> list[tuple[int, int]]:
    """(partition, seq) of what was sent."""
    found = [(place, item) for place, value in kafka.sent for item in decode_receipts(value).items]
    kafka.sent.clear()
    return [(place, item.seq) for place, item in found if isinstance(item, Receipt)]


async def test_facts_of_the_same_thing_are_merged_and_said_again_when_kafka_does_not_take_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.coalescing_publisher._RETRY_SECONDS", 0.01)
    monkeypatch.setattr("gateway.coalescing_publisher.MAX_WAITING", 2)
    kafka = SlowKafka()
    receipts = Receipts(kafka, 4)  # type: ignore[arg-type]
    place = partition_of("alice:bob", 4)

    def submit(seq: int, device: str = "phone") -> bool:
        return receipts.submit(Receipt("alice:bob", "bob", device, seq, False))

    assert [submit(seq) for seq in (3, 5, 4)] == [True, True, True]
    await asyncio.sleep(0.02)
    assert receipts_in(kafka) == [(place, 5)]
    submit(2)
    kafka.reports.pop()("not taken", -1)
    await asyncio.sleep(0.02)
    assert receipts_in(kafka) == [(place, 5)], "the higher one, though it is older"
    kafka.full = True
    assert submit(6)
    await asyncio.sleep(0.02)
    assert [submit(1, device) for device in ("tablet", "watch")] == [True, False], "two wait"
    kafka.full = False
    await asyncio.sleep(0.02)
    assert sorted(receipts_in(kafka)) == [(place, 1), (place, 6)]


async def test_a_fact_alone_goes_at_once_and_the_next_ones_together_after_a_rest() -> None:
    kafka = SlowKafka()
    facts = CoalescingPublisher[bytes](
        kafka,  # type: ignore[arg-type]
        "topic",
        b" ".join,
        lambda _, later: later,
        lambda fact, _: fact,
        0.002,
        rest=0.3,
    )
    facts.put("a", 0, b"first")
    async with asyncio.timeout(0.2):
        while not kafka.sent:
            await asyncio.sleep(0.001)
    for key, fact in (("a", b"second"), ("b", b"third"), ("a", b"fourth")):
        facts.put(key, 0, fact)
        await asyncio.sleep(0.01)
    assert kafka.sent == [(0, b"first")]
    await eventually(lambda: kafka.sent == [(0, b"first"), (0, b"fourth third")])
