"""The sequencer killed at each crash point of the design, paused, one of two; the broker killed.
Always under load."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable

import pytest

from tests.chaos.conftest import ROUNDS
from tests.harness.crashing_worker import POINTS
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.worker import Worker

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300 + 120 * ROUNDS)]

Judged = Callable[[], Awaitable[None]]


async def test_killed_at_each_crash_point(
    workers: list[Worker], load: Load, judged: Judged
) -> None:
    worker = workers[0]
    worker.start()
    worker.wait_healthy()
    await load.start()
    await load.sent(50)
    worker.kill()
    chance = random.Random(1)
    for number in range(ROUNDS):
        for point in POINTS:
            worker.start(point, after=chance.randrange(3, 40))
            assert await asyncio.to_thread(worker.wait_dead, 60), (
                f"{point}: not reached; {worker.tail()}"
            )
            assert worker.process is not None
            assert worker.process.returncode == -signal.SIGKILL
            if chance.random() < 0.3:
                worker.forget_state()
            print(f"round {number}: killed when {POINTS[point]}")
    worker.start()
    print(f"dark for at most {await load.dark():.1f} s in all")
    await load.stop()
    await judged()


async def test_append_in_deliveries_not_last_message_device_stays_online(
    talk: Talk, workers: list[Worker], judged: Judged
) -> None:
    alice, _ = await talk.join("alice"), await talk.join("bob")
    worker = workers[0]
    worker.start("appended", after=0)
    worker.wait_healthy()
    last = talk.begin(alice, "bob", "the last message of this conversation")
    assert await asyncio.to_thread(worker.wait_dead, 60)
    worker.start()
    async with asyncio.timeout(60):
        while not talk.shown[f"{talk.user('bob')}/one"]:
            await asyncio.sleep(0.05)
    await last
    await judged()


@pytest.mark.soak
async def test_paused_past_its_session_and_woken(
    workers: list[Worker], load: Load, judged: Judged
) -> None:
    for worker in workers:
        worker.start()
        worker.wait_healthy()
    await load.start()
    for _ in range(ROUNDS):
        for worker in workers:
            await load.sent(50)
            worker.signal(signal.SIGSTOP)
            print(f"dark for {await load.dark():.1f} s")
            await asyncio.sleep(4)
            worker.signal(signal.SIGCONT)
            print(f"woken: dark for {await load.dark():.1f} s")
    await load.stop()
    await judged()


@pytest.mark.soak
async def test_one_of_two_workers_killed(workers: list[Worker], load: Load, judged: Judged) -> None:
    for worker in workers:
        worker.start()
        worker.wait_healthy()
    await load.start()
    for number in range(ROUNDS):
        await load.sent(50)
        victim = workers[number % 2]
        victim.kill()
        print(f"dark for {await load.dark():.1f} s")
        victim.start()
        await asyncio.to_thread(victim.wait_healthy)
    await load.stop()
    await judged()


@pytest.mark.soak
async def test_broker_killed_and_started_again(
    lab: Stack, workers: list[Worker], load: Load, judged: Judged
) -> None:
    workers[0].start()
    workers[0].wait_healthy()
    await load.start()
    for _ in range(ROUNDS):
        await load.sent(50)
        lab.kill("kafka")
        await asyncio.sleep(0.5)
        print(f"dark for {await load.dark():.1f} s")
        await asyncio.to_thread(lab.wait_healthy)
    assert "the input has another leader" in workers[0].log.read_text()  # R3.5
    await load.stop()
    await judged()
