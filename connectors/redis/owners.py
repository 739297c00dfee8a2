"""Which worker has a partition now: a claim that runs out by itself. Wrong at worst, and then the worker says so."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from connectors.redis.client import RedisClient

CLAIM_SECONDS = 5.0


class Owners(Protocol):
    """All methods raise RedisUnavailable."""

    async def claim(self, partitions: Iterable[int], address: str) -> None:
        """`address` (host:port of a worker's pages) has these partitions, for CLAIM_SECONDS."""

    async def find(self, partitions: Iterable[int]) -> Mapping[int, str]:
        """partition -> address, of those that somebody claims."""


class RedisOwners:
    """`Owners` on one Redis server."""

    def __init__(self, client: RedisClient, claim_seconds: float = CLAIM_SECONDS) -> None:
        self._client = client
        self._claim_ms = int(claim_seconds * 1000)

    async def claim(self, partitions: Iterable[int], address: str) -> None:
        pipeline = self._client.redis.pipeline(transaction=False)
        for partition in partitions:
            pipeline.set(f"owner:{partition}", address, px=self._claim_ms)
        await self._client.call(pipeline.execute())

    async def find(self, partitions: Iterable[int]) -> Mapping[int, str]:
        wanted = list(partitions)
        found = await self._client.call(self._client.redis.mget([f"owner:{partition}" for partition in wanted]))
        return {partition: address.decode() for partition, address in zip(wanted, found, strict=True) if address}
