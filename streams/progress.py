"""What should move in a worker, and for how long it has not: the one source of the watchdog and of
health."""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class ProgressProbe(NamedTuple):
    """One thing that should move: `progress` changes whenever it does; `owed` says whether it has
    anything to do. `heal` is what may set it going again."""

    name: str
    progress: int
    owed: bool
    heal: Callable[[], None] | None = None


class Standstills:
    """For how long each probe has owed something and not moved. Pure: `now` in seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        self._still: list[tuple[ProgressProbe, float]] = []

    def check(
        self, now: float, probes: Iterable[ProgressProbe]
    ) -> list[tuple[ProgressProbe, float]]:
        """What stands still, and for how many seconds, the longest first."""
        seen, self._seen = self._seen, {}
        self._still = []
        for probe in probes:
            progress, since = seen.get(probe.name, (probe.progress, now))
            if not probe.owed or progress != probe.progress:
                since = now
            self._seen[probe.name] = probe.progress, since
            if probe.owed and now > since:
                self._still.append((probe, now - since))
        self._still.sort(key=lambda found: -found[1])
        return self._still

    def forgive(self) -> None:
        """Nothing could move until now; begin to count."""
        self._seen = {}
        self._still = []

    def problems(self, seconds: float) -> list[str]:
        """Health's lines about what has stood still for so long, at the last check."""
        return [
            f"{probe.name} has not moved for {still:.0f} s, and has something to do"
            for probe, still in self._still
            if still >= seconds
        ]
