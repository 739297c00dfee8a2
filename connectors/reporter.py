"""A process says what it does, every other second, and remembers the last five minutes of it."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from connectors.redis.client import RedisUnavailable
from connectors.redis.fleet import Fleet
from schemas.fleet import HISTORY_POINTS, HISTORY_SECONDS, Report

log = logging.getLogger(__name__)

_EVERY_SECONDS = 2.0
_WINDOW_SECONDS = 10.0

Counts = Mapping[str, float]


class Meter:
    """How fast counters have grown, lately and before; and gauges, as they were. Pure: `now` in
    seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Counts]] = deque()
        self._history: dict[str, deque[float]] = {}
        self._kept_at = float("-inf")
        self.rates: dict[str, float] = {}
        """Of each counter a second, over the last ten seconds."""

    def sample(self, now: float, counters: Counts, gauges: Counts) -> None:
        """Call it every other second."""
        self._samples.append((now, dict(counters)))
        while now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()
        since, then = self._samples[0]
        seconds = now - since
        self.rates = {
            name: round((value - then.get(name, 0)) / seconds, 1) if seconds else 0.0
            for name, value in counters.items()
        }
        if now - self._kept_at < HISTORY_SECONDS:
            return
        self._kept_at = now
        for name, value in {**self.rates, **gauges}.items():
            self._history.setdefault(name, deque(maxlen=HISTORY_POINTS)).append(round(value, 1))

    def history(self) -> dict[str, list[float]]:
        """name → what it was each HISTORY_SECONDS, the newest last."""
        return {name: list(values) for name, values in self._history.items()}


class Reporter:
    """`build` makes the report from the meter, without waiting for anything. `counts` gives the
    counters and the gauges of which the meter keeps a history."""

    def __init__(
        self,
        fleet: Fleet,
        process: str,
        build: Callable[[Meter], Report],
        counts: Callable[[], tuple[Counts, Counts]],
    ) -> None:
        self._fleet = fleet
        self._process = process
        self._build = build
        self._counts = counts
        self._meter = Meter()
        self._leaving = False

    def report(self) -> Report:
        """What the process says now."""
        return self._build(self._meter)

    async def run(self) -> None:
        """Say it every other second, until `leave`. While Redis is away it is not said; the
        report of another time would help nobody."""
        clock = asyncio.get_running_loop().time
        while not self._leaving:
            self._meter.sample(clock(), *self._counts())
            try:
                await self._fleet.tell(self._process, msgspec.json.encode(self.report()))
            except RedisUnavailable as error:
                log.debug("this process is not in the overview now: %s", error)
            await asyncio.sleep(_EVERY_SECONDS)

    async def leave(self) -> None:
        """The process ends because it was told to: nobody need miss it."""
        self._leaving = True
        with contextlib.suppress(RedisUnavailable):
            await self._fleet.leave(self._process)
