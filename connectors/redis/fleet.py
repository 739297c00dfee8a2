"""Where each process keeps what it says of itself, for overview pages and `messenger status`."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from connectors.redis.client import RedisClient

_KEY = "fleet"


class Said(NamedTuple):
    """A process has said `report`, `age` seconds ago: at `time` by Redis' clock, in seconds."""

    age: float
    time: float
    report: bytes


Told = Mapping[str, Said]
"""By process."""


class Fleet(Protocol):
    """All methods raise RedisUnavailable."""

    async def tell(self, process: str, report: bytes) -> None:
        """Keep what a process says of itself, in place of what it said before."""

    async def leave(self, process: str) -> None:
        """Forget a process: it ends because it was told to."""

    async def all(self) -> Told:
        """What all have said, but for those that left."""


class RedisFleet:
    """`Fleet` on one Redis server."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._tell = client.script("tell_fleet")

    async def tell(self, process: str, report: bytes) -> None:
        await self._tell(keys=[_KEY], args=[process, report])

    async def leave(self, process: str) -> None:
        await self._client.command("HDEL", _KEY, process)

    async def all(self) -> Told:
        seconds, micros = await self._client.command("TIME")
        now = int(seconds) + int(micros) / 1e6
        found = await self._client.command("HGETALL", _KEY)
        told: dict[str, Said] = {}
        for process, said in zip(found[::2], found[1::2], strict=True):
            time, _, report = said.partition(b" ")
            told[process.decode()] = Said(max(0.0, now - float(time)), float(time), report)
        return told
