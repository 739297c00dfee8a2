"""A Redis server in memory, what can happen to it, and how one process reaches it."""

import asyncio
import copy
import random
from collections.abc import Callable
from typing import Any, TypeVar

from connectors.redis.client import RedisUnavailable

Value = TypeVar("Value")

Tables = dict[str, dict[Any, Any]]
"""Name of a table → what stands in it, by key."""

_TABLES = ("slots", "routes", "owners", "nodes", "watchers", "names", "recent", "quotas", "fleet")
_TIMEOUT_SECONDS = 1.0
_FIRST_LATENCY, _LAST_LATENCY = 0.0001, 0.001
_SLOW, _SLOW_SECONDS = 0.01, 0.1
_ANSWERS_LATE = 0.2


class MemoryRedisServer:
    """`clock` in seconds. Without `chance` nothing takes time; with it every step of the network
    takes its own."""

    def __init__(self, clock: Callable[[], float], chance: random.Random | None = None) -> None:
        self.clock = clock
        self.up = True
        self.run = 0
        """Another one after each start."""
        self.slow = 0.0
        """Seconds that every answer takes longer."""
        self.tables: Tables = {name: {} for name in _TABLES}
        self._chance = chance

    def latency(self) -> float:
        """How long the next step of the network takes, in seconds."""
        chance = self._chance
        if chance is None:
            return self.slow
        longest = _SLOW_SECONDS if chance.random() < _SLOW else _LAST_LATENCY
        return self.slow + chance.uniform(_FIRST_LATENCY, longest)

    def answer_latency(self) -> float:
        """The same for an answer; mostly 0, since a wait of its own says nothing new."""
        chance = self._chance
        return self.latency() if chance is not None and chance.random() < _ANSWERS_LATE else 0.0

    def wipe(self) -> None:
        """FLUSHALL: it runs on, empty."""
        self.tables = {name: {} for name in _TABLES}

    def save(self) -> Tables:
        """What its file has now."""
        return copy.deepcopy(self.tables)

    def restart(self, saved: Tables | None = None) -> None:
        """It begins anew, empty, or with what a file has."""
        self.run += 1
        self.wipe()
        if saved is not None:
            self.tables = copy.deepcopy(saved)


class MemoryRedis:
    """How one process reaches the server. While it is not `connected` every call fails, after the
    time that a client waits."""

    def __init__(self, server: MemoryRedisServer) -> None:
        self.server = server
        self.connected = True

    @property
    def _answers(self) -> bool:
        return self.server.up and self.connected

    async def call(self, operation: Callable[[], Value]) -> Value:
        """Run an operation on the server. It may have run although this raises RedisUnavailable."""
        request, answer = self.server.latency(), self.server.answer_latency()
        await self._wait(request)
        if not self._answers or request > _TIMEOUT_SECONDS:
            await self._wait(_TIMEOUT_SECONDS - request)
            raise RedisUnavailable("Redis in memory does not answer")
        result = operation()
        await self._wait(answer)
        if not self._answers or request + answer > _TIMEOUT_SECONDS:
            await self._wait(_TIMEOUT_SECONDS - request - answer)
            raise RedisUnavailable("Redis in memory has not answered in time")
        return result

    async def _wait(self, seconds: float) -> None:
        if self.server._chance is not None and seconds > 0:
            await asyncio.sleep(seconds)
