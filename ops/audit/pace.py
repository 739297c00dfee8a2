"""How fast the judge reads: it counts its records, and waits if there were too many."""

import time
from collections.abc import Callable


class Pace:
    """At most `most` records a second, 0 for as many as there are. Blocking."""

    def __init__(
        self,
        most: int = 0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.records = 0
        self._most = most
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()
        """When all that was counted is due. Time that was not used is not made up for."""

    def count(self, records: int) -> None:
        """So many records have been read. Returns when more may be."""
        self.records += records
        if not self._most:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now) + records / self._most
        if self._free_at > now:
            self._sleep(self._free_at - now)
