"""Chaos: parts of a running stack are killed, and at each test's end there is a verdict by both
judges.

To start a stack takes longer than most kills. So tests that want the same parts run one after the
other on one stack: each leaves it healthy, has users of its own, and its verdict is on all that was
before it, too. What leaves its stack broken is marked `alone`; after a failure the next test gets a
fresh one.

What takes long is marked `soak`, and left to `make chaos`. MESSENGER_CHAOS_ROUNDS is how often each
kill is done (1 by default, 10 in `make chaos`). Times are printed with -s.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.redis.client import RedisClient
from tests.harness.load import Load, prefixes
from tests.harness.shared import Parts, Shared
from tests.harness.stack import Stack
from tests.harness.talk import Talk
from tests.harness.worker import Worker

ROUNDS = int(os.environ.get("MESSENGER_CHAOS_ROUNDS", "1"))
PARTITIONS = 4
_HELPER = 4
"""The number of the worker of a stack without workers: tests bring number 0 to 3."""


def parts_of(item: pytest.Item) -> Parts:
    """What a test's stack consists of: its mark `parts`, or the module's PARTS; of neither, Kafka,
    Redis and a gateway, and the test brings its own workers."""
    mark, module = item.get_closest_marker("parts"), item.getparent(pytest.Module)
    return (
        dict(mark.kwargs) if mark else dict(getattr(module and module.obj, "PARTS", {"workers": 0}))
    )


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that share a stack come one after the other."""
    places = [
        place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent
    ]
    ours = sorted(
        (items[place] for place in places),
        key=lambda item: (is_alone(item), str(sorted(parts_of(item).items()))),
    )
    for place, item in zip(places, ours, strict=True):
        items[place] = item


@contextmanager
def running_stack(folder: Path, parts: Parts) -> Iterator[Stack]:
    """One without workers gets one that knows who has conversations where, and whom users have
    blocked: without it, each login would wait for its first answer until it gives up, and nobody
    could write."""
    with Stack(folder, **parts) as stack:
        worker = Worker(stack, _HELPER, "memberships people")
        if parts.get("workers") == 0:
            worker.start()
        try:
            yield stack
        finally:
            worker.end()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    stacks = Shared(lambda parts: running_stack(tmp_path_factory.mktemp("lab") / "stack", parts))
    yield stacks
    stacks.end()


@pytest.fixture
def lab(shared: Shared, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A healthy stack of the test's parts. Raises at the test's end unless it is so again."""
    parts = parts_of(request.node)
    if is_alone(request.node):
        shared.end()
        with running_stack(tmp_path / "stack", parts) as own:
            yield own
        return
    failures = request.session.testsfailed
    stack = shared.take(parts, failures)
    yield stack
    if request.session.testsfailed == failures:
        stack.wait_healthy(120)


@pytest.fixture
async def redis(lab: Stack) -> AsyncIterator[RedisClient]:
    client = RedisClient(lab.redis)
    yield client
    await client.close()


_prefix = prefixes(PARTITIONS)


@pytest.fixture
async def talk(lab: Stack) -> AsyncIterator[Talk]:
    """People whom no other test on the same stack knows."""
    async with Talk(lab, next(_prefix)) as talking:
        yield talking


@pytest.fixture
async def load(talk: Talk) -> AsyncIterator[Load]:
    """Eight pairs that talk all the time; started by the test."""
    running = Load(talk)
    yield running
    await running.cancel()


@contextmanager
def two_workers(lab: Stack, stage: str, folder: Path) -> Iterator[list[Worker]]:
    """Not started; ended at the end."""
    pair = [Worker(lab, number, stage, folder) for number in range(2)]
    yield pair
    for worker in pair:
        worker.end()


@pytest.fixture
def workers(lab: Stack, tmp_path: Path) -> Iterator[list[Worker]]:
    with two_workers(lab, "sequencer", tmp_path) as pair:
        yield pair


@pytest.fixture
def cursors(lab: Stack, tmp_path: Path) -> Iterator[list[Worker]]:
    with two_workers(lab, "cursors", tmp_path) as pair:
        yield pair


@pytest.fixture
def presence(lab: Stack, tmp_path: Path) -> Iterator[list[Worker]]:
    with two_workers(lab, "presence", tmp_path) as pair:
        yield pair


def running(worker: Worker) -> set[int]:
    """The partitions that a worker has, and has restored."""
    return {
        number
        for number, partition in worker.partitions().items()
        if partition["status"] == "running"
    }


async def all_are_with(*workers: Worker) -> None:
    """Every partition runs, and every worker has some."""
    first = workers[0]
    await asyncio.to_thread(
        first.wait_for,
        lambda: (
            all(map(running, workers))
            and sum(len(running(worker)) for worker in workers) == PARTITIONS
        ),
    )


@pytest.fixture
def judged(lab: Stack, talk: Talk, workers: list[Worker]) -> Callable[[], Awaitable[None]]:
    """Settles, then asks both judges for the verdict: 0 lost, 0 twice, 0 holes, 0
    contradictions."""

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
