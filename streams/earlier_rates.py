"""Rates for monitor pages."""


class Rates:
    """How fast a counter grows, from one look to the next."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None

    def since_last(self, count: int, now: float) -> float:
        """Per second since the call before, 0 at the first."""
        last, self._last = self._last, (count, now)
        return round((count - last[0]) / (now - last[1]), 1) if last and now > last[1] else 0.0
