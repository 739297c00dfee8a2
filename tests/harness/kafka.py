"""What an accident or an operator may do to Kafka."""

import itertools
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from connectors.kafka.admin import TopicsAdmin
from connectors.kafka.reader import Reader
from connectors.kafka.record import Record
from connectors.kafka.wanted_topics import WantedTopics
from schemas.topics import DELIVERIES, all_topics
from tests.harness.stack import Stack


def produce(stack: Stack, topic: str, partition: int, *values: bytes) -> None:
    """Write records, acknowledged one by one."""
    producer = Producer(
        {"bootstrap.servers": stack.kafka, "acks": "all", "message.max.bytes": 8_000_000}
    )
    errors: list[object] = []
    for value in values:
        producer.produce(
            topic, value, partition=partition, on_delivery=lambda error, _: errors.append(error)
        )
        producer.flush(10)
    assert errors == [None] * len(values), errors


def produce_many(
    stack: Stack,
    topic: str,
    partition: int,
    values: Iterable[bytes],
    keys: Iterable[bytes | None] = itertools.repeat(None),
) -> None:
    """The same, as fast as may be, with keys if there are any."""
    producer = Producer(
        {
            "bootstrap.servers": stack.kafka,
            "acks": "all",
            "message.max.bytes": 8_000_000,
            "linger.ms": 5,
        }
    )
    errors: list[object] = []
    for value, key in zip(values, keys, strict=False):
        producer.produce(
            topic,
            value,
            key,
            partition=partition,
            on_delivery=lambda error, _: errors.append(error),
        )
    producer.flush(60)
    assert set(errors) <= {None}, set(errors)


def read_all(stack: Stack, topic: str, partition: int) -> list[Record]:
    reader = Reader(stack.kafka)
    try:
        start, end = reader.watermarks(topic, partition)
        return list(reader.read(topic, partition, start, end))
    finally:
        reader.close()


def watermarks(stack: Stack, topic: str, partition: int) -> tuple[int, int]:
    """(first offset, offset after the last)."""
    reader = Reader(stack.kafka)
    try:
        return reader.watermarks(topic, partition)
    finally:
        reader.close()


def forget_group(stack: Stack, group: str) -> None:
    """The group's committed offsets are gone. It must have no members."""
    admin = AdminClient({"bootstrap.servers": stack.kafka})
    until = time.monotonic() + 15
    while True:
        try:
            admin.delete_consumer_groups([group])[group].result()
            return
        except Exception:
            assert time.monotonic() < until, "the group does not become empty"
            time.sleep(0.3)


def recreate(stack: Stack, topic: str, partitions: int = 4) -> None:
    """Delete a topic and create it again, empty."""
    admin = AdminClient({"bootstrap.servers": stack.kafka})
    admin.delete_topics([topic])[topic].result()
    until = time.monotonic() + 15
    while topic in admin.list_topics(timeout=5).topics:
        assert time.monotonic() < until
        time.sleep(0.2)
    TopicsAdmin(stack.kafka, WantedTopics(partitions, 8, 1)).create()


def add_partitions(stack: Stack, partitions: int) -> None:
    """As an operator may by mistake: Kafka can never take them back."""
    admin = AdminClient({"bootstrap.servers": stack.kafka})
    names = [name for name in all_topics() if name != DELIVERIES]
    for done in admin.create_partitions(
        [NewPartitions(name, partitions) for name in names]
    ).values():
        done.result()


def expire(stack: Stack, topic: str, partition: int, before: int | None = None) -> None:
    """The records of a partition before an offset expire, as by retention; all by default."""
    if before is None:
        before = watermarks(stack, topic, partition)[1]
    TopicsAdmin(stack.kafka, WantedTopics(4, 8)).expire(topic, partition, before)


def cut_tail(stack: Stack, topic: str, partition: int, batches: int) -> None:
    """The last record batches of a partition are lost, as when a disk lost them. The broker must be
    stopped."""
    data: Path = stack.home / "kafka" / "data"
    segment = data / f"{topic}-{partition}" / f"{0:020d}.log"
    content = segment.read_bytes()
    starts, position = [], 0
    while position + 12 <= len(content):
        starts.append(position)
        position += 12 + struct.unpack_from(">i", content, position + 8)[0]
    assert len(starts) >= batches
    with segment.open("r+b") as file:
        file.truncate(starts[-batches])
    for index in (
        *segment.parent.glob("*.index"),
        *segment.parent.glob("*.timeindex"),
        *segment.parent.glob("*.snapshot"),
    ):
        index.unlink()
    for checkpoint in ("recovery-point-offset-checkpoint", ".kafka_cleanshutdown"):
        (data / checkpoint).unlink(missing_ok=True)
