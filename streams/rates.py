"""How fast counters grow: a property of the last seconds, whichever part asks."""

from collections import Counter, deque

_WINDOW_SECONDS = 10.0


class Rates:
    """Of the counters of `figures`; `sample` it about every second."""

    def __init__(self, figures: Counter[str]) -> None:
        self._figures = figures
        self._samples: deque[tuple[float, Counter[str]]] = deque()

    def sample(self, now: float) -> None:
        """`now` in seconds."""
        self._samples.append((now, Counter(self._figures)))
        while now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()

    def per_second(self, figure: str, now: float) -> float:
        """Over the last ten seconds, or since the start; 0 before the first sample."""
        if not self._samples or now <= self._samples[0][0]:
            return 0.0
        since, then = self._samples[0]
        return round((self._figures[figure] - then[figure]) / (now - since), 1)
