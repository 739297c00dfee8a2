"""Whether an outside system answers, for the log and for health pages.

Each client of Kafka, Redis and ClickHouse reports here what it meets. The log gets one line when a
system goes away and one when it is back:

    kafka is unreachable: <why>; <what waits>
    kafka is reachable again after 12.3 s

Of a system that has never answered this process it says that. Maybe it only begins later, as
ClickHouse does in a local stack; <why> tells that from a wrong password.

    clickhouse is unreachable so far: <why>; <what waits>
    clickhouse is reachable after 3.2 s
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

ASK_SECONDS = 2.0
"""Between two questions of `ask_once`: with the wait for an answer, less than the 5 s within which
health tells."""
_ANSWER_SECONDS = 2.0
_QUESTIONS = "health's question"


class Dependency:
    """One outside system. Clients report from any thread or loop.

    A system counts as unreachable as long as one of its clients has failed and not succeeded since.
    `client` names the reporter: without it, one client that gets through would hide another that
    does not. `waits` says in the log what waits meanwhile; `clock` is in seconds.
    """

    def __init__(
        self, name: str, clock: Callable[[], float] = time.monotonic, waits: str = ""
    ) -> None:
        self.name = name
        self._clock = clock
        self._waits = f"; {waits}" if waits else ""
        self._lock = threading.Lock()
        self._failing: dict[str, str] = {}
        self._since = 0.0
        self._answered = False

    def failed(self, why: str, client: str = "") -> None:
        """A client could not get through; `why` is one line, and the latest one counts."""
        with self._lock:
            first = not self._failing
            self._failing[client] = why
            if first:
                self._since = self._clock()
                state = "unreachable" if self._answered else "unreachable so far"
                log.warning("%s is %s: %s%s", self.name, state, why, self._waits)

    def succeeded(self, client: str = "") -> None:
        """A client got through, or is closed. Cheap while nothing is wrong."""
        answered, self._answered = self._answered, True
        if client not in self._failing:
            return
        with self._lock:
            if self._failing.pop(client, None) is not None and not self._failing:
                seconds = self._clock() - self._since
                state = "reachable again" if answered else "reachable"
                log.warning("%s is %s after %.1f s", self.name, state, seconds)

    def why_away(self) -> str | None:
        """Why it cannot be reached now, or None."""
        with self._lock:
            return next(iter(self._failing.values()), None)

    def problem(self) -> str | None:
        """What is wrong now, in one line, or None."""
        with self._lock:
            for why in self._failing.values():
                seconds = self._clock() - self._since
                return f"{self.name} is unreachable for {seconds:.1f} s: {why}"
        return None


class Dependencies:
    """The outside systems of one process, by name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, Dependency] = {}

    def get(self, name: str, waits: str = "") -> Dependency:
        """The dependency of this name; it is made when it is first asked for."""
        if name not in self._known:
            self._known[name] = Dependency(name, self._clock, waits)
        return self._known[name]

    def problems(self) -> list[str]:
        """One line for each system that cannot be reached now."""
        return [problem for one in self._known.values() if (problem := one.problem()) is not None]

    def away(self) -> dict[str, str]:
        """Each system that cannot be reached now, and why."""
        return {name: why for name, one in self._known.items() if (why := one.why_away())}


async def ask_once(
    dependency: Dependency,
    ask: Callable[[], Awaitable[object]],
    away: tuple[type[Exception], ...],
) -> None:
    """Ask a system that maybe nobody else asks, and report what comes of it, also that its answer
    does not come soon. Returns when the answer has come, however late. `ask` raises `away`."""
    asking = asyncio.ensure_future(ask())
    try:
        await asyncio.wait({asking}, timeout=_ANSWER_SECONDS)
        if not asking.done():
            dependency.failed(f"no answer for {_ANSWER_SECONDS:g} s", _QUESTIONS)
        await asking
    except away as error:
        dependency.failed(str(error), _QUESTIONS)
    else:
        dependency.succeeded(_QUESTIONS)
    finally:
        asking.cancel()
