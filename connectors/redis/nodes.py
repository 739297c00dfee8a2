"""Where devices reach the gateway nodes that are alive."""

from collections.abc import Mapping
from typing import Protocol

from connectors.redis.client import RedisClient
from connectors.redis.routes import LEASE_SECONDS


class Nodes(Protocol):
    """All methods raise RedisUnavailable."""

    async def announce(self, slot: int, url: str) -> None:
        """Say that the node of this slot serves devices at `url`, for the length of a lease."""

    async def find(self, slots: int) -> Mapping[int, str]:
        """slot → URL, of the nodes that are alive."""


class RedisNodes:
    """`Nodes` on one Redis server."""

    def __init__(self, client: RedisClient, seconds: float = LEASE_SECONDS) -> None:
        self._client = client
        self._ms = int(seconds * 1000)

    async def announce(self, slot: int, url: str) -> None:
        await self._client.command("SET", f"node:{slot}", url, "PX", self._ms)

    async def find(self, slots: int) -> Mapping[int, str]:
        found = await self._client.command("MGET", *(f"node:{slot}" for slot in range(slots)))
        return {slot: url.decode() for slot, url in enumerate(found) if url}
