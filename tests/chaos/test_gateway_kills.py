"""Gateways killed under load: their devices come back on the other node and show all, once, in order."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import ROUNDS
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(120 + 30 * ROUNDS)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Stack]:
    """A worker and two gateways."""
    with Stack(tmp_path / "stack", gateways=2) as stack:
        yield stack


@pytest.fixture
async def talk(lab: Stack) -> AsyncIterator[Talk]:
    async with Talk(lab, "gateways") as talking:
        yield talking


async def judge(lab: Stack, talk: Talk) -> None:
    await talk.settle(60)
    assert talk.verdict().lines() == ["dense, once, in order, equal everywhere"]
    topics = await asyncio.to_thread(lab.run, "audit")
    assert topics.returncode == 0, topics.stdout + topics.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
async def test_a_gateway_dies_and_its_devices_go_to_the_other(lab: Stack, talk: Talk, number: signal.Signals) -> None:
    load = Load(talk)
    try:
        await load.start()
        for round_ in range(ROUNDS):
            await load.sent(50)
            lab.kill(f"gateway-{round_ % 2 + 1}", number)
            await asyncio.sleep(0.1)
            print(f"away for {await load.dark():.1f} s")
            await asyncio.to_thread(lab.wait_healthy)
        await load.stop()
    finally:
        await load.cancel()
    await judge(lab, talk)
