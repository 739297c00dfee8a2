"""Which worker has a partition now. A claim runs out by itself, and a newer owner replaces it."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from connectors.redis.client import RedisClient

CLAIM_SECONDS = 5.0


class Owners(Protocol):
    """All methods raise RedisUnavailable."""

    async def take(self, partition: int, address: str) -> None:
        """Claim the partition for `address` (host:port of a worker's API) for CLAIM_SECONDS,
        whoever had it."""

    async def keep(self, partitions: Iterable[int], address: str) -> None:
        """Renew the claims, except where another worker has taken the partition."""

    async def find(self, partitions: Iterable[int]) -> Mapping[int, str]:
        """partition → address, of the partitions that a worker claims."""


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
