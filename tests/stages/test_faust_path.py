"""The way of records from the intake to a stage, by Faust's consumer, stream and agent, while the
group gives and takes partitions and a partition seeks in the middle of a burst."""

import asyncio
import random
from collections.abc import Collection, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from faust.types import TP

from connectors.kafka.memory import MemoryKafka
from connectors.kafka.memory_broker import MemoryBroker
from connectors.kafka.record import Record
from streams import intake
from streams.faust_adapter import consumer as faust_consumer
from streams.faust_adapter.app import MountSettings, StageApp, mount
from streams.partition import Partition, PartitionRuntime
from streams.stage import StageSpec
from streams.worker import Worker
from tests.harness.fake_gateway import eventually
from tests.harness.stage_run import shared

TOPIC = "numbers"
PARTITIONS = 2
BURST = 300
"""Records of each partition."""


class Reading(Partition):
    """Writes down the offsets that it accepts; the next owner goes on behind them."""

    accepted: list[list[int]]

    async def restore(self) -> int:
        return len(self.accepted[self.number])

    def accept(self, records: Sequence[Record]) -> None:
        self.accepted[self.number] += [record.offset for record in records]

    async def run(self) -> None:
        await asyncio.Event().wait()

    def detach(self) -> None:
        return None


class Group:
    """What Faust does in a rebalance, to an app that has no Kafka. `delay` is how long one
    takes."""

    def __init__(self, app: StageApp) -> None:
        self._app = app
        self._owned: set[TP] = set()
        app.consumer.assignment = lambda: self._owned

    async def gives(self, numbers: Collection[int], delay: float) -> None:
        app, consumer = self._app, self._app.consumer
        consumer.stop_flow()
        app.flow_control.suspend()
        consumer.pause_partitions(self._owned)
        app.flow_control.clear()
        await asyncio.sleep(delay)
        app.consumer_generation_id += 1
        self._owned = {TP(TOPIC, number) for number in numbers}
        consumer._paused_partitions.intersection_update(self._owned)
        consumer._set_active_tps(self._owned)
        await app.stage.assigned(set(numbers), app.consumer_generation_id)
        await consumer.perform_seek()
        consumer.resume_partitions(self._owned)
        app.flow_control.resume()
        consumer.resume_flow()


@pytest.mark.parametrize("seed", range(5))
async def test_a_rebalance_or_a_seek_in_a_burst_loses_and_repeats_nothing(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (intake, faust_consumer):  # what is fetched together is several events
        monkeypatch.setattr(module, "MAX_RECORDS", 3)
    chance = random.Random(seed)

    class Fresh(Reading):
        accepted: list[list[int]] = [[] for _ in range(PARTITIONS)]  # noqa: RUF012

    def make(number: int, runtime: PartitionRuntime) -> Reading:
        return Fresh(number, runtime)

    kafka = MemoryKafka(MemoryBroker({TOPIC: PARTITIONS}))
    worker = Worker([StageSpec("s", "s", TOPIC, PARTITIONS, make)], shared(kafka), pytest.fail)
    settings = MountSettings("127.0.0.1:1", tmp_path, "127.0.0.1", 1, "member")
    [app] = mount(worker, kafka, settings, pytest.fail)
    consumer, [agent] = app.consumer, app.agents.values()
    app.consumer_generation_id = 0
    consumer._intake = app.make_intake()
    group = Group(app)
    work = [
        asyncio.create_task(agent.fun(app.topic(TOPIC, partitions=PARTITIONS).stream())),
        asyncio.create_task(consumer._drain_messages(SimpleNamespace(should_stop=False))),
    ]

    async def burst() -> None:
        for number in range(BURST):
            for partition in range(PARTITIONS):
                kafka.broker.append(TOPIC, partition, str(number).encode())
            await asyncio.sleep(chance.choice((0.0, 0.001, 0.01)))

    async def disturb() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            owned = list(app.stage.partitions.values())
            if owned and chance.random() < 0.5:
                partition = chance.choice(owned)
                if partition.next_offset is not None:
                    partition.read_from(partition.next_offset, "the test seeks")
            else:
                numbers = chance.choice(([], [0], [1], [0, 1]))
                await group.gives(numbers, chance.uniform(0.0, 0.05))

    disturbing = asyncio.create_task(disturb())
    await burst()
    disturbing.cancel()
    await asyncio.gather(disturbing, return_exceptions=True)
    await group.gives(range(PARTITIONS), 0.0)
    whole = [list(range(BURST))] * PARTITIONS
    await eventually(lambda: all(len(one) >= BURST for one in Fresh.accepted))
    assert Fresh.accepted == whole
    assert app.monitor.events_total > BURST / 10, "it went by Faust's stream"
    for task in work:
        assert not task.done(), task
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    await app.stage.stop()
    await consumer._intake.close()
    await worker.close()
