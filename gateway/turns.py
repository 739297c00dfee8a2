"""What may come from thousands of devices at once is done a few at a time, in the order in which it came.

A loop turn lasts as long as all that is ready in it, and whoever waits for a message waits for the turn to end.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable

SECONDS = 0.004


class Turns:
    """At most `most` are begun within `seconds`; the first of them at once. Use it inside a running loop."""

    def __init__(self, most: int, seconds: float = SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._left = most
        self._waiting: OrderedDict[Hashable, Callable[[], None]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

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
        while self._left and self._waiting:
            self._left -= 1
            _, begin = self._waiting.popitem(last=False)
            begin()
        if self._timer is None and self._left < self._most:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._again)

    def _again(self) -> None:
        self._timer = None
        self._left = self._most
        self._go()
