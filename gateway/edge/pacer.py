"""What may come from thousands of devices at once is done a few at a time, in the order in which it
came.

A loop turn lasts as long as all that is ready in it, and whoever waits for a message waits for the
turn to end.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable

SECONDS = 0.004
_LATE = 1.0
"""Of `seconds`: a timer that is as late as that found the loop busy, or the machine."""
_SLOWEST = 1 / 16
"""Of `most`."""
_STEPS = 128
"""In time, one after the other, from a standstill to `most`."""


class Pacer:
    """At most `most` are begun within `seconds`; the first of them at once. Use it inside a running
    loop.

    If it `gives_way`, the pace is halved when the loop is late and grows slowly when it is not. Who
    comes is work for Kafka and the workers, too; where these share the machine, the loop's lateness
    is what a node sees of it.
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
        """How many wait."""
        return len(self._waiting)

    def put(self, who: Hashable, begin: Callable[[], None]) -> None:
        """Call `begin`, now or when it is the turn of `who`."""
        self._waiting[who] = begin
        if self._left:
            self._go()

    def leave(self, who: Hashable) -> None:
        """Wait no longer, if `who` does."""
        self._waiting.pop(who, None)

    async def take(self) -> None:
        """Return when it is the caller's turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            if not turn.done():  # cancelled, and has not left yet
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
