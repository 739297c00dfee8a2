"""Writes a few of the log lines that thousands of devices may cause at once, with a count."""

import asyncio
from collections.abc import Callable

SECONDS = 10.0


class LogThrottle:
    """Logs the first line at once. Lines in between are dropped; each `seconds` the latest is
    logged with their number. Use it inside a running loop."""

    def __init__(self, write: Callable[[str], None], seconds: float = SECONDS) -> None:
        self._write = write
        self._seconds = seconds
        self._quiet = False
        self._more = 0
        self._last = ""

    def __call__(self, line: str) -> None:
        if self._quiet:
            self._more += 1
            self._last = line
            return
        self._quiet = True
        self._write(line)
        asyncio.get_running_loop().call_later(self._seconds, self._sum_up)

    def _sum_up(self) -> None:
        self._quiet = False
        if self._more:
            more, self._more = self._more, 0
            self(f"{self._last} (the last of {more} such in {self._seconds:g} s)")
