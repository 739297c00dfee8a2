"""What the Kafka in memory can do to a process, on virtual time."""

import asyncio
import random

import pytest

from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.memory_producer import MemoryProducer
from connectors.kafka.ports import KafkaSendError, ReadTimeout
from connectors.kafka.record import Record
from simulation.loop import VirtualLoop
from simulation.process import Process

Reports = dict[bytes, int | None]


class Rig:
    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.loop = VirtualLoop(self.chance)
        self.broker = MemoryBroker(
            {"log": 2, "table": 1},
            lambda: int(self.loop.time() * 1000),
            self.chance,
            self.loop.spend,
        )
        self.process = Process("one", self.loop)
        self.kafka = self.process.call(MemoryKafka, self.broker)
        self.reports: Reports = {}
        """value → its offset, None if it was reported as failed."""

    def producer(self, seconds: float = 0.0) -> MemoryProducer:
        return self.kafka.producer({"message.timeout.ms": int(seconds * 1000)})

    def send(self, producer: MemoryProducer, value: bytes, partition: int = 0) -> None:
        def report(error: Exception | None, offset: int) -> None:
            assert value not in self.reports
            self.reports[value] = None if error else offset

        self.loop.call_soon(producer.send, "log", partition, value, report)

    def log(self, partition: int = 0) -> list[bytes]:
        return [record.value for record in self.broker.read_all("log", partition)]


def test_what_a_paused_process_had_sent_lands_and_the_rest_lands_when_it_wakes() -> None:
    rig = Rig()
    producer = rig.producer()
    rig.send(producer, b"sent")
    rig.loop.call_later(0.00001, rig.process.pause)
    rig.loop.advance(0.0001)
    rig.send(producer, b"queued")
    rig.loop.advance(10)
    assert (rig.log(), rig.reports) == ([b"sent"], {})
    rig.process.wake()
    rig.loop.advance(1)
    assert (rig.log(), rig.reports) == ([b"sent", b"queued"], {b"sent": 0, b"queued": 1})


def test_what_a_process_had_sent_lands_though_it_is_killed() -> None:
    rig = Rig()
    rig.send(rig.producer(), b"sent")
    rig.loop.call_later(0.00001, rig.process.kill)
    rig.loop.advance(1)
    assert (rig.log(), rig.reports) == ([b"sent"], {})


def test_a_partition_without_a_leader_waits_and_keeps_the_order() -> None:
    rig = Rig()
    producer = rig.producer()
    rig.loop.do(rig.broker.lose_leader, "log", 0)
    for number in range(5):
        rig.send(producer, b"%d" % number)
        rig.send(producer, b"other %d" % number, 1)
        rig.loop.advance(0.5)
    assert (rig.log(), len(rig.log(1))) == ([], 5)
    with pytest.raises(ReadTimeout):
        rig.kafka.reader(1.0).watermarks("log", 0)
    rig.loop.do(rig.broker.find_leader, "log", 0)
    rig.loop.advance(1)
    assert rig.log() == [b"%d" % number for number in range(5)]
    assert [rig.reports[b"%d" % number] for number in range(5)] == list(range(5))


def test_what_is_on_its_way_when_the_leader_changes_lands_once_and_in_order() -> None:
    """Before it has landed, and before its acknowledgement is heard."""
    for seed in range(30):
        rig = Rig(seed)
        producer = rig.producer()
        for number in range(5):
            rig.send(producer, b"%d" % number)
            rig.loop.advance(0.001)
            rig.loop.do(rig.broker.change_leader, "log", 0)
        rig.loop.advance(5)
        assert rig.log() == [b"%d" % number for number in range(5)]
        assert rig.reports == {b"%d" % number: number for number in range(5)}


def test_without_enough_brokers_a_partition_is_read_and_not_written() -> None:
    rig = Rig()
    patient, other = rig.producer(), rig.producer(3.0)
    rig.send(patient, b"before")
    rig.loop.advance(1)
    rig.loop.do(rig.broker.lose_replicas, "log", 0)
    rig.send(patient, b"waits")
    rig.send(other, b"is given up")
    rig.loop.advance(5)
    assert rig.kafka.reader(1.0).watermarks("log", 0) == (0, 1)
    assert rig.reports == {b"before": 0, b"is given up": None}
    rig.loop.do(rig.broker.find_replicas, "log", 0)
    rig.loop.advance(1)
    assert rig.log() == [b"before", b"waits"]
    assert rig.reports[b"waits"] == 1


def test_a_record_that_waits_too_long_is_reported_and_does_not_land() -> None:
    rig = Rig()
    rig.loop.do(rig.broker.lose_leader, "log", 0)
    rig.send(rig.producer(3.0), b"late")
    rig.loop.advance(5)
    rig.loop.do(rig.broker.find_leader, "log", 0)
    rig.loop.advance(5)
    assert (rig.log(), rig.reports) == ([], {b"late": None})


def test_an_acknowledgement_that_is_lost_comes_later_or_the_record_counts_as_failed() -> None:
    for seconds, reported in ((0.0, 0), (3.0, None)):
        rig = Rig()
        rig.kafka.cut(sends=True)
        rig.send(rig.producer(seconds), b"landed")
        rig.loop.advance(5)
        rig.loop.do(rig.kafka.mend)
        rig.loop.advance(1)
        assert (rig.log(), rig.reports) == ([b"landed"], {b"landed": reported})


def test_after_a_fatal_error_all_is_reported_and_some_may_land() -> None:
    landed = set()
    for seed in range(30):
        rig = Rig(seed)
        producer = rig.producer()
        for number in range(3):
            rig.send(producer, b"%d" % number)
        rig.loop.advance(0.0002)
        rig.loop.call_soon(rig.kafka.break_producers, rig.chance)
        rig.loop.advance(0.0001)
        rig.send(producer, b"new")
        rig.loop.advance(2)
        old = [value for value in rig.log() if value != b"new"]
        assert old == [b"0", b"1", b"2"][: len(old)], "the first of them"
        assert b"new" in rig.log()
        reported = {number: rig.reports[b"%d" % number] for number in range(3)}
        assert all(o is None or rig.log()[o] == b"%d" % n for n, o in reported.items())
        landed.add((len(old), rig.log()[-1] == b"new"))
    assert {0, 3} <= {count for count, _ in landed}
    assert {True, False} <= {last for _, last in landed}, "it may land behind the new client's"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_records_land_once_and_in_order(seed: int) -> None:
    rig = Rig(seed)
    chance, producer, sent = rig.chance, rig.producer(), 0
    fetched: list[Record] = []

    async def fetch() -> None:
        fetcher = rig.kafka.fetcher("log")
        fetcher.read({0: 0})
        while True:
            await fetcher.wait(1.0)
            fetched.extend(fetcher.take([0]).get(0, []))

    rig.process.start(fetch())
    for _ in range(200):
        kind = chance.random()
        if kind < 0.6:
            rig.send(producer, b"%d" % sent)
            sent += 1
        elif kind < 0.65:
            rig.loop.do(rig.broker.lose_leader, "log", 0)
        elif kind < 0.72:
            rig.loop.do(rig.broker.find_leader, "log", 0)
        elif kind < 0.73:
            rig.loop.do(rig.broker.lose_replicas, "log", 0)
        elif kind < 0.75:
            rig.loop.do(rig.broker.find_replicas, "log", 0)
            rig.loop.do(rig.broker.change_leader, "log", 0)
        elif kind < 0.8:
            rig.kafka.cut(sends=chance.random() < 0.5, hears=chance.random() < 0.5)
        elif kind < 0.9:
            rig.loop.do(rig.kafka.mend)
        elif kind < 0.93:
            rig.process.pause()
        elif kind < 0.97:
            rig.process.wake()
        else:
            rig.loop.do(rig.broker.stop if chance.random() < 0.3 else rig.broker.go_on)
        rig.loop.advance(chance.choice([0.0, 0.001, 0.5]))
    rig.loop.do(rig.broker.go_on)
    rig.loop.do(rig.broker.find_leader, "log", 0)
    rig.loop.do(rig.broker.find_replicas, "log", 0)
    rig.loop.do(rig.kafka.mend)
    rig.process.wake()
    rig.loop.advance(5)
    expected = [b"%d" % number for number in range(sent)]
    assert rig.log() == expected
    assert rig.reports == {value: offset for offset, value in enumerate(expected)}
    assert [record.value for record in fetched] == expected
    assert not rig.loop.faults


def test_a_reader_is_told_of_time_that_it_would_take() -> None:
    rig = Rig()
    rig.broker.stop()

    async def ask() -> float:
        with pytest.raises(ReadTimeout):
            await asyncio.to_thread(rig.kafka.reader(7.0).watermarks, "log", 0)
        return rig.loop.time()

    assert 7.0 < rig.loop.run(ask()) < 8.0


def test_compaction_leaves_the_last_of_each_key() -> None:
    rig = Rig()
    for value, key in ((b"1", b"a"), (b"2", b"b"), (b"3", b"a"), (b"", b"b"), (b"5", b"c")):
        rig.broker.append("table", 0, value, key)
    rig.broker.compact("table")
    assert [(r.offset, r.value) for r in rig.broker.read_all("table", 0)] == [(2, b"3"), (4, b"5")]
    reader = rig.kafka.reader()
    assert [r.offset for r in reader.read("table", 0, 0, 5)] == [2, 4]


def test_a_topic_that_is_created_again_is_another_one() -> None:
    rig = Rig()
    before = rig.broker.topic_ids()["log"]
    rig.broker.append("log", 0, b"x")
    rig.broker.commit("group", "log", 0, 1)
    rig.broker.recreate("log")
    assert rig.broker.topic_ids()["log"] != before
    assert (rig.log(), rig.broker.committed("group", "log", 0)) == ([], None)


async def test_sending_to_a_closed_producer_is_reported() -> None:
    kafka = MemoryKafka(MemoryBroker({"log": 1}))
    kafka.cut()
    producer = kafka.producer({})
    waiting = asyncio.create_task(producer.send_and_wait("log", 0, b"x"))
    await asyncio.sleep(0)
    await producer.close(0.01)
    with pytest.raises(KafkaSendError):
        await waiting
