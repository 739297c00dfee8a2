"""Ends a worker that stands still without a reason, so that its supervisor starts a fresh one.

Faust's recovery has been seen to hang, and agents to stop after days (faust.md). Reasons to stand
still: nothing to read, a halted partition, Kafka away (asked directly), Redis away (delivery waits,
sequencing does not).
"""

import asyncio
import faulthandler
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, Protocol

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
PATIENCE_SECONDS = 20.0
BLOCKED_SECONDS = 20.0
"""How long nothing at all may run in the worker's loop."""


class ProgressProbe(NamedTuple):
    """One thing that should move: `progress` changes whenever it does; `owed` says whether it has
    anything to do."""

    name: str
    progress: int
    owed: bool


class Watched(Protocol):
    def vitals(self) -> Iterable[ProgressProbe]:
        """What should be moving now."""

    async def reachable(self) -> bool:
        """Whether Kafka answers."""


class Watchdog:
    """`expired` is called once with a text when something that is owed has not moved for
    PATIENCE_SECONDS."""

    def __init__(
        self,
        watched: Watched,
        expired: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = watched
        self._expired = expired
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Check until cancelled."""
        while True:
            await sleep(CHECK_SECONDS)
            stuck = self.check()
            if stuck and await self._watched.reachable():
                log.critical("%s; ending this worker", stuck)
                self._expired(stuck)
                return

    def check(self) -> str | None:
        """What stands still, if anything has for too long."""
        now = self._clock()
        seen, self._seen = self._seen, {}
        stuck = None
        for vital in self._watched.vitals():
            progress, since = seen.get(vital.name, (vital.progress, now))
            if not vital.owed or progress != vital.progress:
                since = now
            self._seen[vital.name] = vital.progress, since
            if now - since >= PATIENCE_SECONDS:
                stuck = stuck or f"{vital.name} has not moved for {now - since:.0f} s"
        return stuck


async def end_when_blocked() -> None:
    """Until cancelled, end the process (exit code 1, all stacks to stderr) once its loop has been
    blocked for BLOCKED_SECONDS: then no watchdog runs in it either."""
    try:
        while True:
            faulthandler.dump_traceback_later(BLOCKED_SECONDS, exit=True)
            await asyncio.sleep(CHECK_SECONDS)
    finally:
        faulthandler.cancel_dump_traceback_later()
