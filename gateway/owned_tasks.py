"""Tasks that run as long as their node does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0


class OwnedTasks:
    """Starts tasks and owns them: one that ends begins again, until `stop`."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` until `stop`; `name` stands in the log when it ends before that."""
        self._tasks.append(asyncio.create_task(_keep_running(name, work)))

    async def stop(self) -> None:
        """Cancel the tasks, the one that was started last first."""
        while self._tasks:
            task = self._tasks.pop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _keep_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
            log.error("%s has ended; it begins again", name)
        except Exception:
            log.exception("%s has failed; it begins again", name)
        await asyncio.sleep(RESTART_SECONDS)
