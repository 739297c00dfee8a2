"""How long messages take, in buckets: cheap to count, and what Prometheus and people ask of it."""

import asyncio
import re
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence

from schemas.fleet import Latency

BOUNDS_MS = (2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10_000)
"""Upper bounds of the buckets. 200 ms is what a message may take."""
_TIME = re.compile(rb'"time":(\d+)')
"""In a `message` frame. What is before it holds ids, which have no quotation mark."""
_KEPT_SECONDS = 60.0
_SAMPLE_SECONDS = 5.0


class Latencies:
    """A histogram since the start, and quantiles of the last minute. Use it inside a running
    loop."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        """How many messages each bucket has; the last one has those that took longer."""
        self.sum_ms = 0.0
        self._clock = asyncio.get_running_loop().time
        self._samples: deque[tuple[float, list[int]]] = deque()

    def took(self, milliseconds: float) -> None:
        self.counts[bisect_left(BOUNDS_MS, milliseconds)] += 1
        self.sum_ms += milliseconds

    def lately(self) -> Latency | None:
        """Of the last minute; None if nothing was counted. Call it at least every few seconds."""
        now = self._clock()
        while self._samples and now - self._samples[0][0] > _KEPT_SECONDS:
            self._samples.popleft()
        then = self._samples[0][1] if self._samples else [0] * len(self.counts)
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, list(self.counts)))
        grown = [count - before for count, before in zip(self.counts, then, strict=True)]
        if not (total := sum(grown)):
            return None
        return Latency(total, *(_quantile(grown, total * q) for q in (0.5, 0.95, 0.99)))


class DeliveryTimes(Latencies):
    """From the broker's append of a send to its push at this node. Of each fetch the first message
    counts: it has waited longest, and one look costs little. `now` in ms."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__()
        self._now = now

    def pushed(self, frame: bytes) -> None:
        """A `message` frame is being pushed."""
        found = _TIME.search(frame)
        if found is not None:
            self.took(max(0, self._now() - int(found[1])))


def _quantile(counts: Sequence[int], wanted: float) -> float:
    """The upper bound of the bucket in which so many have been counted."""
    seen = 0
    for bound, count in zip(BOUNDS_MS, counts, strict=False):
        seen += count
        if seen >= wanted:
            return float(bound)
    return float(BOUNDS_MS[-1])
