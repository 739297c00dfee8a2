"""Starts work for many devices a few at a time, in the order in which they asked.

A turn of the loop lasts as long as all the work that is ready in it, and every message waits for
the turn to end.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

SECONDS = 0.004
"""Between two turns of a pacer."""
LATE_SECONDS = 0.008
"""A timer later than that means that the loop or the machine is busy. Less than that a process may
wait for a processor on any machine."""
_FASTER, _SLOWER = 1.05, 0.8
"""What the pace is multiplied with after a turn that came in time, or late."""


class Pace(NamedTuple):
    """How many pieces of work begin in one turn: after a rest, at least and at most."""

    first: int
    least: int
    most: int

    def after(self, pace: float, late: float) -> float:
        """The next pace, if a turn came `late` seconds after it was due."""
        if late <= LATE_SECONDS:
            return min(self.most, pace * _FASTER)
        return max(self.least, pace * _SLOWER)


def always(count: int) -> Pace:
    """A pace that does not change."""
    return Pace(count, count, count)


class Pacer:
    """Starts pieces of work in turns, each `seconds` after the one before, the first of them at
    once. Use it inside a running loop.

    Work that a device causes is done here, in Kafka, in Redis and in workers. If they share the
    machine, the loop gets late, and the pace goes down; what the machine can do is found by trying.
    Without `room` nothing begins.
    """

    def __init__(
        self,
        pace: Pace,
        seconds: float = SECONDS,
        room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._limits = pace
        self._seconds = seconds
        self._room = room
        self._pace = float(pace.first)
        self._left = pace.first
        self._waiting: OrderedDict[Hashable, Callable[[], None]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def __len__(self) -> int:
        """How many pieces of work wait."""
        return len(self._waiting)

    def put(self, key: Hashable, begin: Callable[[], None]) -> None:
        """Call `begin`, now or later; `leave` with the same `key` takes it back."""
        self._waiting[key] = begin
        self._go()

    def leave(self, key: Hashable) -> None:
        """Do not call what was put under `key`, if it still waits."""
        self._waiting.pop(key, None)

    async def wait(self) -> None:
        """Return when the caller may start its work."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            if not begun.done():  # it may be cancelled, and not have left yet
                begun.set_result(None)

        self.put(begun, begin)
        try:
            await begun
        except asyncio.CancelledError:
            self.leave(begun)
            raise

    def _go(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._due = loop.time() + self._seconds  # uvloop's timers do not tell when they are due
            self._timer = loop.call_later(self._seconds, self._again)
        while self._left and self._waiting and self._room():
            self._left -= 1
            _, begin = self._waiting.popitem(last=False)
            begin()

    def _again(self) -> None:
        self._timer = None
        if not self._waiting:
            self._pace = self._limits.first
        elif not self._left:
            late = asyncio.get_running_loop().time() - self._due
            self._pace = self._limits.after(self._pace, late)
        self._left = int(self._pace)
        if self._waiting:
            self._go()
