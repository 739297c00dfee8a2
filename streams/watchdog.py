"""Ends a worker that stands still without a reason, so that its supervisor starts a fresh one.

Faust's recovery has been seen to hang, agents to stop after days, and a fetcher to bring nothing
after a pause of Kafka. Reasons to stand still: nothing to read (by the end of the input that Kafka
says, not by what the fetcher remembers), a halted partition, Kafka away (asked directly), waiting
for trouble outside.
"""

import asyncio
import faulthandler
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from streams.progress import ProgressProbe, Standstills

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
HEALTH_SECONDS = 4.0
"""After so long health says that something stands still."""
HEAL_SECONDS = 7.0
"""After so long the watchdog heals what stands still, if there is a way."""
PATIENCE_SECONDS = 20.0
BLOCKED_SECONDS = 20.0
"""How long nothing at all may run in the worker's loop."""
_ALIVE_SECONDS = 5.0


class Watched(Protocol):
    async def look(self) -> bool:
        """Bring the probes up to date; False if Kafka does not answer."""

    def probes(self) -> Iterable[ProgressProbe]:
        """What should be moving now."""


class Watchdog:
    """`expired` is called once with a text when something that is owed has not moved for
    PATIENCE_SECONDS."""

    def __init__(self, watched: Watched, expired: Callable[[str], None]) -> None:
        self._watched = watched
        self._expired = expired
        self._standstills = Standstills()
        self._healed: set[str] = set()

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Check until cancelled, or until something has expired."""
        loop = asyncio.get_running_loop()
        while True:
            await sleep(CHECK_SECONDS)
            if await self._watched.look():
                stuck = self.check(loop.time())
                if stuck:
                    self._expired(stuck)
                    return
            else:
                self._standstills.forgive()

    def check(self, now: float) -> str | None:
        """What has stood still for too long, if anything has. What a shorter standstill calls for
        is done."""
        stuck = None
        still = self._standstills.check(now, self._watched.probes())
        self._healed &= {probe.name for probe, _ in still}
        for probe, seconds in still:
            if seconds >= PATIENCE_SECONDS:
                stuck = stuck or f"{probe.name} has not moved for {seconds:.0f} s"
            elif seconds >= HEAL_SECONDS and probe.heal and probe.name not in self._healed:
                log.warning("%s has not moved for %.0f s", probe.name, seconds)
                self._healed.add(probe.name)
                probe.heal()
        return stuck

    def problems(self) -> list[str]:
        """Health's lines."""
        return self._standstills.problems(HEALTH_SECONDS)


async def end_when_blocked() -> None:
    """Until cancelled, end the process (exit code 1, all stacks to stderr) once its loop has been
    blocked for BLOCKED_SECONDS: then no watchdog runs in it either."""
    try:
        while True:
            faulthandler.dump_traceback_later(BLOCKED_SECONDS, exit=True)
            await asyncio.sleep(_ALIVE_SECONDS)
    finally:
        faulthandler.cancel_dump_traceback_later()
