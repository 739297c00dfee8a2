"""A worker with all stages says which service does not answer, and goes on when it does."""

import asyncio
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable

import pytest

from tests.harness.load import Load
from tests.harness.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300)]
PARTS = {"archivers": 1, "cursors": None, "presence": None}

_SAID_SECONDS = 5.0
_MEASURING_SECONDS = 2.0
"""What asking, and a machine that does other things, may add."""


def problems(stack: Stack) -> list[str]:
    """What the worker's health lists."""
    try:
        with urllib.request.urlopen(f"{stack.worker_urls[0]}/health/", timeout=5) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        found = json.load(error)
    listed: list[str] = found["problems"]
    return listed


async def until(condition: Callable[[], bool], timeout: float) -> float:
    """How many seconds it took."""
    began = time.monotonic()
    while not await asyncio.to_thread(condition):
        assert time.monotonic() - began < timeout
        await asyncio.sleep(0.1)
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("service", "seconds"),
    [("kafka", 9.0), pytest.param("redis", 9.0, marks=pytest.mark.soak)],
)
async def test_a_service_that_is_paused_is_named_within_5_s_and_work_goes_on_after_it(
    lab: Stack,
    load: Load,
    judged: Callable[[], Awaitable[None]],
    service: str,
    seconds: float,
) -> None:
    """Faults 20, 21 and 25."""
    await load.start()
    await load.sent(50)
    pid, lines = lab.parts()["worker-1"]["pid"], lab.log("worker-1").count(f"{service} is ")
    lab.kill(service, signal.SIGSTOP)
    paused = time.monotonic()
    try:
        said = await until(
            lambda: any(f"{service} is unreachable" in line for line in problems(lab)),
            _SAID_SECONDS + _MEASURING_SECONDS,
        )
        await asyncio.sleep(seconds - (time.monotonic() - paused))
    finally:
        lab.kill(service, signal.SIGCONT)
    dark = await load.dark()
    well = await until(lambda: problems(lab) == [], 30)
    print(f"{service}: said after {said:.1f} s; dark for {dark:.1f} s, healthy {well:.1f} s later")
    said_so = lab.log("worker-1").count(f"{service} is ") - lines
    assert said_so in (2, 4), "one line, and one at the end; at most once again as it wakes up"
    assert lab.parts()["worker-1"]["pid"] == pid, "the same process"
    await load.stop()
    await judged()
