"""Threads for restores only. Reading a whole topic takes seconds to minutes, and must not keep
anything else waiting for a thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

RESTORES_AT_ONCE = 4


class Restores:
    """Runs the restores of a process, RESTORES_AT_ONCE at a time, in the order they come. Close
    it."""

    def __init__(self, at_once: int = RESTORES_AT_ONCE) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._threads = ThreadPoolExecutor(at_once, "restore")

    async def run(self, work: Callable[[], T], begins: Callable[[], None]) -> T:
        """What `work`, which blocks, returns. `begins` is called when its turn has come: until
        then the watchdog expects nothing of it."""
        async with self._turns:
            begins()
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Begin no more; what runs is asked to stop by its partition."""
        self._threads.shutdown(wait=False, cancel_futures=True)
