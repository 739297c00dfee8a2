"""When partitions that have failed begin anew. Pure: times in seconds."""

from collections.abc import Mapping

FIRST_SECONDS, LAST_SECONDS = 1.0, 30.0
"""The wait before a partition begins anew; twice as long each time."""
_FORGOTTEN_SECONDS = 120.0
"""A failure so long ago does not count any more."""


class Restarts:
    """Of the partitions of one stage."""

    def __init__(self) -> None:
        self._failures: dict[int, tuple[float, float, str]] = {}
        """partition → (when it failed last, how long it waits, why)."""

    def failed(self, number: int, now: float, why: str) -> float:
        """A partition has failed; returns how long it waits."""
        before, delay, _ = self._failures.get(number, (now, 0.0, ""))
        if now - before > _FORGOTTEN_SECONDS:
            delay = 0.0
        delay = min(max(delay * 2, FIRST_SECONDS), LAST_SECONDS)
        self._failures[number] = now, delay, why
        return delay

    def waiting(self, now: float) -> Mapping[int, str]:
        """partition → why it failed, of those whose wait is not over."""
        return {
            number: why
            for number, (since, delay, why) in self._failures.items()
            if now - since < delay
        }
