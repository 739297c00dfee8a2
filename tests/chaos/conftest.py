"""Chaos: every test has a stack of its own, and a verdict by both judges at its end.

MESSENGER_CHAOS_ROUNDS is how often each kill is done (1 by default, 10 in `make chaos`). Times are printed with -s.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.worker import Worker

ROUNDS = int(os.environ.get("MESSENGER_CHAOS_ROUNDS", "1"))


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack with the module's PARTS; of none, Kafka, Redis and a gateway, and the test brings its own workers."""
    with Stack(tmp_path / "stack", **getattr(request.module, "PARTS", {"workers": 0})) as stack:
        yield stack


@pytest.fixture
async def talk(lab: Stack) -> AsyncIterator[Talk]:
    async with Talk(lab, "chaos") as talking:
        yield talking


@pytest.fixture
async def load(talk: Talk) -> AsyncIterator[Load]:
    """Eight pairs that talk all the time; started by the test."""
    running = Load(talk)
    yield running
    await running.cancel()


@pytest.fixture
def workers(lab: Stack) -> Iterator[list[Worker]]:
    """Two workers, not started; killed at the end."""
    pair = [Worker(lab, 0), Worker(lab, 1)]
    yield pair
    for worker in pair:
        worker.end()


@pytest.fixture
def judged(lab: Stack, talk: Talk, workers: list[Worker]) -> Callable[[], Awaitable[None]]:
    """Settles, then asks both judges for the verdict: 0 lost, 0 twice, 0 holes, 0 contradictions."""

    async def judge() -> None:
        await talk.settle(60)
        devices = talk.verdict()
        assert devices.lines() == ["dense, once, in order, equal everywhere"]
        own = [worker for worker in workers if worker.process is not None]
        urls = [argument for worker in own for argument in ("--worker", worker.url)]
        topics = await asyncio.to_thread(lab.run, "audit", *urls)
        assert topics.returncode == 0, topics.stdout + topics.stderr
        print(dict(devices.figures))

    return judge
