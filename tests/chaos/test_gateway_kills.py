"""Gateways killed under load: their devices come back on the other node and show all, once, in order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest

from tests.chaos.conftest import ROUNDS
from tests.harness.load import Load
from tests.harness.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(120 + 30 * ROUNDS)]


PARTS = {"gateways": 2}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
async def test_a_gateway_dies_and_its_devices_go_to_the_other(
    lab: Stack, load: Load, judged: Callable[[], Awaitable[None]], number: signal.Signals
) -> None:
    await load.start()
    for round_ in range(ROUNDS):
        await load.sent(50)
        lab.kill(f"gateway-{round_ % 2 + 1}", number)
        await asyncio.sleep(0.1)
        print(f"away for {await load.dark():.1f} s")
        await asyncio.to_thread(lab.wait_healthy)
    await load.stop()
    await judged()
