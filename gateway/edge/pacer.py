"""Starts work for many devices a few at a time: groups take turns, each in the order in which its
members asked.

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
_MOST_GROUPS = 200
"""Among which `displace` looks for the largest. With more, nobody waits long behind one of them."""
_SLOWER = 0.8
"""What the pace is multiplied with after a turn that came late."""


class Pace(NamedTuple):
    """How many pieces of work begin in one turn: after a rest, at least and at most. Less than one:
    not in each turn. `faster` is what the pace is multiplied with after a turn that came in
    time."""

    first: float
    least: float
    most: float
    faster: float = 1.05

    def after(self, pace: float, late: float) -> float:
        """The next pace, if a turn came `late` seconds after it was due."""
        if late <= LATE_SECONDS:
            return min(self.most, pace * self.faster)
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

    A group is a user, or an address: a group that asks for much waits behind itself, not before
    others.
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
        self._left = float(pace.first)
        self._groups: OrderedDict[Hashable, OrderedDict[Hashable, Callable[[], None]]] = (
            OrderedDict()
        )
        """The group whose turn it is comes first."""
        self._group_of: dict[Hashable, Hashable] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def __len__(self) -> int:
        """How many pieces of work wait."""
        return len(self._group_of)

    def put(self, key: Hashable, begin: Callable[[], None], group: Hashable = None) -> None:
        """Call `begin`, now or later; `leave` with the same `key` takes it back."""
        group = self._group_of.setdefault(key, group)
        waiting = self._groups.get(group)
        if waiting is None:
            waiting = self._groups[group] = OrderedDict()
        waiting[key] = begin
        self._go()

    def leave(self, key: Hashable) -> None:
        """Do not call what was put under `key`, if it still waits."""
        if key in self._group_of:
            self._remove(self._group_of[key], key)

    def displace(self, group: Hashable) -> Hashable | None:
        """Take back what came last of the group of which the most waits, if `group` has less; its
        key, None if `group` has as much, or if there are too many groups to look at."""
        if not self._groups or len(self._groups) > _MOST_GROUPS:
            return None
        largest, waiting = max(self._groups.items(), key=lambda item: len(item[1]))
        if len(waiting) <= len(self._groups.get(group, ())) + 1:
            return None
        key = next(reversed(waiting))
        self._remove(largest, key)
        return key

    def _remove(self, group: Hashable, key: Hashable) -> Callable[[], None]:
        del self._group_of[key]
        waiting = self._groups[group]
        begin = waiting.pop(key)
        if not waiting:
            del self._groups[group]
        return begin

    def spend(self, pieces: float) -> None:
        """What has just begun is as much work as so many pieces more, which are left out."""
        self._left -= pieces

    async def wait(self, group: Hashable = None) -> None:
        """Return when the caller may start its work."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            if not begun.done():  # it may be cancelled, and not have left yet
                begun.set_result(None)

        self.put(begun, begin, group)
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
        while self._left >= 1 and self._groups and self._room():
            self._left -= 1
            group, waiting = next(iter(self._groups.items()))
            begin = self._remove(group, next(iter(waiting)))
            if waiting:
                self._groups.move_to_end(group)
            begin()

    def _again(self) -> None:
        self._timer = None
        if not self._groups:
            self._pace = self._limits.first
        elif self._left < 1:
            late = asyncio.get_running_loop().time() - self._due
            self._pace = self._limits.after(self._pace, late)
        self._left = self._pace + (self._left if self._pace < 1 else min(0.0, self._left))
        if self._groups:
            self._go()
