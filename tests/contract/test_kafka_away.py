"""What Kafka's clients do when the broker is away, silent or cuts connections, on a real one."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest
from confluent_kafka import Producer, TopicPartition

from connectors.dependency import Dependency
from connectors.kafka.cluster import KafkaCluster
from connectors.kafka.healing_consumer import HealingConsumer
from connectors.kafka.ports import KafkaSendError, KafkaUnreachable, QueueFull, ReadTimeout
from connectors.kafka.reader import Reader
from connectors.kafka.record import Record
from connectors.kafka.recovering_producer import RecoveringProducer
from schemas.topics import LOG
from streams.inputs import Inputs
from tests.harness.kafka_proxy import KafkaProxy
from tests.harness.kafka_server import KafkaServer

pytestmark = pytest.mark.real
_TOLD, _FETCHED, _CONSUMED = 28, 30, 31
"""Partitions of one test, and of the fetcher and the consumer of the others."""
_PAUSED_SECONDS = 5.0
"""Longer than a broker's session (ops/local/kafka.py)."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    with contextlib.closing(Reader(server.servers, 1.0)) as reader:
        for partition in range(29, 32):
            _end(reader, partition)
    yield server
    server.stop()


def _end(reader: Reader, partition: int) -> int:
    """The partition's end, once it has a leader: not while it is new, or the broker was away."""
    until = time.monotonic() + 30
    while True:
        try:
            return reader.watermarks(LOG, partition)[1]
        except ReadTimeout:
            assert time.monotonic() < until
            time.sleep(0.1)


class _Clients:
    """One of each kind, and what the reading ones got."""

    def __init__(self, server: KafkaServer) -> None:
        self.dependency = Dependency("kafka")
        kafka = KafkaCluster(server.servers, server.admin, self.dependency)
        with contextlib.closing(Reader(server.servers, 1.0)) as reader:
            starts = [_end(reader, partition) for partition in (_FETCHED, _CONSUMED)]
        self.server = server
        self.producer = kafka.producer({"message.timeout.ms": 60_000})
        self.fetcher = kafka.fetcher(LOG)
        self.fetcher.read({_FETCHED: starts[0]})
        self.consumed: list[bytes] = []
        self.fetched: list[bytes] = []
        self.consumer = kafka.partition_consumer(
            LOG, _CONSUMED, starts[1], self._consumed, pytest.fail
        )
        self.sent = 0

    def _consumed(self, records: Sequence[Record]) -> None:
        self.consumed += [record.value for record in records]

    async def round_trip(self, seconds: float) -> None:
        """A record more through each of them."""
        self.sent += 1
        value = str(self.sent).encode()
        async with asyncio.timeout(seconds):
            await self.producer.send_and_wait(LOG, _FETCHED, value)
            await self.producer.send_and_wait(LOG, _CONSUMED, value)
            while len(self.consumed) < self.sent or len(self.fetched) < self.sent:
                await self.fetcher.wait(0.05)
                for records in self.fetcher.take([_FETCHED]).values():
                    self.fetched += [record.value for record in records]
        wanted = [str(number + 1).encode() for number in range(self.sent)]
        assert self.consumed == self.fetched == wanted, "once, in order"

    async def close(self) -> None:
        await asyncio.gather(self.fetcher.close(), self.consumer.close(), self.producer.close(1))


@pytest.fixture
async def clients(server: KafkaServer) -> AsyncIterator[_Clients]:
    clients = _Clients(server)
    await clients.round_trip(20)
    yield clients
    await clients.close()


async def until(condition: Callable[[], object], seconds: float) -> float:
    """How long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def test_the_only_broker_is_found_again_after_its_cluster_had_none(
    server: KafkaServer,
) -> None:
    """A broker that was paused for longer than its session names no broker when it wakes up."""
    several = [Inputs(KafkaCluster(server.servers, server.admin)) for _ in range(4)]

    async def look(inputs: Inputs) -> Inputs | None:
        with contextlib.suppress(KafkaUnreachable, ReadTimeout):
            if len(await inputs.look(LOG, range(4))) == 4:
                return inputs
        return None

    async def all_see(seconds: float) -> None:
        began, seeing = time.monotonic(), set[Inputs | None]()
        while not seeing >= {*several}:
            assert time.monotonic() < began + seconds
            seeing.update(await asyncio.gather(*map(look, several)))
            await asyncio.sleep(0.1)

    await all_see(30)
    for _ in range(2):
        os.kill(server.process.pid, signal.SIGSTOP)
        awake = time.monotonic() + _PAUSED_SECONDS
        while time.monotonic() < awake:
            await asyncio.gather(*map(look, several))
        os.kill(server.process.pid, signal.SIGCONT)
        await all_see(10)
    for inputs in several:
        await inputs.close()


async def test_clients_that_were_told_of_no_broker_find_it_again(
    server: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    """librdkafka's issue 5301: a consumer asks nobody any more. After Kafka had been paused, a
    gateway's fetcher said for 136 s that it is away."""
    with KafkaProxy(int(server.servers.split(":")[1])) as proxy:
        kafka = f"127.0.0.1:{proxy.port}"
        eager = {"topic.metadata.refresh.interval.ms": 50}
        dependency = Dependency("kafka")
        consumed: list[bytes] = []
        with contextlib.closing(Reader(server.servers, 1.0)) as reader:
            end = _end(reader, _TOLD)
        consumer = HealingConsumer(
            kafka,
            "the consumer",
            eager,
            lambda: [TopicPartition(LOG, _TOLD, end + len(consumed))],
            lambda messages: consumed.extend(m.value() or b"" for m in messages if not m.error()),
            dependency=dependency,
        )
        producer = RecoveringProducer(kafka, {"message.timeout.ms": 0, **eager}, dependency)
        await producer.send_and_wait(LOG, _TOLD, b"before")
        await until(lambda: consumed == [b"before"], 30)
        while not proxy.named_coordinator:
            # connected to a coordinator, a consumer never asks again
            consumer.change(lambda client: client.committed([TopicPartition(LOG, _TOLD)], 5))
            await asyncio.sleep(0.1)
        proxy.names_no_broker = True
        await until(lambda: "it knows no broker any more" in str(dependency.problem()), 30)
        proxy.names_no_broker = False
        await until(lambda: "gets nothing of partitions" in caplog.text, 30)
        await producer.send_and_wait(LOG, _TOLD, b"after")
        await until(lambda: consumed == [b"before", b"after"], 30)
        await until(lambda: dependency.problem() is None, 30)
        await asyncio.gather(consumer.close(), producer.close(1))


async def test_a_silent_broker_is_reported_within_5_s_and_its_return_too(
    clients: _Clients, caplog: pytest.LogCaptureFixture
) -> None:
    assert clients.dependency.problem() is None
    clients.server.process.send_signal(signal.SIGSTOP)
    try:
        await until(clients.dependency.problem, 5)
        assert "has not answered for" in str(clients.dependency.problem())
        await asyncio.sleep(3)
    finally:
        clients.server.process.send_signal(signal.SIGCONT)
    await until(lambda: clients.dependency.problem() is None, 5)
    await clients.round_trip(15)
    lines = [r.getMessage() for r in caplog.records if r.name == "connectors.dependency"]
    assert len(lines) == 2, lines
    assert lines[0].startswith("kafka is unreachable: ")
    assert lines[1].startswith("kafka is reachable again after ")


async def test_a_producer_that_reports_only_failures_says_when_records_get_through_again(
    server: KafkaServer,
) -> None:
    dependency = Dependency("kafka")
    conf = {"message.timeout.ms": 3000, "delivery.report.only.error": True}
    producer = RecoveringProducer(server.servers, conf, dependency)
    failures: list[Exception | None] = []

    def send() -> None:
        producer.send(LOG, 28, b"one", lambda error, offset: failures.append(error))

    await asyncio.to_thread(_wait_for_leader, server, 28)
    server.process.send_signal(signal.SIGSTOP)
    try:
        send()
        await until(dependency.problem, 5)
    finally:
        server.process.send_signal(signal.SIGCONT)
    await asyncio.to_thread(_wait_for_leader, server, 28)
    assert len(failures) == 1
    await asyncio.sleep(1.0)
    assert dependency.problem() is not None, "nothing has got through"
    send()
    await until(lambda: dependency.problem() is None, 10)
    await producer.close(5)


def _wait_for_leader(server: KafkaServer, partition: int) -> None:
    with contextlib.closing(Reader(server.servers, 1.0)) as reader:
        _end(reader, partition)


async def test_clients_that_have_nothing_to_do_are_no_problem(clients: _Clients) -> None:
    await asyncio.sleep(6)
    assert clients.dependency.problem() is None


async def test_a_client_that_fails_is_replaced(
    clients: _Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[object] = []

    def fails_once(original: Callable[..., object]) -> Callable[..., object]:
        def fails(self: object) -> object:
            if self not in failures:
                failures.append(self)
                raise RuntimeError("the client is broken")
            return original(self)

        return fails

    monkeypatch.setattr(HealingConsumer, "_fetch", fails_once(HealingConsumer._fetch))
    await until(lambda: len(failures) == 2, 5)
    await clients.round_trip(15)
    await until(lambda: clients.dependency.problem() is None, 5)


async def test_a_partition_that_gets_nothing_is_read_by_a_new_client(clients: _Clients) -> None:
    """As after a pause of Kafka, when the client no longer asked for the partition (fault 21)."""
    for client in (clients.fetcher, clients.consumer):
        client._consumer._stuck([_FETCHED])
    await clients.round_trip(15)


async def test_a_producer_whose_client_has_failed_for_good_goes_on(server: KafkaServer) -> None:
    """Fault 4: `produce` raised KafkaException, and partitions halted."""
    conf = {"transactional.id": "fenced", "message.timeout.ms": 60_000}
    producer = RecoveringProducer(server.servers, conf)
    failed = producer._producer
    await asyncio.to_thread(failed._producer.init_transactions, 20)
    failed._producer.begin_transaction()
    other = Producer({"bootstrap.servers": server.servers, "transactional.id": "fenced"})
    await asyncio.to_thread(other.init_transactions, 20)
    producer._conf = {}  # the next client needs no transaction
    reports: list[tuple[Exception | None, int]] = []
    outcomes: set[str] = set()

    def sent() -> bool:
        try:
            producer.send(LOG, 29, b"one", lambda *report: reports.append(report))
        except QueueFull:
            outcomes.add("full")
        else:
            outcomes.add("sent")
        return producer._producer is not failed and any(error is None for error, _ in reports)

    await until(sent, 20)
    assert "sent" in outcomes
    await producer.close(5)


async def test_a_record_that_the_client_refuses_is_reported_as_failed(server: KafkaServer) -> None:
    producer = RecoveringProducer(server.servers, {"message.max.bytes": 1000})
    with pytest.raises(KafkaSendError):
        await producer.send_and_wait(LOG, 29, bytes(10_000))
    assert await producer.send_and_wait(LOG, 29, b"small") >= 0
    await producer.close(1)


async def test_a_reader_raises_read_timeout_and_nothing_else(server: KafkaServer) -> None:
    reader = Reader(server.servers, timeout=2.0, group="a-group")
    await asyncio.to_thread(reader.watermarks, LOG, 29)
    server.process.send_signal(signal.SIGSTOP)
    try:
        for ask in (
            lambda: reader.watermarks(LOG, 29),
            lambda: reader.committed(LOG, 29),
            lambda: list(reader.read(LOG, 29, 0, 1_000_000)),
        ):
            with pytest.raises(ReadTimeout):
                await asyncio.to_thread(ask)
    finally:
        server.process.send_signal(signal.SIGCONT)
    await asyncio.to_thread(_end, reader, 29)
    await asyncio.to_thread(reader.close)


async def test_a_dead_broker_is_reported_within_5_s(server: KafkaServer) -> None:
    """The last one: the server does not come back."""
    clients = _Clients(server)
    await clients.round_trip(20)
    server.process.kill()
    await until(clients.dependency.problem, 5)
    await clients.close()
    assert clients.dependency.problem() is None, "clients that are closed have no problem"
