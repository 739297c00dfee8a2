"""Starts work for many devices a few at a time, in the order in which they asked.

A turn of the loop lasts as long as all the work that is ready in it, and every message waits for
the turn to end.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable

SECONDS = 0.004
_LATE = 1.0
"""A fraction of `seconds`. A timer later than that means that the loop or machine is busy."""
_SLOWEST = 1 / 16
"""A fraction of `most`: the slowest pace."""
_STEPS = 128
"""So many timers that fire on time would raise the pace from 0 to `most`."""


class Pacer:
    """Starts at most `most` pieces of work within `seconds`, the first of them at once. Use it
    inside a running loop.

    If it `gives_way`, its pace is halved when the loop is late, and grows slowly when it is not.
    Accepting a device also loads Kafka and the workers. If they share the machine, the loop gets
    late, and the pacer slows down.
    """

    def __init__(self, most: int, seconds: float = SECONDS, gives_way: bool = False) -> None:
        self._most = most
        self._seconds = seconds
        self._left = most
        self._gives_way = gives_way
        self._pace = float(most)
        self._waiting: OrderedDict[Hashable, Callable[[], None]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def __len__(self) -> int:
        """How many pieces of work wait."""
        return len(self._waiting)

    def put(self, key: Hashable, begin: Callable[[], None]) -> None:
        """Call `begin`, now or later; `leave` with the same `key` takes it back."""
        self._waiting[key] = begin
        if self._left:
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
        if self._timer is None and (self._waiting or self._left < self._most):
            loop, seconds = asyncio.get_running_loop(), self._seconds / min(1.0, self._pace)
            self._due = loop.time() + seconds  # uvloop's timers do not tell when they are due
            self._timer = loop.call_later(seconds, self._again)
        while self._left and self._waiting:
            self._left -= 1
            _, begin = self._waiting.popitem(last=False)
            begin()

    def _again(self) -> None:
        late = asyncio.get_running_loop().time() - self._due
        self._timer = None
        if self._gives_way and late > _LATE * self._seconds:
            self._pace = max(self._most * _SLOWEST, self._pace / 2)
        else:
            self._pace = min(self._most, self._pace + self._most / _STEPS)
        self._left = max(1, int(self._pace))
        self._go()
