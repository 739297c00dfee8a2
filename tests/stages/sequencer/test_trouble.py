"""Trouble outside (faults 4, 14 and 20)."""

import asyncio
import random

import pytest

from agents.sequencer import stage as stage_module
from agents.sequencer.io import SequencerIO
from connectors.kafka.memory import MemoryKafka
from connectors.redis.memory import MemoryRoutes
from connectors.redis.memory_server import MemoryRedis
from connectors.redis.routes import Route
from schemas.topics import DEAD_LETTERS, DELIVERIES, LOG, SUBMITTED
from streams.partition import Status
from tests.harness.fake_gateway import eventually
from tests.harness.sequencing import SLOT, A, Make, Run, ask, logged, pushed, send
from tests.harness.stage_run import delivered


def stage_io(run: Run) -> SequencerIO:
    io: SequencerIO = run.partition.io._io
    return io


async def test_no_trouble_outside_halts_a_partition(
    kafka: MemoryKafka, redis: MemoryRedis, make: Make
) -> None:
    async with make() as run:
        partition = await run.running()
        kafka.full = True
        send(kafka, 1)
        await eventually(lambda: not partition.idle)
        kafka.full = False
        await run.done(1)
        redis.connected = False
        send(kafka, 2)
        await eventually(lambda: logged(kafka) == [1, 2])
        await asyncio.sleep(0.1)
        redis.connected = True
        await run.done(2)
        chance = random.Random(1)
        send(kafka, 3)
        for number in range(4, 20):
            kafka.break_producers(chance)
            send(kafka, number)
            await asyncio.sleep(0.01)
        await run.done(19)
        assert pushed(kafka) == logged(kafka) == list(range(1, 20))
        assert partition.status is Status.RUNNING


async def test_dead_letters_wait_for_kafka(kafka: MemoryKafka, make: Make) -> None:
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(DEAD_LETTERS, 0)
        kafka.broker.append(SUBMITTED, 0, b"?")
        send(kafka, 1)
        await eventually(lambda: pushed(kafka) == [1])
        assert kafka.broker.read_all(LOG, 0) == []
        kafka.broker.find_leader(DEAD_LETTERS, 0)
        await run.done(2)
        assert partition.status is Status.RUNNING


async def test_a_slot_without_a_leader_stops_no_other(
    kafka: MemoryKafka, redis: MemoryRedis, make: Make
) -> None:
    """Fault 14."""
    await MemoryRoutes(redis).write_routes([Route("carol", "phone", "node", 0, 0)])
    async with make() as run:
        await run.running()
        kafka.broker.lose_leader(DELIVERIES, SLOT)
        send(kafka, 1)
        for number in range(1, 300):
            send(kafka, number, conversation="alice:carol")
            await asyncio.sleep(0)
        await eventually(lambda: len(delivered(kafka, 0)) == 299)
        assert run.stage.committable(0) == 0
        kafka.broker.find_leader(DELIVERIES, SLOT)
        await run.done(300)
        assert pushed(kafka) == [1]


async def test_a_log_partition_without_a_leader_delays_no_page_of_the_others(
    kafka: MemoryKafka, make: Make
) -> None:
    """Fault 14: each page of any partition waited for it, 5 s."""
    waited: list[float] = []
    kafka.broker.spend = waited.append
    run = make()
    run._assigned = {0, 1}
    async with run:
        send(kafka, 1, 2)
        send(kafka, 1, 2, partition=1)
        await eventually(lambda: run.stage.committable(0) == run.stage.committable(1) == 2)
        kafka.broker.lose_leader(LOG, 1)
        waited.clear()
        for _ in range(3):
            asked = {"conversation": A, "after": "0"}
            assert (await ask(run, "/sequencer/page/1/", **asked)).status == 503
            assert (await ask(run, "/sequencer/page/0/", **asked)).status == 200
        assert max(waited) <= 2.0
        pages = stage_io(run).pages
        async with asyncio.timeout(5), pages._lanes[0].lock:  # others read
            assert (await ask(run, "/sequencer/page/1/", **asked)).status == 503
        async with asyncio.timeout(5), pages._lanes[1].lock:  # partition 1 is waited for
            assert (await ask(run, "/sequencer/page/1/", **asked)).status == 503
            pages.forget(0)
            assert (await ask(run, "/sequencer/page/0/", **asked)).status == 200
        kafka.broker.find_leader(LOG, 1)
        assert (await ask(run, "/sequencer/page/1/", **asked)).status == 200


async def test_a_log_without_a_leader_is_waited_for_and_ends_no_worker(
    kafka: MemoryKafka, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 9239 of the simulation: the watchdog took appends that nobody takes for a hang."""
    monkeypatch.setattr(stage_module, "_LOOK_SECONDS", 0.1)
    async with make() as run:
        partition = await run.running()
        kafka.broker.lose_leader(LOG, 0)
        send(kafka, 1)
        await eventually(lambda: "messages/0" in partition.output_away)
        assert not partition.idle
        assert not any(probe.owed for probe in run.stage.probes())
        assert any("messages/0" in problem for problem in (await run.health())[1])
        kafka.broker.find_leader(LOG, 0)
        await run.done(1)
        await eventually(lambda: not partition.output_away)
