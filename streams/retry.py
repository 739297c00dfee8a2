"""Repeating what trouble outside has stopped: the one retry loop of all stages.

Trouble outside is what Kafka, Redis, ClickHouse or the disk do to us. It passes, so the code that
meets it waits and asks again. Any other exception is a fault of ours and passes through.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from connectors.clickhouse.ports import ArchiveRefused, ArchiveUnavailable
from connectors.dependency import Dependencies, Dependency
from connectors.kafka.ports import (
    KafkaSendError,
    KafkaUnreachable,
    OffsetGone,
    QueueFull,
    ReadTimeout,
)
from connectors.redis.client import RedisUnavailable
from streams.tables.rocks import DiskUnavailable

T = TypeVar("T")

FIRST_SECONDS, LAST_SECONDS = 0.05, 1.0
"""The waits between two tries grow from the first to the last."""

LATE_SECONDS = 3.0

_SYSTEMS: dict[type[Exception], str] = {
    KafkaUnreachable: "kafka",
    KafkaSendError: "kafka",
    QueueFull: "kafka",
    ReadTimeout: "kafka",
    OffsetGone: "kafka",
    RedisUnavailable: "redis",
    ArchiveUnavailable: "clickhouse",
    ArchiveRefused: "clickhouse",
    DiskUnavailable: "disk",
}
TROUBLE_OUTSIDE = tuple(_SYSTEMS)
"""Exceptions that pass by themselves. OffsetGone: records expired while they were read, so the
reader has to look again where they begin."""


class Retry:
    """The retries of one partition or timer, `who` by name. The log gets one line when a system
    fails and one when it is back, however many wait for it (connectors/dependency.py).

    `random` gives numbers from 0 up to 1: each wait is shortened by up to a half, so that those who
    wait for the same thing do not come at once.
    """

    def __init__(self, who: str, dependencies: Dependencies, random: Callable[[], float]) -> None:
        self._who = who
        self._dependencies = dependencies
        self._random = random
        self._waiting: dict[int, str] = {}
        self._failed: dict[int, set[Dependency]] = {}
        self._calls = 0

    @property
    def problem(self) -> str:
        """What is waited for now, in one line; empty if nothing is."""
        return next(iter(self._waiting.values()), "")

    async def __call__(
        self,
        ask: Callable[[], Awaitable[T]],
        first: float = FIRST_SECONDS,
        last: float = LAST_SECONDS,
    ) -> T:
        """Call `ask` until it meets no trouble outside; returns what it returns."""
        self._calls += 1
        call, delay = self._calls, first
        try:
            while True:
                try:
                    return await ask()
                except TROUBLE_OUTSIDE as error:
                    self._meets(call, system_of(error), str(error) or type(error).__name__)
                await asyncio.sleep(delay * (1 - self._random() / 2))
                delay = min(delay * 2, last)
        finally:
            self._is_over(call)

    async def acknowledged(self, work: Awaitable[T], what: str) -> T:
        """Await what Kafka acknowledges, which has no time limit. After LATE_SECONDS Kafka counts
        as failing."""
        self._calls += 1
        call, why = self._calls, f"{what} are not acknowledged"
        late = asyncio.get_running_loop().call_later(LATE_SECONDS, self._meets, call, "kafka", why)
        try:
            return await work
        finally:
            late.cancel()
            self._is_over(call)

    def _meets(self, call: int, system: str, why: str) -> None:
        dependency = self._dependencies.get(system)
        dependency.failed(why, self._client(call))
        self._failed.setdefault(call, set()).add(dependency)
        self._waiting[call] = f"{system}: {why}"

    def _is_over(self, call: int) -> None:
        self._waiting.pop(call, None)
        for dependency in self._failed.pop(call, ()):
            dependency.succeeded(self._client(call))

    def _client(self, call: int) -> str:
        return f"{self._who} #{call}"


def system_of(error: Exception) -> str:
    """The outside system that an error of TROUBLE_OUTSIDE comes from."""
    return next(system for kind, system in _SYSTEMS.items() if isinstance(error, kind))
