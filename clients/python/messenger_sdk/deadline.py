"""Something that is due at a time, which is moved again and again."""

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `ring` at the time that was set last, in seconds of `clock`. Use it inside a running
    loop."""

    def __init__(self, clock: Callable[[], float], ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: float | None) -> None:
        """At this time instead of any earlier one; None: never."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = self._loop.call_later(max(0.0, at - self._clock()) + 0.001, self._ring)
