"""Which worker has a partition now: a claim that runs out by itself, and that a newer owner takes
over."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from connectors.redis.client import RedisClient

CLAIM_SECONDS = 5.0


class Owners(Protocol):
    """All methods raise RedisUnavailable."""

    async def take(self, partition: int, address: str) -> None:
        """`address` (host:port of a worker's pages) has the partition from now on, whoever had it,
        for CLAIM_SECONDS."""

    async def keep(self, partitions: Iterable[int], address: str) -> None:
        """Claim these again, save those that another worker has taken."""

    async def find(self, partitions: Iterable[int]) -> Mapping[int, str]:
        """partition -> address, of those that somebody claims."""


class RedisOwners:
    """`Owners` of one stage's partitions, on one Redis server."""

    def __init__(
        self, client: RedisClient, stage: str, claim_seconds: float = CLAIM_SECONDS
    ) -> None:
        self._client = client
        self._stage = stage
        self._claim_ms = int(claim_seconds * 1000)
        self._claim = client.script("keep_claims")

    async def take(self, partition: int, address: str) -> None:
        await self._client.command("SET", self._key(partition), address, "PX", self._claim_ms)

    async def keep(self, partitions: Iterable[int], address: str) -> None:
        await self._claim(
            keys=[self._key(partition) for partition in partitions],
            args=[address, self._claim_ms],
        )

    async def find(self, partitions: Iterable[int]) -> Mapping[int, str]:
        wanted = list(partitions)
        if not wanted:
            return {}
        found = await self._client.command("MGET", *map(self._key, wanted))
        return {
            partition: address.decode()
            for partition, address in zip(wanted, found, strict=True)
            if address
        }

    def _key(self, partition: int) -> str:
        return f"owner:{self._stage}:{partition}"
