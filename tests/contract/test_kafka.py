"""The Kafka port: one suite, in memory and on a real Kafka.

Each test takes partitions of its own, or reads from where they end.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import KafkaCluster
from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.ports import Kafka, KafkaSendError, OffsetGone, QueueFull, ReadTimeout
from connectors.kafka.record import Record
from schemas.topics import CHUNKS, CURSORS, DEAD_LETTERS, LOG, MEMBERSHIPS, RECEIPTS
from streams.inputs import Inputs
from tests.harness.kafka_server import PARTITIONS, SLOTS, KafkaServer

SECONDS = 15.0
_numbers = itertools.count()


class Rig:
    """A Kafka, and what only its operator can do."""

    def __init__(self, kafka: Kafka, server: KafkaServer | None, broker: MemoryBroker) -> None:
        self.kafka = kafka
        self._server = server
        self._broker = broker
        self.partition = next(_numbers) % PARTITIONS
        """Nobody else's."""

    def expire(self, topic: str, before: int) -> None:
        if self._server is None:
            self._broker.expire(topic, self.partition, before)
        else:
            self._server.admin.expire(topic, self.partition, before)

    def delete(self, topic: str) -> None:
        """Only one that the twin never has."""
        if self._server is not None:
            admin = AdminClient({"bootstrap.servers": self._server.servers})
            admin.delete_topics([topic], operation_timeout=SECONDS)[topic].result()
            until = time.monotonic() + SECONDS
            while topic in admin.list_topics(timeout=SECONDS).topics:
                assert time.monotonic() < until, "the broker still names the topic"
                time.sleep(0.05)

    def commit(self, group: str, topic: str, offset: int) -> None:
        if self._server is None:
            self._broker.commit(group, topic, self.partition, offset)
            return
        consumer = Consumer({"bootstrap.servers": self._server.servers, "group.id": group})
        consumer.commit(offsets=[TopicPartition(topic, self.partition, offset)], asynchronous=False)
        consumer.close()

    async def write(self, topic: str, *values: bytes) -> list[int]:
        producer = self.kafka.producer({})
        offsets = [await producer.send_and_wait(topic, self.partition, value) for value in values]
        await producer.close(1)
        return offsets

    async def read(self, topic: str, start: int, end: int) -> list[bytes]:
        def read() -> list[bytes]:
            reader = self.kafka.reader(SECONDS)
            found = [record.value for record in reader.read(topic, self.partition, start, end)]
            reader.close()
            return found

        return await asyncio.to_thread(read)


@pytest.fixture(params=["memory", "real"])
async def rig(request: pytest.FixtureRequest) -> Rig:
    counts = dict.fromkeys((LOG, CURSORS, RECEIPTS, DEAD_LETTERS, CHUNKS), PARTITIONS)
    broker = MemoryBroker({**counts, "deliveries": SLOTS})
    if request.param == "memory":
        return Rig(MemoryKafka(broker), None, broker)
    server: KafkaServer = request.getfixturevalue("server")
    return Rig(KafkaCluster(server.servers, server.admin), server, broker)


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def values(records: Sequence[Record]) -> list[bytes]:
    return [record.value for record in records]


async def test_what_is_deleted_is_gone_and_offsets_stay(rig: Rig) -> None:
    first, *_, last = await rig.write(CHUNKS, b"1", b"2", b"3")
    await asyncio.to_thread(rig.kafka.delete_before, CHUNKS, rig.partition, last)
    with contextlib.closing(rig.kafka.reader(SECONDS)) as reader:
        start, end = await asyncio.to_thread(reader.watermarks, CHUNKS, rig.partition)
    assert (start, end) == (last, last + 1)
    # a second time, and by somebody who is late, it does no harm
    await asyncio.to_thread(rig.kafka.delete_before, CHUNKS, rig.partition, first)
    assert await rig.read(CHUNKS, last, end) == [b"3"]


async def test_what_was_acknowledged_can_be_read(rig: Rig) -> None:
    before = time.time() * 1000
    assert await rig.write(LOG, b"one", b"two", b"") == [0, 1, 2]
    reader = rig.kafka.reader(SECONDS)
    assert await asyncio.to_thread(reader.watermarks, LOG, rig.partition) == (0, 3)
    records = await asyncio.to_thread(lambda: list(reader.read(LOG, rig.partition, 0, 3)))
    assert [(r.partition, r.offset, r.value) for r in records] == [
        (rig.partition, 0, b"one"),
        (rig.partition, 1, b"two"),
        (rig.partition, 2, b""),
    ]
    assert all(before - 1000 <= r.timestamp <= time.time() * 1000 + 1000 for r in records)
    assert await rig.read(LOG, 1, 2) == [b"two"]
    assert await rig.read(LOG, 2, 2) == []
    batches = reader.batches(LOG, rig.partition, 0, 3, lambda: True)
    assert await asyncio.to_thread(lambda: list(batches)) == []
    reader.close()


async def test_reports_come_in_order_with_offsets(rig: Rig) -> None:
    producer = rig.kafka.producer({})
    reports: list[tuple[Exception | None, int]] = []
    for number in range(20):
        producer.send(
            LOG,
            rig.partition,
            b"%d" % number,
            lambda error, offset: reports.append((error, offset)),
            b"key",
        )
    assert len(producer) == 20, "the same turn of the loop"
    await until(lambda: len(producer) == 0)
    await until(lambda: len(reports) == 20)
    assert reports == [(None, offset) for offset in range(20)]
    assert await rig.read(LOG, 0, 20) == [b"%d" % number for number in range(20)]
    await producer.close(1)


async def test_a_producer_that_reports_errors_only_is_silent_when_all_is_well(rig: Rig) -> None:
    producer = rig.kafka.producer({"delivery.report.only.error": True})
    reports: list[int] = []
    producer.send(LOG, rig.partition, b"one", lambda error, offset: reports.append(offset))
    await until(lambda: len(producer) == 0)
    await producer.close(1)
    assert reports == []
    assert await rig.read(LOG, 0, 1) == [b"one"]


async def test_a_queue_has_a_bound_and_what_is_purged_is_reported(rig: Rig) -> None:
    producer = rig.kafka.producer({"queue.buffering.max.messages": 3, "linger.ms": 60_000})
    reports: list[Exception | None] = []
    for _ in range(3):
        producer.send(LOG, rig.partition, b"x", lambda error, offset: reports.append(error))
    with pytest.raises(QueueFull):
        producer.send(LOG, rig.partition, b"x")
    await producer.close(0)
    await until(lambda: len(reports) == 3)
    assert all(error is not None for error in reports)
    assert len(producer) == 0


async def test_what_kafka_does_not_take_in_time_is_reported(rig: Rig) -> None:
    producer = rig.kafka.producer({"message.timeout.ms": 200, "linger.ms": 100})
    if isinstance(rig.kafka, MemoryKafka):
        rig.kafka.broker.lose_leader(LOG, rig.partition)
        with pytest.raises(KafkaSendError):
            await producer.send_and_wait(LOG, rig.partition, b"x")
    else:
        with pytest.raises(KafkaSendError):
            await producer.send_and_wait(LOG, PARTITIONS + 7, b"x")
    await producer.close(0)


async def test_who_reads_what_is_not_there_hears_so(rig: Rig) -> None:
    await rig.write(LOG, *(b"%d" % number for number in range(5)))
    rig.expire(LOG, 3)
    reader = rig.kafka.reader(1.0)
    assert await asyncio.to_thread(reader.watermarks, LOG, rig.partition) == (3, 5)
    everywhere = await asyncio.to_thread(reader.all_watermarks, LOG, [rig.partition, 1], SECONDS)
    assert everywhere[rig.partition] == (3, 5)
    assert everywhere.keys() == {rig.partition, 1}
    places = [(LOG, rig.partition), (LOG, 1), (RECEIPTS, 1)]
    starts = await asyncio.to_thread(reader.all_starts, places, SECONDS)
    ends = await asyncio.to_thread(reader.all_ends, places, SECONDS)
    found = {place: (starts[place], ends[place]) for place in places}
    assert found[LOG, rig.partition] == (3, 5)
    assert found[LOG, 1] == everywhere[1]
    assert found[RECEIPTS, 1] == await asyncio.to_thread(reader.watermarks, RECEIPTS, 1)
    for start, error in ((2, OffsetGone), (6, OffsetGone), (5, ReadTimeout)):
        with pytest.raises(error):
            await asyncio.to_thread(list, reader.read(LOG, rig.partition, start, 9))
    assert await rig.read(LOG, 3, 5) == [b"3", b"4"]
    reader.close()


async def test_one_record_is_read_by_the_client_that_asks_for_ends(rig: Rig) -> None:
    await rig.write(LOG, *(b"%d" % number for number in range(5)))
    rig.expire(LOG, 2)
    inputs = Inputs(rig.kafka)
    for _ in range(3):
        for offset in (4, 2):
            record = await inputs.record(LOG, rig.partition, offset)
            assert (record.offset, record.value) == (offset, b"%d" % offset)
            assert await inputs.end(LOG, rig.partition) == 5
        with pytest.raises(OffsetGone):
            await inputs.record(LOG, rig.partition, 1)
    await inputs.close()


async def test_what_a_group_committed(rig: Rig) -> None:
    await rig.write(LOG, b"one", b"two")
    group = f"group-{rig.partition}"
    reader = rig.kafka.reader(SECONDS, group)
    assert await asyncio.to_thread(reader.committed, LOG, rig.partition) is None
    rig.commit(group, LOG, 2)
    assert await asyncio.to_thread(reader.committed, LOG, rig.partition) == 2
    reader.close()


async def test_a_fetcher_reads_on_from_where_it_is_told(rig: Rig) -> None:
    await rig.write(LOG, b"0", b"1", b"2")
    fetcher = rig.kafka.fetcher(LOG)
    fetcher.read({rig.partition: 1})
    await fetcher.wait(SECONDS)
    assert fetcher.has([rig.partition])
    assert not fetcher.has([rig.partition + 1])
    assert {p: values(r) for p, r in fetcher.take([rig.partition]).items()} == {
        rig.partition: [b"1", b"2"]
    }
    assert fetcher.take([rig.partition]) == {}
    await rig.write(LOG, b"3")
    await until(lambda: fetcher.has([rig.partition]))
    fetcher.seek(rig.partition, 0)
    assert not fetcher.has([rig.partition]), "what waited is dropped"
    await until(lambda: fetcher.has([rig.partition]))
    assert values(fetcher.take([rig.partition])[rig.partition]) == [b"0", b"1", b"2", b"3"]
    fetcher.read({})
    await rig.write(LOG, b"4")
    began = time.monotonic()
    await fetcher.wait(0.3)
    assert time.monotonic() - began >= 0.29
    assert not fetcher.has([rig.partition])
    await fetcher.close()


async def test_records_name_the_epoch_of_the_leader_that_took_them(rig: Rig) -> None:
    await rig.write(LOG, b"one", b"two")
    fetcher = rig.kafka.fetcher(LOG)
    fetcher.read({rig.partition: 0})
    fetched = list[Record]()
    while len(fetched) < 2:
        await fetcher.wait(SECONDS)
        fetched += fetcher.take([rig.partition]).get(rig.partition, [])
    await fetcher.close()
    reader = rig.kafka.reader(SECONDS)
    read = await asyncio.to_thread(lambda: list(reader.read(LOG, rig.partition, 0, 2)))
    reader.close()
    first, *others = [record.epoch for record in (*fetched, *read)]
    assert first >= 0
    assert others == [first] * 3


async def test_a_fetcher_goes_to_the_first_offset_that_there_is(rig: Rig) -> None:
    await rig.write(LOG, *(b"%d" % number for number in range(5)))
    rig.expire(LOG, 3)
    fetcher = rig.kafka.fetcher(LOG)
    for offset in (1, 99):
        fetcher.read({rig.partition: offset})
        await until(lambda: fetcher.has([rig.partition]))
        assert values(fetcher.take([rig.partition])[rig.partition]) == [b"3", b"4"]
    await fetcher.close()


async def test_a_consumer_hands_over_everything_from_its_offset_on(rig: Rig) -> None:
    await rig.write(LOG, b"0", b"1", b"2")
    got: list[bytes] = []
    lost: list[str] = []
    consumer = rig.kafka.partition_consumer(
        LOG, rig.partition, 1, lambda records: got.extend(values(records)), lost.append
    )
    await until(lambda: got == [b"1", b"2"])
    await rig.write(LOG, b"3")
    await until(lambda: got == [b"1", b"2", b"3"])
    await consumer.close()
    await rig.write(LOG, b"4")
    await asyncio.sleep(0.1)
    assert (got[3:], lost) == ([], [])


@pytest.mark.parametrize("offset", [1, 9])
async def test_a_consumer_whose_offset_is_gone_says_so_once(rig: Rig, offset: int) -> None:
    await rig.write(LOG, b"0", b"1", b"2")
    rig.expire(LOG, 2)
    got: list[bytes] = []
    lost: list[str] = []
    consumer = rig.kafka.partition_consumer(
        LOG, rig.partition, offset, lambda records: got.extend(values(records)), lost.append
    )
    await until(lambda: lost)
    await rig.write(LOG, b"3")
    await asyncio.sleep(0.1)
    assert (len(lost), got) == (1, [])
    await consumer.close()


async def test_topics_have_ids(rig: Rig) -> None:
    ids = dict(await asyncio.to_thread(rig.kafka.topic_ids))
    assert {LOG, CURSORS} <= ids.keys()
    assert ids[LOG] != ids[CURSORS]
    assert await asyncio.to_thread(rig.kafka.topic_ids) == ids
    rig.delete(MEMBERSHIPS)
    ids.pop(MEMBERSHIPS, None)
    assert await asyncio.to_thread(rig.kafka.topic_ids) == ids
