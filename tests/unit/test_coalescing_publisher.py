"""Small facts on their way to Kafka: merged, bounded, and sent again."""

import asyncio

import pytest

from gateway.coalescing_publisher import CoalescingPublisher
from tests.harness.slow_kafka import SlowKafka, fail
from tests.harness.virtual import run


def publisher(kafka: SlowKafka, rest: float = 0.0) -> CoalescingPublisher[bytes]:
    """Of two facts with the same key the greater one stays."""
    return CoalescingPublisher[bytes](
        *(kafka, "topic", b" ".join, max, lambda key, fact, _: [(key, fact)], 0.002, rest)
    )


def sent(kafka: SlowKafka) -> list[tuple[int, bytes]]:
    """(partition, value) of what was sent since the last call."""
    return [(record.partition, record.value) for record in kafka.take()]


def test_facts_with_the_same_key_are_merged_while_they_wait() -> None:
    async def scenario() -> None:
        kafka = SlowKafka()
        facts = publisher(kafka)
        for key, partition, fact in (
            ("a", 0, b"1"),
            ("b", 1, b"5"),
            ("a", 0, b"3"),
            ("a", 0, b"2"),
        ):
            assert facts.put(key, partition, fact)
        await asyncio.sleep(0.01)
        assert sorted(sent(kafka)) == [(0, b"3"), (1, b"5")]
        assert facts.submitted == 2

    run(scenario())


def test_what_kafka_does_not_take_is_sent_again_merged_with_what_has_come_since() -> None:
    async def scenario() -> None:
        kafka = SlowKafka()
        facts = publisher(kafka)
        facts.put("a", 0, b"5")
        facts.put("b", 0, b"6")
        await asyncio.sleep(0.01)
        (record,) = kafka.take()
        facts.put("a", 0, b"2")
        fail(record)
        await asyncio.sleep(2)
        assert sent(kafka) == [(0, b"6 5")], "what is put later is sent later"

    run(scenario())


def test_a_full_queue_is_tried_again_and_what_waits_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.coalescing_publisher.MAX_WAITING", 2)

    async def scenario() -> None:
        kafka = SlowKafka()
        kafka.full = True
        facts = publisher(kafka)
        assert [facts.put(key, 0, b"1") for key in "abc"] == [True, True, False]
        assert facts.put("a", 0, b"2"), "that one waits already"
        await asyncio.sleep(3)
        kafka.full = False
        await asyncio.sleep(2)
        assert sent(kafka) == [(0, b"1 2")]
        assert facts.put("c", 0, b"1")

    run(scenario())


def test_a_partition_that_fails_does_not_hold_the_others_up() -> None:
    async def scenario() -> None:
        kafka = SlowKafka()
        facts = publisher(kafka)
        facts.put("a", 0, b"1")
        await asyncio.sleep(0.01)
        (record,) = kafka.take()
        fail(record)
        facts.put("b", 1, b"1")
        await asyncio.sleep(0.01)
        assert (1, b"1") in sent(kafka)

    run(scenario())


def test_a_fact_alone_goes_at_once_and_the_next_ones_together_after_a_rest() -> None:
    async def scenario() -> None:
        kafka = SlowKafka()
        facts = publisher(kafka, rest=0.3)
        facts.put("a", 0, b"1")
        await asyncio.sleep(0.003)
        assert sent(kafka) == [(0, b"1")]
        for key, fact in (("a", b"2"), ("b", b"3"), ("a", b"4")):
            facts.put(key, 0, fact)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert sent(kafka) == []
        await asyncio.sleep(0.1)
        assert sent(kafka) == [(0, b"3 4")]

    run(scenario())
