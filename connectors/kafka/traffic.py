"""How much passes now, to decide whether it pays to wait for more before Kafka is asked."""

from math import exp

_MEMORY_SECONDS = 0.1


class Traffic:
    """The rate of something that passes, in items a second over about the last 0.1 s. `now` is in
    seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._level = 0.0
        self._at = 0.0

    def passed(self, items: int, now: float) -> None:
        """So many have passed."""
        self._level = self._level * exp((self._at - now) / _MEMORY_SECONDS) + items
        self._at = now

    def per_second(self, now: float) -> float:
        return self._level * exp((self._at - now) / _MEMORY_SECONDS) / _MEMORY_SECONDS
