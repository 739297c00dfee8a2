"""What every stage gets from the runtime, shown by a stage that only counts."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest

from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.memory_readers import MemoryFetcher, MemoryReader
from connectors.kafka.ports import KafkaSendError, Place, QueueFull, ReadTimeout
from connectors.kafka.record import Record
from streams.backlog import BacklogPartition, FactBacklog, Facts
from streams.inputs import InputSeen
from streams.partition import PartitionRuntime, Status
from streams.restores import Restores
from streams.sending import send_all
from streams.stage import Stage, StageSpec, Timer
from streams.worker import Worker
from tests.harness.fake_gateway import eventually
from tests.harness.stage_run import StageRun, shared
from tests.harness.virtual import run as virtual

TOPIC = "numbers"


class Counting(BacklogPartition[bytes, Facts[bytes]]):
    """Counts its records. `fails` is what its next blocks do, one each; `restoring` blocks its
    restore."""

    fails: list[Exception]
    restoring: Callable[[], None]

    def __init__(self, number: int, runtime: PartitionRuntime) -> None:
        super().__init__(number, runtime, FactBacklog())
        self.count = 0

    async def restore(self) -> int:
        await self.in_restores(type(self).restoring)
        return 0

    def decode(self, record: Record) -> Sequence[bytes]:
        return [record.value]

    async def apply(self, block: Facts[bytes]) -> None:
        if type(self).fails:
            raise type(self).fails.pop(0)
        self.count += len(block.facts)

    def detach(self) -> None:
        return None


class Deaf(MemoryFetcher):
    """Polls for ever and brings nothing, as a librdkafka fetcher did after a pause of Kafka."""

    def has(self, partitions: object) -> bool:
        return False

    def take(self, partitions: object) -> dict[int, list[Record]]:
        return {}


def counting(partitions: int = 1, timers: Sequence[Timer] = ()) -> StageSpec[Counting]:
    class Fresh(Counting): ...

    Fresh.fails, Fresh.restoring = [], staticmethod(lambda: None)

    return StageSpec("counting", "counting", TOPIC, partitions, Fresh, timers=lambda stage: timers)


def on_kafka(spec: StageSpec[Counting]) -> StageRun[Counting]:
    kafka = MemoryKafka(MemoryBroker({TOPIC: spec.partitions}))
    return StageRun(kafka, spec, range(spec.partitions))


@pytest.mark.parametrize("fetchers", [1, 1000])
def test_a_worker_that_reads_nothing_is_noticed_and_healed_or_ended(fetchers: int) -> None:
    """Fault 21: the fetcher's own idea of the end was -1, so nothing was amiss."""
    made: list[MemoryFetcher] = []

    async def history() -> None:
        async with on_kafka(counting()) as run:
            kind = run.kafka.fetcher

            def fetcher() -> MemoryFetcher:
                made.append((Deaf if len(made) < fetchers else MemoryFetcher)(run.kafka, TOPIC))
                return made[-1]

            run.intake._make_fetcher = fetcher
            assert kind is not None
            run.intake.renew()
            await run.running()
            run.kafka.broker.append(TOPIC, 0, b"one")
            await asyncio.sleep(6)
            status, problems = await run.health()
            assert (status, ["counting partition 0" in line for line in problems]) == (503, [True])
            await asyncio.sleep(4)
            if fetchers == 1:
                assert (run.partition.count, await run.health()) == (1, (200, []))
            await asyncio.sleep(15)
            assert len(run.expired) == (fetchers > 1)

    virtual(history())


async def test_a_fault_of_ours_begins_the_partition_anew_and_halts_nothing() -> None:
    async with on_kafka(counting(partitions=2)) as run:
        first = await run.running()
        await eventually(lambda: run.stage.partitions[1].status is Status.RUNNING)
        type(first).fails = [ZeroDivisionError()]
        run.kafka.broker.append(TOPIC, 0, b"one")
        await eventually(lambda: 0 not in run.stage.partitions)
        status, problems = await run.health()
        assert (status, ["begins anew" in line for line in problems]) == (503, [True])
        assert run.stage.partitions[1].status is Status.RUNNING
        await eventually(lambda: 0 in run.stage.partitions and not run.partition.paused)
        await run.done(1)
        assert run.partition is not first
        assert run.partition.count == 1


async def test_a_timer_that_fails_is_called_again() -> None:
    """Fault 20: Faust crashed, and the process stayed without its group."""
    calls = 0

    async def fail() -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    async with on_kafka(counting(timers=[Timer(0.01, fail)])) as run:
        await eventually(lambda: calls > 3)
        assert run.expired == []


def test_timers_are_called_together_and_each_once() -> None:
    calls: list[list[float]] = [[], []]

    def called(number: int, seconds: float) -> Timer:
        async def call() -> None:
            calls[number].append(asyncio.get_running_loop().time())
            await asyncio.sleep(seconds)

        return Timer(1.0, call)

    async def history() -> None:
        await asyncio.sleep(0.3)
        async with on_kafka(counting(timers=[called(0, 0.0), called(1, 0.3)])):
            await asyncio.sleep(10.5)

    virtual(history())
    assert calls[0] == calls[1]
    assert len(calls[0]) == 10


async def test_restores_have_threads_of_their_own_and_those_that_wait_are_not_stuck() -> None:
    """Fault 5: they held the threads that pages and appends need, and the watchdog ended a healthy
    worker because of those that waited."""
    spec = counting(partitions=40)
    restoring: list[None] = []
    go = threading.Event()

    def restore() -> None:
        restoring.append(None)
        assert go.wait(10)

    run = on_kafka(spec)
    run.stage._shared.restores.close()
    restores = Restores(at_once=2)
    run.stage._runtime = run.stage._runtime._replace(restores=restores)
    async with run:
        for partition in run.stage.partitions.values():
            type(partition).restoring = staticmethod(restore)
        await eventually(lambda: len(restoring) == 2)
        statuses = [partition.status for partition in run.stage.partitions.values()]
        assert (statuses.count(Status.RESTORING), statuses.count(Status.ASSIGNED)) == (2, 38)
        assert [probe.name for probe in run.stage.probes() if probe.owed] == [
            "counting partition 0",
            "counting partition 1",
        ]
        assert await asyncio.to_thread(lambda: "free") == "free"
        async with asyncio.timeout(1):  # a rebalance waits for none of those that wait
            await run.stage.assigned(range(20), 2)
        go.set()
        await eventually(
            lambda: all(one.status is Status.RUNNING for one in run.stage.partitions.values())
        )
    restores.close()


async def test_a_restore_in_steps_that_is_released_begins_no_further_step() -> None:
    """Found by seed 7001000325: a step waited for its turn, and nobody for the step."""
    asked: list[None] = []
    go = threading.Event()

    class Turns(Restores):
        async def run(self, *step: Any) -> Any:
            asked.append(None)
            return await super().run(*step)

    class InSteps(Counting):
        async def restore(self) -> int:
            await self.in_restores(lambda: go.wait(10))
            await self.in_restores(lambda: None)
            return 0

    InSteps.fails = []
    run = on_kafka(counting()._replace(make=InSteps))
    run.stage._shared.restores.close()
    restores = Turns()
    run.stage._runtime = run.stage._runtime._replace(restores=restores)
    async with run:
        await eventually(lambda: run.stage.partitions[0].status is Status.RESTORING)
        closing = asyncio.create_task(run.stage.partitions[0].close())
        await asyncio.sleep(0)
        go.set()
        await closing
    restores.close()
    assert len(asked) == 1


async def test_health_says_that_kafka_does_not_answer_and_that_it_is_back() -> None:
    """Fault 25."""
    async with on_kafka(counting()) as run:
        await run.running()
        run.kafka.broker.stop()

        async def said() -> str:
            return "; ".join((await run.health())[1])

        async with asyncio.timeout(5):
            while "kafka is unreachable" not in await said():
                await asyncio.sleep(0.05)
        run.kafka.broker.go_on()
        async with asyncio.timeout(5):
            while await said():
                await asyncio.sleep(0.05)


def test_a_worker_asks_once_for_the_inputs_of_all_its_stages() -> None:
    """And for each stage alone while a partition of another one has no leader."""
    asked: Counter[str] = Counter()

    class Asked(MemoryReader):
        def all_starts(self, places: Collection[Place], seconds: float) -> Mapping[Place, int]:
            asked["starts"] += 1
            return super().all_starts(places, seconds)

        def all_ends(self, places: Collection[Place], seconds: float) -> Mapping[Place, int]:
            asked["ends"] += 1
            return super().all_ends(places, seconds)

        def all_watermarks(
            self, topic: str, partitions: Collection[int], seconds: float
        ) -> Mapping[int, tuple[int, int]]:
            asked[topic] += 1
            return super().all_watermarks(topic, partitions, seconds)

    class AskedKafka(MemoryKafka):
        def reader(self, timeout: float = 30.0, group: str = "") -> MemoryReader:
            return Asked(self, timeout, group)

    async def history() -> None:
        kafka = AskedKafka(MemoryBroker({TOPIC: 3, "others": 2}))
        others = counting(2)._replace(name="others", group="others", topic="others")
        worker = Worker([counting(3), others], shared(kafka), pytest.fail)
        for stage in worker.stages:
            await stage.assigned(range(stage.spec.partitions), 1)
        stages = {stage.name: stage.partitions for stage in worker.stages}
        owned = [one for partitions in stages.values() for one in partitions.values()]
        await eventually(lambda: all(not one.paused for one in owned))
        for look in range(5):
            kafka.broker.append("others", 1, b"one")
            assert await worker.look()
            assert [one.seen.end if one.seen else None for one in owned] == [0, 0, 0, 0, look + 1]
            await asyncio.sleep(1)
        assert asked == {"ends": 5, "starts": 1}
        kafka.broker.lose_leader(TOPIC, 1)
        kafka.broker.append(TOPIC, 0, b"one")
        assert await worker.look()
        assert asked == {"ends": 6, "starts": 1, TOPIC: 1, "others": 1}
        assert [one.unseen for one in owned] == [0, 1, 0, 0, 0]
        assert stages["counting"][0].seen == InputSeen(kafka.broker.topic_ids()[TOPIC], 0, 1)
        for stage in worker.stages:
            await stage.stop()
        await worker.close()

    virtual(history())


def test_health_names_a_partition_without_a_leader() -> None:
    async def history() -> None:
        async with on_kafka(counting(partitions=3)) as run:
            await run.running()
            run.kafka.broker.lose_leader(TOPIC, 1)
            await asyncio.sleep(5)
            status, problems = await run.health()
            assert (status, len(problems)) == (503, 1)
            assert problems[0].startswith("counting partition 1 is running: kafka: nobody answers")
            run.kafka.broker.find_leader(TOPIC, 1)
            await asyncio.sleep(5)
            assert await run.health() == (200, [])

    virtual(history())


async def test_a_full_backlog_reads_no_more() -> None:
    backlog = FactBacklog[int]()
    facts = list(range(70_000))
    backlog.add(Record(0, 5, 1000, b""), facts, 0.0)
    assert backlog.full
    done: list[int] = []
    while not backlog.empty:
        block = backlog.take(0.0)
        assert block.last == (5 if len(done) + len(block.facts) == len(facts) else 4), (
            "a record is done with its last fact"
        )
        done += [told.fact for told in block.facts]
        backlog.done(block)
    assert (done, backlog.full) == (facts, False)


def test_trouble_in_the_middle_of_a_block_does_the_block_again() -> None:
    async def history() -> None:
        async with on_kafka(counting()) as run:
            partition = await run.running()
            type(partition).fails = [ReadTimeout("Kafka is slow")] * 3
            run.kafka.broker.append(TOPIC, 0, b"one")
            await run.done(1)
            assert (partition.count, partition.status) == (1, Status.RUNNING)

    virtual(history())


def test_a_stage_that_is_not_running_answers_for_nothing() -> None:
    async def history() -> None:
        async with on_kafka(counting()) as run:
            await run.running()
            stage: Stage[Counting] = run.stage
            assert set(stage.here([0, 1])) == {0}
            await stage.assigned([], 2)
            assert stage.here([0]) == {}
            assert stage.committable(0) is None or stage.paused(0)

    virtual(history())


async def test_records_are_sent_together_and_all_are_waited_for() -> None:
    kafka = MemoryKafka(MemoryBroker({TOPIC: 2}))
    producer = kafka.producer({"message.timeout.ms": 0})
    records = [(number % 2, b"%d" % number, None) for number in range(600)]
    await send_all(producer, TOPIC, records)
    assert [kafka.broker.log(TOPIC, number).end for number in range(2)] == [300, 300]
    await send_all(producer, TOPIC, [])
    kafka.broker.lose_leader(TOPIC, 1)
    sending = asyncio.create_task(send_all(producer, TOPIC, records[:2]))
    await asyncio.sleep(0.05)
    assert not sending.done()
    kafka.broker.find_leader(TOPIC, 1)
    await sending
    kafka.full = True
    with pytest.raises(QueueFull):
        await send_all(producer, TOPIC, records)
    kafka.full = False
    sending = asyncio.create_task(send_all(producer, TOPIC, records))
    await asyncio.sleep(0)
    await producer.close(0)
    with pytest.raises(KafkaSendError):
        await sending
