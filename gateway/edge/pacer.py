"""A pacer begins what thousands of devices may ask for at once a few at a time, in the order in
which they asked.

A turn of the loop lasts as long as all the work that is ready in it, and every message waits for
the turn to end.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable

SECONDS = 0.004
_LATE = 1.0
"""Of `seconds`: if a timer fires later than this, the loop or the machine is busy."""
_SLOWEST = 1 / 16
"""Of `most`: the slowest pace."""
_STEPS = 128
"""Punctual timers from a standstill to `most`."""


class Pacer:
    """Begins at most `most` within `seconds`, the first of them at once. Use it inside a running
    loop.

    If it `gives_way`, its pace is halved when the loop is late, and grows slowly when it is not. A
    device that arrives is work for Kafka and the workers, too. Where these share the machine with
    the node, the node sees it by its loop being late.
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
        """How many wait for their turn."""
        return len(self._waiting)

    def put(self, who: Hashable, begin: Callable[[], None]) -> None:
        """Call `begin`, now or at the turn of `who`."""
        self._waiting[who] = begin
        if self._left:
            self._go()

    def leave(self, who: Hashable) -> None:
        """Give up the turn of `who`, if it waits for one."""
        self._waiting.pop(who, None)

    async def turn(self) -> None:
        """Return when it is the caller's turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            if not turn.done():  # it may be cancelled, and not have left yet
                turn.set_result(None)

        self.put(turn, begin)
        try:
            await turn
        except asyncio.CancelledError:
            self.leave(turn)
            raise

    def _go(self) -> None:
        if self._timer is None and (self._waiting or self._left < self._most):
            loop, seconds = asyncio.get_running_loop(), self._seconds / min(1.0, self._pace)
            self._due = loop.time() + seconds  # uvloop's timers do not say it
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
