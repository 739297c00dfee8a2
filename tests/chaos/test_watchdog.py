"""Workers that hang end themselves, and fresh ones are the cure."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from streams.watchdog import BLOCKED_SECONDS, CHECK_SECONDS, PATIENCE_SECONDS
from tests.harness.hanging_worker import WHERE
from tests.harness.load import Load
from tests.harness.stack import Stack
from tests.harness.worker import Worker

pytestmark = [pytest.mark.real, pytest.mark.chaos, pytest.mark.timeout(300)]

_ENDED_SECONDS = max(PATIENCE_SECONDS + 2 * CHECK_SECONDS, BLOCKED_SECONDS) + 30


@pytest.fixture
def workers(lab: Stack) -> Iterator[list[Worker]]:
    """One for each way to hang."""
    several = [Worker(lab, number) for number in range(len(WHERE))]
    yield several
    for worker in several:
        worker.end()


@pytest.mark.soak
async def test_workers_that_hang_end_themselves(
    workers: list[Worker], load: Load, judged: Callable[[], Awaitable[None]]
) -> None:
    workers[0].start()
    workers[0].wait_healthy()
    await load.start()
    await load.sent(50)
    workers[0].kill()
    for worker, where in zip(workers, WHERE, strict=True):
        worker.start(hang=where)
    for worker, where in zip(workers, WHERE, strict=True):
        assert await asyncio.to_thread(worker.wait_dead, _ENDED_SECONDS), (
            f"{where}: hangs on: {worker.tail()}"
        )
        assert worker.process is not None
        assert worker.process.returncode == 1
        assert ("Timeout" if where == "loop" else "has not moved") in worker.log.read_text()
    workers[0].start()
    print(f"dark for {await load.dark():.1f} s")
    await load.stop()
    await judged()
